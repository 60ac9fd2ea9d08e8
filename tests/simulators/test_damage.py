"""Beam damage: the physics, its statistics, and what it does to the truth."""

from __future__ import annotations

import inspect
import re
from dataclasses import replace
from importlib import import_module

import numpy as np
import pytest

from stemscout.envs import seen
from stemscout.envs.composite import CompositeEnv
from stemscout.envs.graphene_defects import GrapheneDefectsEnv
from stemscout.envs.mos2_defects import MoS2DefectsEnv
from stemscout.envs.registration import ENVIRONMENTS, make_env
from stemscout.hardware import ScanRequest
from stemscout.hardware.costs import ELECTRONS_PER_PA_US
from stemscout.simulators.exposure import Exposure
from stemscout.simulators.imperfections import BeamDamage, Imperfections
from stemscout.simulators.imperfections.damage import (
    LEAVING,
    THRESHOLDS,
    atoms_of_feature,
    cross_section_barn,
    feature_loss_probability,
    greatest_transfer_ev,
    loss_probability,
    pieces,
    strike,
)
from stemscout.simulators.noise import key_of
from stemscout.simulators.simulated import SimulatedMicroscope
from stemscout.simulators.specimens import specimen_module
from stemscout.simulators.world import Recipe, open_world

CARBON, SULPHUR = THRESHOLDS["graphene"]["C"], THRESHOLDS["mos2"]["S"]


@pytest.fixture(scope="module")
def sheet():
    return open_world(Recipe("mos2", "easy", 1, (0, 0, 0), 8.0))


def test_the_greatest_transfer():
    """2 E (E + 2 m c²) / (M c²): 15.8 eV to carbon at 80 kV, 20.1 eV at 100 kV."""
    mass = 12.011 * 931.494e6
    assert greatest_transfer_ev(80.0, mass) == pytest.approx(15.8, abs=0.1)
    assert greatest_transfer_ev(100.0, mass) == pytest.approx(20.06, abs=0.05)


def test_graphene_hardly_suffers_at_60_and_80_kv():
    """Meyer et al. 2012: nothing measurable at 80 kV, some hundredths of a barn at 95 kV."""
    assert cross_section_barn(CARBON, 60.0) == 0.0
    assert cross_section_barn(CARBON, 80.0) < 1e-4
    assert 0.01 < cross_section_barn(CARBON, 95.0) < 0.2
    assert cross_section_barn(CARBON, 100.0) > cross_section_barn(CARBON, 95.0)


def test_sulphur_has_about_a_barn_at_80_kv():
    assert 0.5 < cross_section_barn(SULPHUR, 80.0) < 2.5
    assert cross_section_barn(SULPHUR, 60.0) < 0.01


def test_motion_of_the_atoms_matters():
    """Without it sulphur would be safe at 80 kV."""
    still = replace(SULPHUR, motion_ev=0.0)
    assert cross_section_barn(still, 80.0) == 0.0


def test_probability_of_a_loss():
    """A barn is 1e-8 Å²."""
    assert loss_probability(1.0, 1e8) == pytest.approx(1 - np.exp(-1))
    assert loss_probability(1.0, 1e5) == pytest.approx(1e-3, rel=1e-3)
    assert loss_probability(0.0, 1e9) == 0.0


def test_as_many_atoms_go_as_the_formula_says():
    rng = np.random.default_rng(0)
    barn = np.repeat([0.5, 2.0, 0.0], 40_000)
    state = np.zeros(len(barn), dtype=np.uint8)
    everywhere = (np.zeros((len(barn), 2)), (0.0, 0.0), (1.0, 1.0), 0.0, (0.0, 0.0))
    strike(*everywhere, 2e7, barn, key_of(rng), state)
    gone = state == LEAVING
    for value, part in zip((0.5, 2.0, 0.0), gone.reshape(3, -1), strict=True):
        expected = loss_probability(value, 2e7)
        assert part.mean() == pytest.approx(expected, abs=5 * np.sqrt(expected / 40_000) + 1e-12)


def test_selenium_is_too_heavy_to_be_moved():
    assert cross_section_barn(THRESHOLDS["wse2"]["Se"], 80.0) == 0.0


@pytest.mark.parametrize(("name", "symbol"), [("mos2", "S"), ("wse2", "Se")])
def test_chalcogens_leave_on_the_side_where_the_beam_does(name, symbol):
    s = specimen_module(name).generate(0, "easy", 8.0)
    barn = BeamDamage({symbol: 2.0}).of_columns(s, 60.0)
    is_chalcogen = np.array([k.name == symbol for k in s.kinds])[s.kind]
    assert np.array_equal(barn > 0, is_chalcogen & (s.height_nm > 0))
    assert set(np.unique(barn)) == {0.0, 2.0}
    assert np.mean(barn[is_chalcogen] > 0) == pytest.approx(0.5, abs=0.02)


