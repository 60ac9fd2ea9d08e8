"""The paper's protocol: pictures and their windows, runs, the table and the page of them."""

from __future__ import annotations

import json
from dataclasses import asdict, replace
from itertools import pairwise

import numpy as np
import pytest

from stemscout.agents.navigation.navigator import Candidates
from stemscout.benchmarks import paper, protocol
from stemscout.benchmarks.paper_figures import lines_of
from stemscout.benchmarks.paper_page import write_figure, write_page
from stemscout.benchmarks.paper_verdicts import verdicts
from stemscout.benchmarks.pictures import PICTURES, SIDE, make_picture, missing
from stemscout.benchmarks.protocol import (
    STEPS,
    Windows,
    alike,
    features_by_otsu,
    kept,
    replayed,
    restored,
    run_job,
    true_map,
)
from stemscout.benchmarks.replay import verify_folder
from stemscout.benchmarks.report import write_report
from stemscout.benchmarks.results import Results, read_table
from stemscout.benchmarks.runner import run_suite
from stemscout.benchmarks.similarity import structural_similarity
from stemscout.benchmarks.statistics import Interval
from stemscout.benchmarks.suite import Suite, label_of, load_suite, suite_of
from stemscout.benchmarks.workflows import Setting

SIMULATED = "paper/simulated-graphene"
LINEAR = {"name": "linear-paper", "window": 1.0, "descriptor": "radial", "steps": 3}
ORACLE = {**LINEAR, "label": "linear", "oracle_descriptors": True}
ONLINE = {**LINEAR, "label": "linear online"}
SUITE = {
    "version": 1,
    "about": "a test",
    "environments": [SIMULATED],
    "difficulties": ["as is"],
    "specimens": 2,
    "agents": [ORACLE, ONLINE],
}


@pytest.fixture(scope="module")
def picture():
    return make_picture("simulated-graphene", 0)


@pytest.fixture(scope="module")
def suite() -> Suite:
    return suite_of("few", SUITE)


@pytest.fixture(scope="module")
def results(suite, tmp_path_factory):
    found = Results(tmp_path_factory.mktemp("protocol") / "few", suite)
    run_suite(suite, found, "1")
    found.write_table()
    return found


class TestPictures:
    def test_candidates_are_the_windows(self, picture):
        context = picture.context(501)
        candidates = Candidates.of(context)
        assert candidates.shape == (SIDE, SIDE)
        frames = picture.windows()
        centres = np.array([f.request.centre_yx_nm for f in frames])
        np.testing.assert_allclose(centres, candidates.centres_yx_nm, atol=1e-9)
        assert {f.image.shape for f in frames} == {(64, 64)}
        for k in (0, SIDE - 1, 400, SIDE**2 - 1):
            row, column = divmod(k, SIDE)
            own = picture.image[16 * row : 16 * row + 64, 16 * column : 16 * column + 64]
            np.testing.assert_array_equal(frames[k].image, own)
            assert frames[k].request.pixel_yx_nm[0] == pytest.approx(picture.pixel_nm)

    def test_of_a_recorded_one_they_are_so_to_half_a_pixel(self, images):
        recorded = make_picture("nio", 0)
        centres = np.array([f.request.centre_yx_nm for f in recorded.windows()])
        off = np.abs(centres - recorded.centres_yx_nm) / recorded.pixel_nm
        assert len(centres) == SIDE**2
        assert off.max() <= 0.5 + 1e-6
        corners = [recorded.windows()[0].image, recorded.windows()[-1].image]
        np.testing.assert_array_equal(corners[0], recorded.image[:54, :54])
        np.testing.assert_array_equal(corners[1], recorded.image[-54:, -54:])
        assert recorded.context(1).class_names == ("pillar", "inclusion")
        with pytest.raises(ValueError, match="nobody knows its truth"):
            recorded.shows()

    def test_windows_show_the_features_within_them(self, picture):
        shows = picture.shows()
        truth = picture.truth
        assert shows.shape == (SIDE**2, len(truth.feature_yx_nm))
        feature = int(np.abs(truth.feature_yx_nm).max(axis=1).argmin())
        middle = picture.centres_yx_nm[shows[:, feature]].mean(axis=0)
        assert np.abs(middle - truth.feature_yx_nm[feature]).max() < picture.window_nm / 8 + 1e-9
        assert shows[:, feature].sum() == 16, "four along each axis, at three quarters of overlap"

    def test_each_seed_is_another_specimen_and_the_same_one_again(self, picture):
        other = make_picture("simulated-graphene", 1)
        assert other.digest != picture.digest
        make_picture.cache_clear()
        assert make_picture("simulated-graphene", 0).digest == picture.digest

    def test_what_is_not_there_is_left_out_with_a_sentence(self, monkeypatch):
        monkeypatch.delenv("STEMSCOUT_IMAGES", raising=False)
        with pytest.raises(ValueError, match="STEMSCOUT_IMAGES names no folder"):
            make_picture.__wrapped__("nio", 0)
        suite, said = paper.at_hand(load_suite("paper"))
        assert [e for e in suite.environments if "simulated" not in e] == []
        assert "paper/nio is left out: STEMSCOUT_IMAGES names no folder of recorded images" in said
        assert not any(a.get("pictures") for a in suite.agents)
        assert {j.environment for j in suite.jobs()} == set(suite.environments)
        only = replace(load_suite("paper"), environments=("paper/nio",))
        with pytest.raises(ValueError, match="nothing is left"):
            paper.at_hand(only)

    def test_a_folder_without_the_file_says_so(self, monkeypatch, tmp_path):
        monkeypatch.setenv("STEMSCOUT_IMAGES", str(tmp_path))
        assert missing("bfo") == "STEMSCOUT_IMAGES names a folder without BFO_435px.png"
        with pytest.raises(ValueError, match="unknown picture 'moon'; there are: nio, bfo"):
            make_picture("moon", 0)


