"""What every specimen promises, whatever it is."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial import cKDTree

from stemscout.hardware.costs import ELECTRONS_PER_PA_US
from stemscout.simulators.specimens import (
    SPECIMENS,
    chalcogenide,
    graphene,
    motifs,
    specimen_module,
    specimen_of,
)

CASES = [(name, d) for name in SPECIMENS for d in specimen_module(name).LEVELS]


def least(module):
    return max(module.LEAST_FIELD_NM, 10.0)


@pytest.fixture(scope="module", params=CASES, ids=lambda c: "-".join(c))
def case(request):
    name, difficulty = request.param
    module = specimen_module(name)
    return module, difficulty, module.generate(3, difficulty)


def columns(specimen):
    """Columns in an order that does not depend on how they were made."""
    table = np.column_stack([specimen.positions_yx_nm, specimen.height_nm, specimen.kind])
    table = np.round(table, 9)
    return table[np.lexsort(table.T)]


def test_the_same_seed_gives_the_same_specimen_and_another_another(case):
    module, difficulty, specimen = case
    again, other = (module.generate(s, difficulty) for s in (3, 4))
    assert np.array_equal(columns(specimen), columns(again))
    assert np.array_equal(specimen.feature_yx_nm, again.feature_yx_nm)
    assert specimen.feature_yx_nm.shape != other.feature_yx_nm.shape or not np.array_equal(
        specimen.feature_yx_nm, other.feature_yx_nm
    )


@pytest.mark.parametrize("name", SPECIMENS)
def test_nothing_hangs_on_motifs_being_read_but_once(name, monkeypatch):
    """Threads of one process may each have read them, when they begin together."""
    module = specimen_module(name)
    expected = module.generate(1, "hard").digest
    for user in (chalcogenide, graphene):
        for reader in {"motifs", "boundaries", "edges"} & set(vars(user)):
            monkeypatch.setattr(user, reader, getattr(motifs, reader).__wrapped__)
    assert module.generate(1, "hard").digest == expected


def test_a_seed_sequence_is_not_used_up(case):
    module, difficulty, _ = case
    sequence = np.random.SeedSequence(5, spawn_key=(2, 1, 0))
    first = module.generate(sequence, difficulty, least(module))
    second = module.generate(sequence, difficulty, least(module))
    assert np.array_equal(first.feature_yx_nm, second.feature_yx_nm)


def test_the_margin_changes_nothing_inside(case):
    module, difficulty, _ = case
    side = least(module)
    narrow, wide = (module.generate(3, difficulty, side, m) for m in (0.5, 1.7))
    half = side / 2 + 0.5
    inner = (np.abs(wide.positions_yx_nm) <= half).all(axis=1)
    table = np.round(np.column_stack([wide.positions_yx_nm, wide.height_nm, wide.kind])[inner], 9)
    near = (np.abs(columns(narrow)[:, :2]) <= half - 0.05).all(axis=1)
    far = (np.abs(table[:, :2]) <= half - 0.05).all(axis=1)
    a, b = columns(narrow)[near], table[far]
    assert len(a) == len(b)
    assert np.array_equal(a, b[np.lexsort(b.T)])
    assert np.array_equal(narrow.feature_yx_nm, wide.feature_yx_nm)


def test_at_least_eight_features_each_within_the_field(case):
    _, _, s = case
    assert len(s.feature_class) >= 8
    radius = np.array([s.classes[k].context_radius_nm for k in s.feature_class])
    assert (np.abs(s.feature_yx_nm).max(axis=1) <= s.field_yx_nm[0] / 2 - radius + 1e-6).all()


@pytest.mark.parametrize("name", ["graphene", "mos2", "wse2", "nio_lsmo", "bifeo3"])
def test_features_lie_a_context_radius_inside_whatever_the_seed(name):
    """Sites of a lattice are rounded to: what lay inside may come to lie outside."""
    module = specimen_module(name)
    for seed in (*range(12), 53, 24, 36, 234):
        for difficulty in module.LEVELS:
            s = module.generate(seed, difficulty)
            radius = np.array([s.classes[k].context_radius_nm for k in s.feature_class])
            edge = s.field_yx_nm[0] / 2 - np.abs(s.feature_yx_nm).max(axis=1)
            assert (edge >= radius - 1e-6).all()


@settings(max_examples=12, deadline=None)
@given(case=st.sampled_from(CASES), seed=st.integers(0, 2**32), wider=st.floats(0.0, 10.0))
def test_any_seed_and_field_holds_eight_features(case, seed, wider):
    module = specimen_module(case[0])
    s = module.generate(seed, case[1], module.LEAST_FIELD_NM + wider)
    assert len(s.feature_class) >= 8


def test_the_default_field_holds_sixteen_frames_a_side(case):
    module, _, _ = case
    assert module.FIELD_NM / module.FRAME_NM >= 16 - 1e-9


def test_classes_fit_the_reference_frame(case):
    module, _, s = case
    # What a class needs may depend on the difficulty; nothing else does.
    assert [replace(c, need_e_per_a2=0.0) for c in s.classes] == [
        replace(c, need_e_per_a2=0.0) for c in module.CLASSES
    ]
    for c in s.classes:
        assert c.context_radius_nm <= module.FRAME_NM / 3 + 1e-12
        assert c.max_pixel_nm >= module.FRAME_NM / module.FRAME_PX


def test_one_reference_frame_gives_the_dose_that_any_class_needs(case):
    """So one contiguous raster sees everything, at every difficulty."""
    module, difficulty, s = case
    pixel_a2 = (10 * module.FRAME_NM / module.FRAME_PX) ** 2
    dwell = module.LEVELS[difficulty].dwell_us
    dose = module.OPTICS.beam_current_pa * ELECTRONS_PER_PA_US * dwell / pixel_a2
    assert max(c.need_e_per_a2 for c in s.classes) <= dose


def test_extended_features_belong_to_outlines(case):
    _, _, s = case
    for k, outline in zip(s.feature_class, s.feature_outline, strict=True):
        if s.classes[k].shape != "point":
            assert s.outlines[outline].feature_class == k


def test_maps_cover_the_field(case):
    _, _, s = case
    assert s.maps
    for m in s.maps.values():
        assert m.values.shape[0] * m.pitch_nm == pytest.approx(s.field_yx_nm[0], rel=0.02)
        assert np.isfinite(m.values).all()


def test_nothing_overlaps(case):
    """No two atoms of the specimen are closer than 0.125 nm: the shortest bond is C-C."""
    _, _, s = case
    window = s.window(np.zeros(2), 8.0, 0.0)
    atoms = window.atoms()
    distance, _ = cKDTree(atoms.positions / 10).query(atoms.positions / 10, k=2)
    assert distance[:, 1].min() > 0.125


def test_atoms_describe_the_same_specimen(case):
    """Every column is there with all its atoms, where the arrays say."""
    _, _, s = case
    window = s.window(np.array([1.0, -2.0]), 4.0, 0.0)
    atoms = window.atoms()
    corner = np.asarray(atoms.info["corner_yxz_nm"][:2])
    yx = atoms.positions[:, [1, 0]] / 10 + corner
    wanted = sum(
        (window.kind == k).sum() * window.repeats(k) * len(kind.stack)
        for k, kind in enumerate(window.kinds)
    )
    film = 0
    if window.film_nm:
        film = sum(1 for a in atoms.symbols if a == "C") - (window.kind == 1).sum()
    assert len(atoms) - film == wanted
    sway = window.sway_yxz_nm[:, :2] if len(window.sway_yxz_nm) else np.zeros((1, 2))
    for side in (1, -1):
        distance, _ = cKDTree(yx).query(window.positions_yx_nm + side * sway)
        assert distance.max(initial=0.0) < 1e-9
    assert (atoms.positions >= -1e-9).all()
    assert (atoms.positions <= atoms.cell.lengths() + 1e-9).all()


def test_columns_stretch_and_sway_along_the_beam():
    """Of one column of three repeats: heights times the stretch, places to either side in turn."""
    made = specimen_module("bifeo3").generate(0, "easy", 10.0)
    one = replace(
        made,
        positions_yx_nm=np.zeros((1, 2)),
        height_nm=np.array([0.1]),
        kind=np.array([1]),
        thickness_nm=3 * made.kinds[1].period_nm,
        stretch=np.array([1.5]),
        sway_yxz_nm=np.array([[0.01, 0.02, 0.03]]),
    )
    foot = 0.1 + 1.5 * made.kinds[1].stack[0][1]
    step = 1.5 * made.kinds[1].period_nm
    wanted = [
        [side * 0.01, side * 0.02, foot + k * step + side * 0.03]
        for k, side in enumerate((1, -1, 1))
    ]
    found = one.atoms().positions[:, [1, 0, 2]] / 10
    assert found - found[0] == pytest.approx(np.array(wanted) - np.array(wanted[0]), abs=1e-12)


@pytest.mark.parametrize("field", ["thickness_nm", "film_nm"])
@pytest.mark.parametrize("value", [-3.0, float("nan"), float("inf")])
def test_thicknesses_that_are_none_are_refused(field, value):
    made = specimen_module("nanoparticles").generate(0, "easy", 48.0)
    with pytest.raises(ValueError, match=f"{field} is {value}; it must be at least 0, finite"):
        replace(made, **{field: value})


def test_mixed_columns_hold_their_share():
    s = specimen_module("nio_lsmo").generate(0, "easy")
    symbols = np.array(s.atoms().get_chemical_symbols())
    mixed = s.kind == 0
    repeats = s.repeats(0)
    assert (symbols == "Sr").sum() == round(float(s.share[mixed].sum() * repeats))
    assert (symbols == "La").sum() == mixed.sum() * repeats - (symbols == "Sr").sum()


def test_truth_cannot_be_changed(case):
    _, _, s = case
    with pytest.raises(ValueError, match="read-only"):
        s.feature_yx_nm[0] = 0.0


@pytest.mark.parametrize("name", SPECIMENS)
@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ((0, "extreme"), "unknown difficulty 'extreme'; there are: easy, medium, hard"),
        ((0, "hard", 2.0), "a field of 2.0 nm"),
        ((0, "hard", float("nan")), "a field of nan nm"),
    ],
)
def test_bad_input(name, arguments, sentence):
    with pytest.raises(ValueError, match=sentence):
        specimen_module(name).generate(*arguments)


def test_unknown_specimens_list_the_known():
    with pytest.raises(ValueError, match="unknown specimen 'diamond'; there are: graphene, mos2"):
        specimen_module("diamond")


@pytest.mark.parametrize("name", SPECIMENS)
def test_pairs_differ_by_the_feature_alone(name):
    """Beyond a frame's third and what relaxes around it, both specimens are the same."""
    module = specimen_module(name)
    for index, c in enumerate(module.CLASSES):
        with_it, without, yx = module.pair(index, np.random.default_rng(index))
        assert with_it.name == without.name == name
        assert len(columns(with_it)) != len(columns(without)) or not np.array_equal(
            columns(with_it), columns(without)
        )
        if c.shape == "point" and name != "nanoparticles" and "junction" not in c.name:
            # In the plane columns about an inclusion make way as far as 1.4 nm from its middle,
            # and along the beam those of an oxide relax farther.
            a, b = (
                {(y, x, k): h for y, x, h, k in columns(s) if np.hypot(y - yx[0], x - yx[1]) > 1.5}
                for s in (with_it, without)
            )
            assert a == pytest.approx(b, abs=0.08)


@pytest.mark.parametrize("name", ["graphene", "mos2", "wse2"])
def test_no_contamination_reaches_into_the_disc_of_a_defect(name):
    """However lobed the patch."""
    carbon_on_it = 0
    for seed in range(12):
        s = specimen_module(name).generate(seed, "hard")
        carbon = np.array([k.name == "C" for k in s.kinds])[s.kind] & (s.height_nm > 0.3)
        carbon_on_it += carbon.sum()
        tree = cKDTree(s.positions_yx_nm[carbon])
        for of, yx in zip(s.feature_class, s.feature_yx_nm, strict=True):
            if s.classes[of].shape == "point":
                assert tree.query(yx)[0] > s.classes[of].context_radius_nm, s.classes[of].name
    assert carbon_on_it > 5000


def test_classes_tell_the_specimen():
    for name in SPECIMENS:
        classes = [c.name for c in specimen_module(name).CLASSES]
        assert specimen_of(classes) == name
        assert specimen_of([*classes[::-1], "more"]) is None
    assert specimen_of(()) is None