def test_carbon_has_no_side():
    s = specimen_module("graphene").generate(0, "easy", 8.0)
    barn = BeamDamage({"C": 1.0}).of_columns(s, 60.0)
    assert np.array_equal(barn > 0, np.array([k.name == "C" for k in s.kinds])[s.kind])


def test_only_the_listed_atoms_are_ever_lost():
    s = specimen_module("mos2").generate(0, "easy", 8.0)
    barn = {k.name: BeamDamage({"S": 3.0}).cross_section("mos2", k, 60.0) for k in s.kinds}
    assert {n for n, v in barn.items() if v > 0} == {"S"}
    oxide = specimen_module("nio_lsmo").generate(0, "easy", 8.0)
    assert not BeamDamage().of_columns(oxide, 200.0).any()
    assert not BeamDamage({"O": 3.0}).of_columns(oxide, 200.0).any(), "columns stay"


@pytest.fixture(scope="module")
def mixture():
    return specimen_module("composite").generate(0)


def test_a_mixture_is_damaged_as_its_pieces_are(mixture):
    """At the energy of the one beam: sulphur of MoS2 by 1.2 barn, gold and oxides not at all."""
    barn = BeamDamage().of_columns(mixture, 80.0)
    of = {name: barn[own] for name, own in pieces(mixture)}
    assert of["mos2"].max() == cross_section_barn(SULPHUR, 80.0)
    assert of["mos2"].max() == pytest.approx(1.2, abs=0.1)
    assert of["graphene"].max() == cross_section_barn(CARBON, 80.0) > 0
    assert not any(of[name].any() for name in ("nio_lsmo", "bifeo3", "nanoparticles"))
    symbols = np.array([k.stack[0][0] for k in mixture.kinds])[mixture.kind]
    own = dict(pieces(mixture))["mos2"]
    upper = (symbols == "S") & (mixture.height_nm > 0)
    assert np.array_equal((barn > 0) & own, own & upper)


def test_every_column_of_a_mixture_belongs_to_one_piece(mixture):
    parts = dict(pieces(mixture))
    assert (np.sum(list(parts.values()), axis=0) == 1).all()
    symbols = np.array([k.stack[0][0] for k in mixture.kinds])[mixture.kind]
    assert set(symbols[parts["nanoparticles"]]) == {"Au", "C"}
    assert set(symbols[parts["mos2"]]) >= {"Mo", "S"}
    assert set(symbols[parts["bifeo3"]]) >= {"Bi"}


def test_a_specimen_of_one_material_is_one_piece():
    s = specimen_module("mos2").generate(0, "easy", 8.0)
    ((material, own),) = pieces(s)
    assert material == "mos2"
    assert own.all()


def beamed(world, barn, seed=0):
    parts = Imperfections(damage=BeamDamage({"S": barn}))
    m = SimulatedMicroscope(world, seed, imperfections=parts)
    m.open()
    return m


REQUEST = ScanRequest((0.0, 0.0), (2.0, 2.0), (64, 64), 10.0)


def test_lost_atoms_leave_the_image(sheet):
    """What is rendered after a loss is what would be rendered without the atoms."""
    from stemscout.simulators import fast

    m = beamed(sheet, 1e4)
    exposure = m.acquire(REQUEST) and m.last_exposure
    lost = m.evolution.lost
    assert 3 < lost.sum() < len(lost)
    s = sheet.specimen
    covered = exposure.covers(s.positions_yx_nm)
    assert not lost[~covered].any(), "only what the beam has hit"
    without = replace(
        s,
        positions_yx_nm=s.positions_yx_nm[~lost],
        height_nm=s.height_nm[~lost],
        kind=s.kind[~lost],
    )
    wanted = fast.coefficients(without, sheet.grid, "haadf")
    assert m.evolution.coefficients["haadf"] == pytest.approx(wanted, abs=2e-7)


def test_the_truth_stays_frozen_and_features_are_destroyed(sheet):
    before = sheet.specimen.feature_yx_nm.copy()
    m = beamed(sheet, 1e5)
    destroyed = set()
    for y in (-3.0, -1.0, 1.0, 3.0):
        for x in (-3.0, -1.0, 1.0, 3.0):
            m.acquire(replace(REQUEST, centre_yx_nm=(y, x)))
            destroyed |= set(m.last_exposure.destroyed)
    assert np.array_equal(sheet.specimen.feature_yx_nm, before)
    assert destroyed
    for n in destroyed:
        k = int(sheet.specimen.feature_class[n])
        own = atoms_of_feature(sheet.specimen, k, sheet.specimen.feature_yx_nm[n])
        assert m.evolution.lost[own].any()