class TestSimilarity:
    def test_the_same_is_1_and_the_opposite_below_0(self):
        a = np.random.default_rng(0).random((29, 29))
        assert structural_similarity(a, a) == pytest.approx(1.0)
        assert structural_similarity(a, 1 - a) < 0

    def test_it_is_what_the_definition_says(self):
        rng = np.random.default_rng(1)
        a, b = rng.random((2, 9, 9))
        each = []
        for i, j in np.ndindex(3, 3):
            x, y = a[i : i + 7, j : j + 7], b[i : i + 7, j : j + 7]
            (vx, both), (_, vy) = np.cov(x.ravel(), y.ravel())
            light = (2 * x.mean() * y.mean() + 1e-4) / (x.mean() ** 2 + y.mean() ** 2 + 1e-4)
            each.append(light * (2 * both + 9e-4) / (vx + vy + 9e-4))
        assert structural_similarity(a, b) == pytest.approx(np.mean(each))

    @pytest.mark.parametrize(
        ("a", "b", "span", "sentence"),
        [
            (np.zeros((8, 8)), np.zeros((8, 9)), 1.0, "must be alike"),
            (np.zeros((6, 8)), np.zeros((6, 8)), 1.0, "7 or more to a side"),
            (np.zeros((8, 8)), np.zeros((8, 8)), 0.0, "a span of 0.0"),
        ],
    )
    def test_bad_input_is_refused(self, a, b, span, sentence):
        with pytest.raises(ValueError, match=sentence):
            structural_similarity(a, b, span)

    def test_sign_and_scale_do_not_matter_online_and_do_otherwise(self):
        truth = np.random.default_rng(2).random(SIDE**2)
        measured = np.arange(0, SIDE**2, 3)
        other = 5.0 - 3.0 * truth
        assert alike(other, truth, measured, same_units=False) == pytest.approx(1.0)
        assert alike(other, truth, measured, same_units=True) < 0.2
        flat = np.full(SIDE**2, 2.0)
        assert abs(alike(flat, truth, measured, same_units=False)) < 0.2

    def test_a_map_is_kept_to_a_thousandth_of_its_range(self):
        values = np.random.default_rng(3).normal(size=SIDE**2)
        back = restored(json.loads(json.dumps(kept(values))))
        assert np.abs(back - values).max() <= 0.0005001 * np.ptp(values)
        assert restored(kept(np.ones(4))).tolist() == [1.0] * 4


