"""What a network's word becomes: descriptors, findings, and what is refused.

Findings are tested at the hand of a network that says the truth, so that what they lack is
lost on the way from probabilities to claims.
"""

from __future__ import annotations

import sys
import warnings
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest

from stemscout.agents.experiment import Experiment
from stemscout.agents.navigation.scripted import Raster
from stemscout.agents.perception.dcnn.legend import LEGENDS, Truth
from stemscout.agents.perception.dcnn.perception import DcnnPerception
from stemscout.agents.perception.dcnn.segmenter import Segmenter
from stemscout.agents.perception.dcnn.weights import Header
from stemscout.agents.scalarizers import scalarizer_of
from stemscout.agents.workflow import Finder
from stemscout.benchmarks.found import claims_of, found
from stemscout.benchmarks.scores import flagged
from stemscout.envs.registration import make_env
from stemscout.hardware.microscope import ScanRequest
from stemscout.simulators.specimens import specimen_module

SCORED = {
    "graphene": "StemScout/GrapheneDefects-v0",
    "mos2": "StemScout/MoS2Defects-v0",
    "nio_lsmo": "StemScout/NiOPillars-v0",
    "bifeo3": "StemScout/FerroelectricDomains-v0",
    "nanoparticles": "StemScout/Nanoparticles-v0",
}


class Knowing(Segmenter):
    """A network in name alone, sure of a feature from a half on."""

    def __init__(self, legend):
        self.legend, self._warned = legend, set()
        self.header = Header(legend.specimen, legend.pixel_nm, legend.channels, (1,), 1)


class Perfect(DcnnPerception):
    """Says of every frame what there is, and is as sure of it as it is told to be."""

    def __init__(self, truth, told, sure=1.0, threshold=None):
        super().__init__(threshold=threshold)
        self.truth, self.told, self.sure = truth, told, sure
        self.segmenter = Knowing(truth.legend)

    def look(self, frame):
        if not self.segmenter.takes(frame.image.shape, frame.request.pixel_yx_nm):
            return None
        region = frame.region
        request = ScanRequest(
            region.centre_yx_nm,
            region.fov_yx_nm,
            frame.request.shape_yx,
            1.0,
            region.rotation_rad,
        )
        seen = self.told(self.truth, request)
        return replace(seen, probability=np.float32(self.sure) * seen.probability)


def run(name, told, budget=1.0, **options):
    env = make_env(SCORED[name], split="validation", budget=budget, **options)
    env.reset(seed=0)
    perception = Perfect(Truth.of(env.truth), told)
    agent = Finder(perception, scalarizer_of("features"), Raster(), "perfect-raster")
    experiment = Experiment(env, agent, seed=0)
    experiment.run()
    return experiment


@pytest.fixture(scope="module", params=SCORED)
def whole(request, told):
    """Everything, looked at once."""
    return run(request.param, told)


def test_findings_of_a_network_that_says_the_truth_are_right(whole):
    episode = whole.env.episode
    shapes = [f.request.shape_yx for f in episode.history]
    result = found(claims_of(whole.agent.findings(), episode.exposures, shapes), whole.env.truth)
    assert result.f1 > 0.9


def test_the_default_target_tells_frames_with_features_from_those_without(whole):
    result = flagged(whole.agent, whole.env.episode.microscope, whole.env.episode.reference)
    assert result.average_precision > 0.9


def test_descriptors_have_names_and_count_what_there_is(whole):
    perception = whole.agent.perception
    frames = whole.env.episode.history
    (first,) = perception.describe(perception.features(frames[:1]))
    assert first.shape == (1, len(perception.names))
    every = np.concatenate(perception.describe(perception.features(frames)))
    total = dict(zip(perception.names, every.sum(axis=0), strict=True))
    truth = whole.env.truth
    for name in perception.segmenter.legend.features:
        of = truth.class_names.index(name)
        there = int((truth.feature_class == of).sum())
        # Blobs overlap, and frames cut them; a line is as long however it is cut.
        low, high = (0.5, 2.0) if truth.classes[of].shape == "point" else (0.9, 1.2)
        assert low * there - 1 <= total[name] <= high * there + 2
    for name in perception.segmenter.legend.as_area:  # cells of a pillar
        there = int((truth.feature_class == truth.class_names.index(name)).sum())
        assert 0.8 * there <= total[name] <= 1.2 * there
    assert np.isfinite(every).all()