def test_a_blanked_beam_harms_nothing(sheet):
    m = beamed(sheet, 1e6)
    m.blank(True)
    m.acquire(REQUEST)
    assert not m.evolution.lost.any()


def test_a_feature_destroyed_unseen_counts_as_missed():
    wanted = seen.Targets(
        points_yx_nm=np.array([[[0.0, 0.0]], [[5.0, 5.0]]]),
        least=np.array([1, 1]),
        need_e_per_a2=np.array([100.0, 100.0]),
        max_pixel_nm=np.array([1.0, 1.0]),
        weight=np.array([0.5, 0.5]),
    )
    region = REQUEST.region
    weak = Exposure(region, (0.0, 0.0), 0.1, 60.0, destroyed=(0,))
    strong = Exposure(region, (0.0, 0.0), 0.1, 200.0)
    assert not seen.seen_after(wanted, [weak, strong])[0], "destroyed before it was seen"
    assert seen.seen_after(wanted, [strong, weak])[0], "seen first"


def test_an_episode_ends_when_all_is_seen_or_destroyed():
    env = make_env(
        "StemScout/MoS2Defects-v0",
        difficulty="easy",
        imperfections=Imperfections(damage=BeamDamage({"S": 1e7})),
        budget=1.0,
    )
    env.reset(seed=0)
    done = False
    for y, x in env.source.reference.lattice(env.source.field_yx_nm)[0]:
        if not done:
            request = env.source.reference.at((float(y), float(x)))
            _, _, done, _, _ = env.step(env.actions.encode(request))
    task = env.episode.task
    assert task.tally.destroyed.any()
    assert task.done == bool((task.tally.seen | task.tally.destroyed).all())


def manual(env):
    return " ".join(inspect.getdoc(env).split())


def stated(env, sentence):
    """The number that an id's manual states."""
    found = re.search(sentence, manual(env))
    assert found, sentence
    return float(found[1])


def raster_losses(name, difficulty, seed=0):
    """Probability of losing a feature to the dose of a full raster, by class."""
    module = specimen_module(name)
    dwell = module.LEVELS[difficulty].dwell_us
    pixel_a2 = (10 * module.FRAME_NM / module.FRAME_PX) ** 2
    dose = module.OPTICS.beam_current_pa * ELECTRONS_PER_PA_US * dwell / pixel_a2
    s = module.generate(seed, difficulty)
    return feature_loss_probability(s, BeamDamage(), module.OPTICS.energy_kev, dose), dose


@pytest.mark.parametrize("difficulty", ["easy", "medium", "hard"])
@pytest.mark.parametrize(
    ("name", "env", "sentence"),
    [
        ("graphene", GrapheneDefectsEnv, r"full raster is (\d+); carbon"),
        ("mos2", MoS2DefectsEnv, r"full raster is below (\S+) at every difficulty"),
    ],
)
def test_what_an_id_says_of_its_losses(name, env, sentence, difficulty):
    """At the dose of a full raster: less than 1 in 100,000 for MoS2 at 60 kV, none for graphene."""
    losses, _ = raster_losses(name, difficulty)
    assert max(losses.values()) <= stated(env, sentence)


@pytest.mark.parametrize("seed", range(3))
def test_what_composite_says_of_its_losses(seed):
    losses, dose = raster_losses("composite", "hard", seed)
    assert dose == pytest.approx(stated(CompositeEnv, r"full raster \((\S+) e/Å²\)"), rel=0.01)
    most = {
        material: max(v for name, v in losses.items() if name.startswith(material))
        for material in ("MoS2", "graphene", "LSMO", "BiFeO3", "gold")
    }
    said = stated(CompositeEnv, r"is at most (\S+), from")
    assert 0.5 * said < most["MoS2"] <= said
    each = loss_probability(cross_section_barn(SULPHUR, 80.0), dose)
    assert each == pytest.approx(stated(CompositeEnv, r"from (\S+) for each sulphur"), rel=0.1)
    assert 0 < most["graphene"] < stated(CompositeEnv, r"of graphene it is below (\S+);")
    assert most["LSMO"] == most["BiFeO3"] == most["gold"] == 0.0


def test_mos2_says_that_its_losses_are_a_lower_bound():
    assert "a lower bound" in manual(MoS2DefectsEnv)


@pytest.mark.parametrize("entry", [entry for entry, _ in ENVIRONMENTS.values()])
def test_sections_of_a_manual_begin_at_its_margin(entry):
    """Further in, Markdown takes them for code."""
    module, name = entry.split(":")
    env = getattr(import_module(f"stemscout.{module}"), name)
    headings = [n for n in inspect.getdoc(env).splitlines() if n.strip().startswith("##")]
    assert headings
    assert all(n.startswith("## ") for n in headings)