class TestRuns:
    def test_oracle_descriptors_give_the_true_map_itself_once_all_is_measured(self, picture):
        setting = Setting.of({**ORACLE, "batch": 280, "steps": 3})
        windows = Windows(picture, setting, 0)
        *_, last = windows.run()
        truth = true_map(picture, setting)
        every = np.arange(SIDE**2)
        assert windows.readings(every).tolist() == truth.tolist()
        assert alike(last.belief.mean, truth, every, same_units=True) > 0.99

    def test_what_was_fitted_on_all_windows_is_what_an_online_fit_comes_to(self, picture):
        setting = Setting.of(ONLINE)
        windows = Windows(picture, setting, 0)
        next(windows.run())  # resets what the run is made of
        every = np.arange(SIDE**2)
        read = windows.readings(every)
        assert abs(np.corrcoef(read, windows.truth)[0, 1]) > 0.999

    def test_a_run_scores_every_batch_and_repeats_nothing(self, suite):
        job = suite.jobs()[0]
        record = run_job(job)
        assert record["ended"] == "all batches were taken"
        assert record["trace"]["taken"] == [1, 10, 10, 10]
        scores = record["scores"]
        assert (scores["windows"], scores["repeats"]) == (31, 0)
        curve = scores["curve"]
        assert {len(v) for v in curve.values()} == {4}
        for name in ("collected", "by_their_rule", "shown", "features", "chance"):
            assert np.all(np.diff(curve[name]) >= 0)
            assert 0 <= curve[name][0] <= curve[name][-1] <= 1
        expected = np.cumsum(record["trace"]["taken"]) / SIDE**2
        assert scores["shown_over_chance"] == pytest.approx(np.mean(curve["shown"] - expected))
        assert scores["ssim"]["2"] == curve["ssim"][1], "by the seed and one batch"
        assert scores["collected"]["2"] == curve["collected"][2], "of two batches"
        assert {scores["ssim"][str(n)] for n in STEPS[1:]} == {None}

    def test_the_same_again_to_the_bit_and_from_its_trace(self, suite):
        for job in suite.jobs()[:2]:
            first, second = run_job(job), run_job(job)
            assert first["scores"] == second["scores"]
            assert first["trace"]["requests"] == second["trace"]["requests"]
            plain = json.loads(json.dumps(first))
            assert replayed(plain) == plain["scores"]

    def test_seeds_begin_elsewhere(self, suite):
        one, other = (run_job(j)["trace"]["requests"][0] for j in suite.jobs()[::2])
        assert one != other

    def test_random_order_finds_what_counting_says(self, picture):
        shows = np.zeros((SIDE**2, 2), dtype=bool)
        shows[:16, 0] = shows[5, 1] = True
        measured, upto = np.arange(100), np.array([1, 100])
        found = protocol._chance(measured, upto, shows)
        rng = np.random.default_rng(0)
        drawn = [shows[rng.permutation(SIDE**2)[:100]].any(axis=0).mean() for _ in range(4000)]
        assert found[0] == pytest.approx((16 + 1) / 2 / SIDE**2)
        assert found[1] == pytest.approx(np.mean(drawn), abs=0.02)

    def test_rvae_trains_beforehand_and_online(self, picture):
        entry = {"name": "rvae-paper", "steps": 1, "training_steps": 1, "beforehand": 3}
        setting = Setting.of({**entry, "window": 1.0})
        assert setting.fitted_on_all().perception.training_steps == 3
        batches = list(Windows(picture, setting, 0).run())
        assert [len(b.requests) for b in batches] == [1, 10]
        assert all(np.isfinite(b.belief.mean).all() for b in batches)

    def test_a_workflow_that_fails_says_so_and_scores_what_it_had(self, suite, monkeypatch):
        def broken(self, measured):
            if len(measured) > 1:
                raise RuntimeError("the lamp went out")
            return np.zeros(len(measured))

        monkeypatch.setattr(Windows, "readings", broken)
        record = run_job(suite.jobs()[0])
        assert record["failed"]
        assert "the lamp went out" in record["ended"]
        assert record["scores"]["windows"] == 1
        assert len(record["scores"]["curve"]["ssim"]) == 1

    def test_a_forged_trace_is_refused(self, suite):
        record = json.loads(json.dumps(run_job(suite.jobs()[0])))
        with pytest.raises(ValueError, match="made by another version"):
            replayed({**record, "specimen_digest": "0"})
        record["trace"]["taken"][0] = 2
        with pytest.raises(ValueError, match="its batches are not those"):
            replayed(record)