def begun(name, told, **options):
    """A perception of a validation specimen, and what takes frames of it."""
    env = make_env(SCORED[name], split="validation", budget=1.0, action="operator")
    env.reset(seed=0)
    perception = Perfect(Truth.of(env.truth), told, **options)
    finder = Finder(perception, scalarizer_of(0), Raster())
    perception.reset(Experiment(env, finder, 0).context(), 0)
    return perception, env


@pytest.mark.parametrize("name", ["bifeo3", "nio_lsmo"])
def test_nothing_is_claimed_twice_of_what_is_looked_at_twice(name, told):
    """The same frames again, half a frame apart, and a larger one around them all."""
    perception, env = begun(name, told)
    reference = env.episode.reference
    side = reference.side_nm
    inner = env.truth.field_yx_nm[0] / 2 - 2 * side
    points = np.concatenate([o.path_yx_nm for o in env.truth.outlines])
    y0, x0 = next(p for p in points.tolist() if max(map(abs, p)) < inner)
    frames = [
        env.episode.take(reference.at((y0 + y, x0 + x)))
        for y in (-side, -side / 2, 0.0, side / 2, side)
        for x in (-side, -side / 2, 0.0, side / 2, side)
    ]
    once = _amount(perception.findings(frames), frames)
    assert once > 0
    frames += frames
    assert _amount(perception.findings(frames), frames) == once
    wide = ScanRequest((y0, x0), (4 * side, 4 * side), (256, 256), reference.dwell_us)
    frames.append(env.episode.take(wide))
    in_all = _amount(perception.findings(frames), frames)
    alone, _ = begun(name, told)
    at_once = _amount(alone.findings(frames[-1:]), frames[-1:])
    assert 0.8 * at_once < in_all < 1.06 * at_once, "pieces too short for a wall may be lost"
    assert in_all > once


def _amount(findings, frames):
    """Of walls their length, in nm, or of pillars their area, in square nm."""
    total = 0.0
    for f in findings:
        y, x = (f.points_px * frames[f.frame].request.pixel_yx_nm).T
        if f.label.startswith("wall"):
            total += np.hypot(np.diff(y), np.diff(x)).sum()
        elif f.label == "pillar":
            total += abs(np.sum(x * np.roll(y, -1) - y * np.roll(x, -1))) / 2
    return total


@pytest.mark.parametrize("name", SCORED)
def test_claims_begin_at_the_threshold_that_is_asked_for(name, told):
    """Below what they begin at without one, too."""
    sure = {None: 0.2, 0.15: 0.2, 0.25: 0.2, 0.6: 0.7, 0.8: 0.7}
    claimed = {}
    for threshold, of in sure.items():
        perception, env = begun(name, told, sure=of, threshold=threshold)
        reference = env.episode.reference
        place = env.truth.feature_yx_nm[0]
        half = np.asarray(env.truth.field_yx_nm) / 2 - reference.side_nm / 2
        centre = tuple(np.clip(place, -half, half).tolist())
        claimed[threshold] = bool(perception.findings([env.episode.take(reference.at(centre))]))
    assert claimed == {None: False, 0.15: True, 0.25: False, 0.6: True, 0.8: False}


def test_an_overview_claims_nothing_and_hides_nothing(told):
    """Its pixels are beyond what the network was trained on."""
    env = make_env(SCORED["bifeo3"], split="validation", budget=1.0, action="operator")
    env.reset(seed=0)
    perception = Perfect(Truth.of(env.truth), told)
    context = Experiment(env, Finder(perception, scalarizer_of(0), Raster()), 0).context()
    reference = env.episode.reference
    sharp = [env.episode.take(reference.at((y, y))) for y in (-2.0, 0.0, 2.0)]
    wide = ScanRequest((0.0, 0.0), (20.0, 20.0), reference.shape_yx, reference.dwell_us)
    overview = env.episode.take(wide)
    perception.reset(context, 0)
    alone = perception.findings(sharp)
    perception.reset(context, 0)
    with pytest.warns(UserWarning, match="pixels of 0.3125 nm; .* does not look at larger ones"):
        assert perception.findings([overview]) == []
    after = perception.findings([overview, *sharp])
    assert [(f.frame - 1, f.label) for f in after] == [(f.frame, f.label) for f in alone]