class TestSuite:
    def test_the_suite_of_the_package(self):
        suite = load_suite("paper")
        assert suite.kind == "protocol"
        assert len(suite.specimens) >= 10
        assert suite.environments == tuple(f"paper/{p}" for p in PICTURES)
        jobs = suite.jobs()
        assert not any(j.yardstick for j in jobs)
        at = [(j.environment, j.specimen) for j in jobs]
        assert len(set(at)) == 1 + sum(a != b for a, b in pairwise(at))
        settings = [Setting.of(a) for a in suite.agents]
        main = {(s.perception, s.oracle_descriptors) for s in settings if s.pictures is None}
        assert main >= {(p, way) for p in ("linear", "rvae") for way in (True, False)}
        narrow = [j for j in jobs if "N-FINDR" in j.label]
        assert {j.environment for j in narrow} == {"paper/nio"}
        faithful = [s for s in settings if s.made().navigator.faithful]
        assert [s.perception for s in faithful] == ["linear"]

    @pytest.mark.parametrize(
        ("change", "sentence"),
        [
            ({"environments": ["paper/moon"]}, "unknown picture 'paper/moon'; there are: paper/"),
            ({"environments": [SIMULATED, "navigation/bumps"]}, "unknown picture"),
            ({"difficulties": ["hard"]}, "difficulties is"),
            ({"budget": 0.2}, "budget is 0.2; where the protocol is run it must be 0.4"),
            ({"variants": [{"name": "a", "dose": 2}]}, "variants is"),
            ({"agents": [{"name": "grid"}]}, "no workflow of the protocol"),
            ({"agents": [{"name": "linear-bo"}]}, "no workflow of the protocol"),
            ({"agents": [{"name": "true-paper"}]}, "is told the truth"),
            ({"agents": [{"name": "linear-paper", "colour": 1}]}, "has no option colour"),
            ({"agents": [{"name": "smell-paper"}]}, "unknown agent 'smell-paper'"),
            ({"agents": [{**LINEAR, "batch": 842}]}, "842 windows at once, and a picture has 841"),
            ({"agents": [{**LINEAR, "seed_frames": 900}]}, "900 windows at once"),
            ({"agents": [{**LINEAR, "oracle_descriptors": 1}]}, "oracle_descriptors is 1"),
            ({"agents": [{**LINEAR, "beforehand": 0}]}, "beforehand is 0"),
            ({"agents": [{**LINEAR, "beforehand": 5}]}, "has no option training_steps"),
            ({"agents": [{**LINEAR, "pictures": []}]}, "pictures is"),
            ({"agents": [{**LINEAR, "pictures": ["paper/nio"]}]}, "unknown picture 'paper/nio'"),
        ],
    )
    def test_what_cannot_be_run_is_refused(self, change, sentence):
        with pytest.raises(ValueError, match=sentence):
            suite_of("x", {**SUITE, **change})

    def test_seeds(self):
        assert paper.suite(3)[0].specimens == (0, 1, 2)
        with pytest.raises(ValueError, match="0 seeds; there must be at least 1"):
            paper.suite(0)


class TestResults:
    def test_it_resumes_and_is_verified_to_the_bit(self, results, suite):
        key = suite.jobs()[1].key
        before = results.path(key).read_bytes()
        results.path(key).unlink()
        done = run_suite(suite, results, "1")
        assert (done.done, done.total, done.failed) == (4, 4, 0)
        assert results.path(key).is_file()
        again = results.path(key).read_bytes()
        assert abs(len(again) - len(before)) < 200, "the same but for its times"
        found = verify_folder(results.folder)
        assert (found.replayed, found.to_the_bit, found.differ) == (4, 4, [])

    def test_a_line_is_what_its_rows_say(self, results):
        rows = read_table(results.folder)
        assert len(rows) == 4
        runs = paper.runs_of(results)
        found = paper.lines(results, runs)
        assert [(of.picture, of.label, of.runs) for of in found] == [
            ("simulated-graphene", "linear", 2),
            ("simulated-graphene", "linear online", 2),
        ]
        own = [r["ssim_2"] for r in rows if r["agent"] == "linear"]
        assert found[0].ssim[2].value == pytest.approx(np.mean(own))
        assert found[0].ssim[10] is None
        assert paper.rows_of(found)[0]["SSIM 10"] == "n/a"

    def test_the_page_and_one_figure_of_it(self, results):
        page = write_page(results, paper.runs_of(results), "stemscout paper").read_text("utf-8")
        for words in (
            "<svg",
            "Only 2 seeds",
            "not public in full",
            "stemscout paper --only simulated-graphene",
            "linear online",
            "prefers-color-scheme",
        ):
            assert words in page
        parts = results.folder / "paper"
        assert (parts / "simulated-graphene.pdf").stat().st_size > 10_000
        assert "ssim" in (parts / "simulated-graphene.csv").read_text("utf-8")
        assert len(write_figure(results, "simulated-graphene")) == 3
        with pytest.raises(ValueError, match="unknown figure 'nio'; there are: simulated-graphene"):
            write_figure(results, "nio")

    def test_no_other_page_takes_them(self, results):
        with pytest.raises(ValueError, match="`stemscout paper --out` makes it"):
            write_report(results.folder, "as before")

    def test_a_folder_without_runs_is_refused(self, suite, tmp_path):
        with pytest.raises(ValueError, match="no finished run yet"):
            paper.runs_of(Results(tmp_path / "new", suite))