class TestOfAFile:
    """With weights that know nothing."""

    @pytest.fixture
    def perception(self, weights_file, frame_of):
        made = DcnnPerception(network=str(weights_file), ensemble=True)
        made.reset(SimpleNamespace(class_names=(), field_yx_nm=(24.0, 24.0), full_scale={}), 0)
        return made

    def test_what_was_not_scanned_is_not_described(self, perception, frame_of):
        image = np.random.default_rng(0).normal(size=(64, 64))
        frames = [frame_of(image), frame_of(image, 32), frame_of(image, 0)]
        shapes = [d.shape for d in perception.describe(perception.features(frames))]
        assert shapes == [
            (1, len(perception.names)),
            (1, len(perception.names)),
            (0, len(perception.names)),
        ]
        perception.findings(frames)

    @pytest.mark.parametrize("pixel_nm", [0.8, 1.9, 4.6])
    @pytest.mark.filterwarnings("error::RuntimeWarning")
    def test_what_it_cannot_resolve_it_does_not_look_at_and_it_says_so_once(
        self, perception, frame_of, pixel_nm
    ):
        """No descriptors, no sightings that tell anything, no claims; the next is as ever."""
        frame = frame_of(np.random.default_rng(0).normal(size=(64, 64)).cumsum(axis=0))
        request = replace(frame.request, fov_yx_nm=(64 * pixel_nm,) * 2)
        coarse = replace(frame, request=request)
        with pytest.warns(UserWarning, match="does not look at larger ones"):
            assert perception.look(coarse) is None
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            assert perception.features([coarse])[0].shape == (0, len(perception.names))
            assert np.isnan(perception.sightings([coarse])).all()
            assert perception.findings([coarse]) == []
            assert perception.features([frame])[0].shape == (1, len(perception.names))

    def test_constant_and_broken_pictures_do_no_harm(self, perception, frame_of):
        broken = np.random.default_rng(0).normal(size=(64, 64))
        broken[3, 5] = np.nan
        broken[7, 7] = np.inf
        frames = [
            frame_of(np.full((64, 64), 7.0)),
            frame_of(np.full((64, 64), 1e9)),
            frame_of(broken),
        ]
        described = np.concatenate(perception.describe(perception.features(frames)))
        assert np.isfinite(described).all()

    @pytest.mark.parametrize("shape", [(64, 6), (6, 64), (3, 3)])
    def test_a_frame_that_is_too_small_is_not_described(self, perception, frame_of, shape):
        """Along either side; pixels are those of a frame of 64."""
        frame = frame_of(np.random.default_rng(0).normal(size=(64, 64)))
        fov = tuple(1.5 * n / 64 for n in shape)
        request = replace(frame.request, shape_yx=shape, fov_yx_nm=fov)
        data = {"haadf": frame.image[: shape[0], : shape[1]]}
        small = replace(frame, request=request, data=data, valid_rows=shape[0])
        with pytest.warns(UserWarning, match=r"takes at least 0\.188 nm a side, and does not look"):
            assert perception.features([small])[0].shape == (0, len(perception.names))
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            assert perception.findings([small, replace(small)]) == []

    def test_a_frame_without_a_number_is_not_described(self, perception, frame_of):
        frames = [frame_of(np.full((64, 64), np.nan))]
        assert perception.features(frames)[0].shape == (0, len(perception.names))
        assert perception.findings(frames) == []

    def test_members_that_differ_are_an_uncertainty(self, perception, frame_of):
        image = np.random.default_rng(0).normal(size=(64, 64)).cumsum(axis=0)
        (described,) = perception.describe(perception.features([frame_of(image)]))
        assert described[0, perception.names.index("uncertainty")] > 0

    def test_a_descriptor_of_ones_own(self, weights_file, frame_of):
        made = DcnnPerception(str(weights_file), descriptor=lambda seen: seen.channel("C").max())
        made.reset(SimpleNamespace(class_names=(), field_yx_nm=(24.0, 24.0), full_scale={}), 0)
        image = np.random.default_rng(0).normal(size=(64, 64))
        (described,) = made.describe(made.features([frame_of(image)]))
        seen = made.look(frame_of(image))
        assert made.names[-1] == "own"
        assert described[0, -1] == pytest.approx(float(seen.channel("C").max()))

    @pytest.mark.parametrize(
        ("own", "sentence"),
        [
            (lambda seen: {}["xx"], r"descriptor '.*:.*<lambda>' failed: KeyError: 'xx'"),
            (lambda seen: np.nan, r"descriptor '.*:.*<lambda>' gave nan; it must give a finite"),
        ],
    )
    def test_a_descriptor_that_fails_is_named(self, weights_file, frame_of, own, sentence):
        made = DcnnPerception(str(weights_file), descriptor=own)
        made.reset(SimpleNamespace(class_names=(), field_yx_nm=(24.0, 24.0), full_scale={}), 0)
        with pytest.raises(ValueError, match=sentence):
            made.features([frame_of(np.random.default_rng(0).normal(size=(64, 64)))])

    def test_a_network_for_other_classes_is_not_guessed(self, weights_file):
        with pytest.raises(ValueError, match="no network is known for these classes: cat; name"):
            DcnnPerception().reset(
                SimpleNamespace(class_names=("cat",), field_yx_nm=(9.0, 9.0), full_scale={}), 0
            )

    def test_a_network_that_tells_nothing_of_what_is_sought_is_refused(self, weights_file):
        with pytest.raises(ValueError, match=r"the network for graphene tells si3.* sought here"):
            DcnnPerception(str(weights_file)).reset(
                SimpleNamespace(class_names=("pillar",), field_yx_nm=(9.0, 9.0), full_scale={}), 0
            )

    def test_a_network_of_another_specimen_is_refused_though_it_shares_a_class(self, weights_file):
        """Both sheets have boundaries."""
        classes = tuple(c.name for c in specimen_module("mos2").CLASSES)
        with pytest.raises(ValueError, match="the network for graphene tells si3"):
            DcnnPerception(str(weights_file)).reset(
                SimpleNamespace(class_names=classes, field_yx_nm=(9.0, 9.0), full_scale={}), 0
            )

    def test_of_ones_own_classes_it_says_which_it_does_not_tell(self, weights_file):
        context = SimpleNamespace(
            class_names=("hole", "kink"), field_yx_nm=(9.0, 9.0), full_scale={}
        )
        with pytest.warns(UserWarning, match="the network for graphene does not tell kink, which"):
            DcnnPerception(str(weights_file)).reset(context, 0)

    def test_a_descriptor_is_found_in_the_working_folder_and_kept_by_its_name(
        self, weights_file, tmp_path, monkeypatch
    ):
        (tmp_path / "mine_alone.py").write_text("def carbon(seen):\n    return 1.0\n")
        (tmp_path / "broken_alone.py").write_text("def carbon(seen:\n")
        monkeypatch.chdir(tmp_path)
        monkeypatch.setattr("sys.path", [p for p in sys.path if p not in ("", str(tmp_path))])
        made = DcnnPerception(str(weights_file), descriptor="mine_alone:carbon")
        assert made.settings["descriptor"] == "mine_alone:carbon"
        again = DcnnPerception(str(weights_file), descriptor=made.own)
        assert again.settings["descriptor"] == "mine_alone:carbon"
        with pytest.raises(ValueError, match="no descriptor 'broken_alone:carbon': SyntaxError"):
            DcnnPerception(str(weights_file), descriptor="broken_alone:carbon")

    @pytest.mark.parametrize(
        ("options", "sentence"),
        [
            ({"threshold": 0.0}, "threshold 0.0; it must lie between 0 and 1"),
            ({"threshold": "high"}, "threshold 'high'"),
            ({"descriptor": "nothing"}, "no descriptor 'nothing'; it must be named as module:name"),
            ({"descriptor": "no.module:f"}, "no descriptor 'no.module:f'"),
            ({"descriptor": "math:tau"}, "it must be a function"),
            ({"network": "no.file"}, "there is no such file"),
            ({"network": 5}, "network 5; it must be the name of a specimen or a path"),
            ({"ensemble": "maybe"}, "ensemble 'maybe'; it must be true or false"),
            ({"ensemble": 1}, "ensemble 1; it must be true or false"),
        ],
    )
    def test_bad_settings(self, options, sentence):
        with pytest.raises(ValueError, match=sentence):
            DcnnPerception(**options)


def test_every_id_has_a_legend_but_the_composite():
    for name in SCORED:
        classes = tuple(c.name for c in specimen_module(name).CLASSES)
        assert set(LEGENDS[name].features) <= set(classes)