def line(picture, label, ssim, oracle=True, perception="linear"):
    of = Interval(ssim, ssim - 0.02, ssim + 0.02)
    at = dict.fromkeys(STEPS, of)
    return paper.Line(picture, label, perception, oracle, True, 10, 0, at, *[of] * 6)


def difference(picture, value, half, p, one="rvae"):
    between = Interval(value, value - half, value + half)
    return paper.Difference(picture, True, "over_chance", one, "linear", between, p)


class TestVerdicts:
    """Sentences follow from the numbers alone."""

    def test_the_published_curve_is_near_or_not(self):
        near, far = (
            verdicts([line("nio", "linear", v)], [])["The published curve"] for v in (0.84, 0.5)
        )
        assert "0.84 (0.77) at step 10 and 0.84 (0.93) at step 30" in near[0]
        assert "; within 0.1" in near[0]
        assert "; not within 0.1" in far[0]

    def test_a_workflow_works_or_does_not(self):
        said = verdicts([line("nio", "a", 0.9), line("simulated-nio", "b", 0.5)], [])
        sentences = said["Large, well-defined features: do all workflows work?"]
        assert sentences[0] == "Of 2 works: 1, does not work: 1."
        assert "a on nio works" in sentences[1]
        assert "b on simulated-nio does not work" in sentences[2]

    @pytest.mark.parametrize(
        ("picture", "value", "half", "p", "verdict"),
        [
            ("simulated-nio", 0.1, 0.05, 0.01, "The claim: does not hold."),
            ("simulated-nio", 0.0, 0.04, 0.9, "The claim: holds."),
            ("simulated-nio", 0.0, 0.2, 0.9, "The claim: undecided."),
            ("simulated-nio", -0.1, 0.05, 0.01, "The claim: holds."),
            ("simulated-graphene", 0.1, 0.05, 0.01, "The claim: holds."),
            ("simulated-graphene", 0.1, 0.05, 0.2, "The claim: undecided."),
            ("simulated-graphene", 0.0, 0.04, 0.9, "The claim: does not hold."),
            ("simulated-bfo", -0.1, 0.05, 0.01, "The claim: does not hold."),
        ],
    )
    def test_complexity_buys_something_or_does_not(self, picture, value, half, p, verdict):
        lines = [line(picture, "linear", 0.9), line(picture, "rvae", 0.9, perception="rvae")]
        said = verdicts(lines, [difference(picture, value, half, p)])
        assert any(s.endswith(verdict) for of in said.values() for s in of)

    def test_differences_are_paired_and_ten_seeds_can_tell_them(self, tmp_path):
        """With all the workflows of the suite that the package holds."""
        suite = load_suite("paper")
        results = Results(tmp_path / "pairs", suite)
        better = {"rvae": 0.05, "dcnn": 0.1}
        for job in suite.jobs():
            perception = job.agent["name"].removesuffix("-paper")
            score = 0.1 * job.specimen + better.get(perception, 0.0)
            record = {
                "job": asdict(job),
                "ended": "all batches were taken",
                "failed": False,
                "scores": {"over_chance": score, "shown_over_chance": score},
                "trace": {**asdict(protocol.Trace())},
            }
            results.keep(job.key, record)
        found = paper.differences(results, paper.runs_of(results))
        assert {d.other for d in found} == {"linear", "linear online"}
        assert len({d.picture for d in found}) == 3
        for d in found:
            expected = better.get(d.one.removesuffix(" online"), 0.0)
            assert d.value.value == pytest.approx(expected)
            assert d.value.low == pytest.approx(expected), "specimens are the same"
            assert d.real == (expected > 0)


def test_feature_pixels_are_those_above_otsus_threshold():
    truth = np.zeros(SIDE**2)
    truth[:100] = 1.0
    assert features_by_otsu(truth).sum() == 100
    assert not features_by_otsu(np.zeros(SIDE**2)).any()


def test_a_workflow_has_one_colour_and_each_line_looks_its_own_way():
    settings = {label_of(a): Setting.of(a) for a in load_suite("paper").agents}
    drawn = lines_of(settings)
    assert len(set(drawn.values())) == len(settings)
    for label, (colour, dashes) in drawn.items():
        if label.endswith(" online"):
            assert (colour, dashes) == (drawn[label.removesuffix(" online")][0], "--")
