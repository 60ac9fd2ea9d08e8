"""A labels file makes ground truth of what a person saw in an image."""

from __future__ import annotations

import json
import textwrap

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stemscout.agents.catalogue import make_agent
from stemscout.agents.experiment import Experiment
from stemscout.benchmarks.scores import seen_curve
from stemscout.envs import labels as module
from stemscout.envs import seen, testing
from stemscout.envs.labels import Image, read_labels
from stemscout.envs.registration import make_env
from stemscout.hardware import ScanRegion, ScanRequest
from stemscout.simulators.exposure import Exposure

PIXEL = 0.05
IMAGE = Image((288, 320), PIXEL, 18 * PIXEL, 1000.0)  # as of the synthetic micrograph
DOPANT = {"name": "dopant"}
WALL = {"name": "wall", "shape": "segment"}
PILLAR = {"name": "pillar", "shape": "cell"}
LABELS = {
    "unit": "px",
    "classes": [DOPANT, {**WALL, "size": 12}, PILLAR],
    "features": [
        {"class": "dopant", "position": [120.5, 88]},
        {"class": "dopant", "position": [40, 300]},
        {"class": "wall", "polyline": [[0, 200], [140, 210], [280, 190]]},
        {"class": "pillar", "polygon": [[30, 30], [30, 70], [80, 70], [80, 30]]},
    ],
}


def labelled(*features, classes=(DOPANT, WALL, PILLAR), unit="px"):
    return {"unit": unit, "classes": list(classes), "features": list(features)}


def dopant(y, x):
    return {"class": "dopant", "position": [y, x]}


def frames_on(yx_nm, env):
    """Actions (n, 2): the frames about places, or as near as the border allows."""
    half = np.asarray(env.source.reference.half_range_yx_nm(env.source.field_yx_nm))
    return np.clip(yx_nm / half, -1.0, 1.0)


def read(*features, **more):
    return read_labels(labelled(*features, **more), IMAGE)


class TestWhatTheFileSays:
    def test_the_example_in_the_manual_is_one(self):
        text = module.__doc__.split("content:\n\n", 1)[1].split("\n\n``unit``", 1)[0]
        specimen = read_labels(json.loads(textwrap.dedent(text)), IMAGE)
        assert specimen.class_names == ("dopant", "wall", "pillar")
        assert set(specimen.feature_class) == {0, 1, 2}

    def test_positions_in_pixels_are_the_indices_of_the_array(self, recorded, lattice_image):
        env = recorded(labels=labelled(dopant(57, 203)))
        env.reset(seed=0)
        (at,) = env.truth.feature_yx_nm
        request = ScanRequest(tuple(at), (19 * PIXEL,) * 2, (19, 19), 10.0, 0.0, ("recorded",))
        frame = env.episode.microscope.acquire(request)
        assert np.array_equal(frame.image, lattice_image[48:67, 194:213])

    def test_positions_and_lengths_in_nm_are_those_times_the_pixel(self):
        pixels = read(dopant(57, 203), classes=[{**DOPANT, "context_radius": 4, "tolerance": 2}])
        nm = read(
            dopant(57 * PIXEL, 203 * PIXEL),
            classes=[{**DOPANT, "context_radius": 4 * PIXEL, "tolerance": 2 * PIXEL}],
            unit="nm",
        )
        assert nm.feature_yx_nm == pytest.approx(pixels.feature_yx_nm)
        assert nm.classes[0].context_radius_nm == pytest.approx(0.2)
        assert nm.classes[0].tolerance_nm == pytest.approx(0.1)

    def test_what_a_class_leaves_out_follows_from_the_reference_frame(self):
        point, wall, pillar = read(dopant(50, 50)).classes
        assert point.shape == "point"
        assert point.size_nm == 0.0
        for c in (point, wall, pillar):
            assert c.context_radius_nm == pytest.approx(18 * PIXEL / 3)
            assert c.tolerance_nm == pytest.approx(18 * PIXEL / 6)
            assert c.max_pixel_nm == PIXEL
            assert c.need_e_per_a2 == 1000.0
        assert wall.size_nm == pillar.size_nm == pytest.approx(9 * PIXEL)

    def test_a_polyline_is_cut_into_segments(self):
        wall = {"class": "wall", "polyline": [[100, 50], [100, 140], [190, 140]]}
        specimen = read(wall, classes=[{**WALL, "size": 9}])
        assert len(specimen.feature_yx_nm) == 20
        across, down = specimen.feature_angle_rad[:10], specimen.feature_angle_rad[10:]
        assert across == pytest.approx(0.0), "along +x"
        assert down == pytest.approx(np.pi / 2), "towards +y, rows down"
        first = specimen.feature_yx_nm[0] / PIXEL + np.array([144, 160]) - 0.5
        assert first == pytest.approx([100, 54.5])
        assert specimen.feature_outline.tolist() == [0] * 20
        assert not specimen.outlines[0].closed

    def test_a_polyline_that_ends_in_its_first_point_is_closed(self):
        ring = [[100, 100], [100, 130], [130, 130], [130, 100], [100, 100]]
        specimen = read(dopant(50, 50), {"class": "wall", "polyline": ring}, classes=[DOPANT, WALL])
        assert specimen.outlines[0].closed
        assert len(specimen.outlines[0].path_yx_nm) == 4
        assert specimen.feature_outline.tolist() == [-1] + [0] * (len(specimen.feature_class) - 1)

    def test_a_polygon_is_cut_into_cells(self):
        square = {"class": "pillar", "polygon": [[90, 90], [90, 180], [180, 180], [180, 90]]}
        specimen = read(square, classes=[{**PILLAR, "size": 6}])
        assert len(specimen.feature_yx_nm) == pytest.approx(90 * 90 / 36, rel=0.1)
        index = specimen.feature_yx_nm / PIXEL + np.array([144, 160]) - 0.5
        assert (index > 90).all()
        assert (index < 180).all()

    def test_walls_may_reach_the_border_and_lose_what_nobody_can_see(self):
        wall = {"class": "wall", "polyline": [[-0.5, 160], [287.5, 160]]}
        specimen = read(wall)
        assert len(specimen.feature_class) == 30, "of 32, one at either end is left out"
        depth = IMAGE.field_yx_nm[0] / 2 - np.abs(specimen.feature_yx_nm[:, 0]).max()
        assert depth >= specimen.classes[0].context_radius_nm

    def test_cells_that_stick_out_are_left_out(self):
        """Of 15 px, on a lattice about the middle: 5 and 6 px of the outermost are outside."""
        corners = [[-0.5, -0.5], [-0.5, 319.5], [287.5, 319.5], [287.5, -0.5]]
        everything = {"class": "pillar", "polygon": corners}
        specimen = read(everything, classes=[{**PILLAR, "size": 15, "context_radius": 1}])
        assert len(specimen.feature_class) == 18 * 20

    @pytest.mark.parametrize("how", ["path", "text", "mapping"])
    def test_a_file_and_its_content_are_the_same(self, how, tmp_path):
        path = tmp_path / "labels.json"
        path.write_text("\ufeff" + json.dumps(LABELS), encoding="utf-8")  # some editors begin so
        given = {"path": path, "text": str(path), "mapping": LABELS}[how]
        specimen = read_labels(given, IMAGE)
        assert np.array_equal(specimen.feature_yx_nm, read_labels(LABELS, IMAGE).feature_yx_nm)


class TestScoredLikeAnyOther:
    def test_one_raster_sees_every_feature_and_rewards_add_up_to_one(self, recorded):
        env = recorded(labels=LABELS, budget=1.0)
        env.reset(seed=0)
        rewards, terminated = [], False
        for y, x in env.source.reference.lattice(env.source.field_yx_nm)[0]:
            request = env.source.reference.at((float(y), float(x)))
            _, reward, terminated, truncated, _ = env.step(env.actions.encode(request))
            rewards.append(reward)
            if terminated or truncated:
                break
        assert sum(rewards) == pytest.approx(1.0)
        assert terminated

    @given(y=st.floats(5.5, 281.5), x=st.floats(5.5, 313.5), turn=st.floats(-3.2, 3.2))
    def test_every_label_that_is_taken_can_be_seen(self, y, x, turn):
        """By one contiguous raster, wherever it is and however a wall runs through it."""
        way = np.array([np.sin(turn), np.cos(turn)])
        middle = np.clip([y, x], 20, [267, 299])
        wall = [(middle + side * 20 * way).tolist() for side in (-1, 1)]
        specimen = read(dopant(y, x), {"class": "wall", "polyline": wall})
        frames = [
            Exposure(ScanRegion((cy, cx), (0.9, 0.9)), (0.0, 0.0), PIXEL, 1000.0)
            for cy in np.arange(-6.75, 6.8, 0.9)
            for cx in [*np.arange(-7.55, 7.0, 0.9), 7.55]
        ]
        assert seen.seen_after(seen.targets(specimen, 0.9), frames).all()

    def test_one_reading_of_a_pixel_suffices_and_a_coarse_one_does_not(self, recorded):
        env = recorded(labels=labelled(dopant(100, 100)), terminate_when_done=False)
        for pixels, fraction in ((18, 1.0), (9, 0.0)):
            env.reset(seed=0)
            at = tuple(env.truth.feature_yx_nm[0])
            request = ScanRequest(at, (0.9, 0.9), (pixels, pixels), 10.0, 0.0, ("recorded",))
            env.episode.take(request)
            assert env.episode.task.fraction == fraction

    @pytest.mark.parametrize("check", testing.CHECKS, ids=lambda c: c.__name__)
    def test_labelled_recordings_keep_every_promise(self, check, recorded):
        check(lambda **more: recorded(labels=LABELS, **more))

    @pytest.mark.parametrize("task", ["classes", "follow", "target"])
    def test_every_task_but_map(self, task, recorded):
        def make(**more):
            return recorded(labels=LABELS, task=task, budget=1.0, **more)

        testing.check_rewards(make)
        env = make()
        env.reset(seed=0)
        total = 0.0
        for action in frames_on(env.truth.feature_yx_nm, env):
            _, reward, terminated, *_ = env.step(action)
            total += reward
            if terminated:
                break
        assert total == pytest.approx(1.0)
        assert terminated

    def test_target_is_a_feature_of_the_rarest_class(self, recorded):
        env = recorded(labels=LABELS, task="target")
        env.reset(seed=0)
        assert env.truth.class_names[env.truth.feature_class[0]] == "dopant"
        pillars = env.truth.feature_yx_nm[env.truth.feature_class == 2]
        assert env.step(frames_on(pillars, env)[0])[1] == 0.0
        assert env.step(frames_on(env.truth.feature_yx_nm, env)[0])[1] == 1.0

    def test_map_is_refused(self, recorded):
        with pytest.raises(ValueError, match="needs a map of the specimen, and labels hold none"):
            recorded(labels=LABELS, task="map")

    def test_points_alone_cannot_be_followed(self, recorded):
        with pytest.raises(ValueError, match="these labels hold only points"):
            recorded(labels=labelled(dopant(50, 50)), task="follow")

    def test_discover_is_the_default_with_labels_and_explore_without(self, recorded):
        assert recorded(labels=LABELS).task == "discover"
        assert recorded().task == "explore"
        explored = recorded(labels=LABELS, task="explore")
        explored.reset(seed=0)
        assert explored.truth is not None
        assert {explored.step(explored.action_space.sample())[1] for _ in range(20)} == {0.0}

    def test_the_oracle_and_the_scores_work_on_it(self, recorded):
        recall = {}
        for name in ("oracle", "random"):
            env = recorded(labels=LABELS, budget=0.1, terminate_when_done=False)
            Experiment(env, make_agent(name), seed=0).run()
            curve = seen_curve(env.episode, env.truth)
            assert curve.recall[-1] == pytest.approx(env.episode.task.fraction)
            recall[name] = curve.recall[-1]
        # Its plan does not know that frames snap to the image's pixels, which may cost a segment.
        assert recall["oracle"] > 0.95
        assert recall["random"] < 0.5

    def test_agents_are_told_classes_and_tolerances_and_no_truth(self, recorded):
        env = recorded(labels=LABELS)
        env.reset(seed=0)
        context = Experiment(env, make_agent("random")).context()
        assert context.class_names == ("dopant", "wall", "pillar")
        assert context.tolerances_nm == pytest.approx((0.15, 0.15, 0.15))
        assert context.truth is None

    def test_labels_stand_in_the_record_of_a_run(self, recorded, tmp_path):
        path = tmp_path / "labels.json"
        path.write_text(json.dumps(LABELS))
        told = json.loads(json.dumps(recorded(labels=path).source.settings))["labels"]
        assert told["path"] == str(path)
        assert told["classes"] == ["dopant", "wall", "pillar"]
        other = recorded(labels=labelled(dopant(50, 51))).source.settings["labels"]
        assert other["sha256"] != told["sha256"]
        assert other["path"] is None
        assert recorded().source.settings["labels"] is None


NAN = float("nan")
BAD = {
    "another unit": ({**LABELS, "unit": "um"}, "unit is 'um'; it must be one of: px, nm"),
    "no unit": ({"classes": [], "features": []}, "the labels: 'unit' is missing"),
    "unknown key": ({**LABELS, "pixel": 1}, "unknown key 'pixel'; there are: unit, classes"),
    "no object": ([LABELS], "the labels: it must be an object with unit, classes, features"),
    "classes are no list": ({**LABELS, "classes": {}}, "classes is {}; it must be a list"),
    "no feature": (labelled(), "there is no feature"),
    "a class without name": (
        labelled(dopant(50, 50), classes=[{}]),
        r"classes\[0\]: 'name' is missing",
    ),
    "an empty name": (labelled(dopant(50, 50), classes=[{"name": " "}]), "it must be some text"),
    "unknown key of a class": (
        labelled(dopant(50, 50), classes=[{**DOPANT, "radius": 3}]),
        r"classes\[0\]: unknown key 'radius'; there are: name, shape, context_radius",
    ),
    "a name twice": (labelled(dopant(50, 50), classes=[DOPANT, DOPANT]), "'dopant' stands twice"),
    "unknown shape": (
        labelled(dopant(50, 50), classes=[{**DOPANT, "shape": "disc"}]),
        r"\(dopant\): unknown shape 'disc'; there are: point, segment, cell",
    ),
    "a radius too large": (
        labelled(dopant(50, 50), classes=[{**DOPANT, "context_radius": 6.1}]),
        "context_radius is 6.1 px; it must be above 0 and at most 6 px",
    ),
    "a radius of 0": (
        labelled(dopant(50, 50), classes=[{**DOPANT, "context_radius": 0}]),
        "context_radius is 0 px",
    ),
    "a radius that is NaN": (
        labelled(dopant(50, 50), classes=[{**DOPANT, "context_radius": NAN}]),
        "context_radius: nan is not a finite number",
    ),
    "a tolerance too large": (
        labelled(dopant(50, 50), classes=[{**DOPANT, "tolerance": 7}]),
        "tolerance is 7 px; it must be above 0 and at most 6 px",
    ),
    "a point with a size": (
        labelled(dopant(50, 50), classes=[{**DOPANT, "size": 3}]),
        "a point has no size",
    ),
    "a size too small": (
        labelled(dopant(50, 50), classes=[DOPANT, {**WALL, "size": 1}]),
        "size is 1 px; it must be at least 1.8 px and at most 18 px",
    ),
    "a size too large": (
        labelled(dopant(50, 50), classes=[DOPANT, {**WALL, "size": 19}]),
        "size is 19 px",
    ),
    "unknown class": (
        labelled({"class": "vacancy", "position": [50, 50]}),
        r"features\[0\]: unknown class 'vacancy'; there are: dopant, wall, pillar",
    ),
    "unknown key of a feature": (
        labelled({**dopant(50, 50), "size": 3}),
        r"features\[0\]: unknown key 'size'",
    ),
    "a point drawn as a wall": (
        labelled({"class": "dopant", "polyline": [[50, 50], [60, 60]]}),
        "a point is given by its 'position' alone, and this one by polyline",
    ),
    "a wall without a course": (
        labelled({"class": "wall"}),
        "a segment is given by its 'polyline' alone, and this one by nothing",
    ),
    "outside": (
        labelled(dopant(50, 50), dopant(288, 10)),
        r"features\[1\] \(dopant\): position is \(288, 10\) px, outside the image: y goes from "
        "-0.5 px to 287.5 px, x from -0.5 px to 319.5 px",
    ),
    "outside in nm": (labelled(dopant(15, 1), unit="nm"), r"\(15, 1\) nm, outside the image"),
    "near the border": (
        labelled(dopant(5.4, 50)),
        "nearer to the image's border than its context radius of 6 px",
    ),
    "a wall that leaves the image": (
        labelled({"class": "wall", "polyline": [[50, 50], [50, 400]]}),
        r"polyline\[1\] is \(50, 400\) px, outside",
    ),
    "a wall on the border": (
        labelled({"class": "wall", "polyline": [[0, 50], [0, 200]]}),
        "nothing of it lies a context radius of 6 px inside the image",
    ),
    "a wall of one point": (
        labelled({"class": "wall", "polyline": [[50, 50]]}),
        "has 1 points; it must have at least 2",
    ),
    "a wall of no length": (
        labelled({"class": "wall", "polyline": [[50, 50], [50, 50]]}),
        "is 0 px long and its segments 9 px",
    ),
    "an area of two corners": (
        labelled({"class": "pillar", "polygon": [[50, 50], [90, 90]]}),
        "it must have at least 3",
    ),
    "an area smaller than a cell": (
        labelled({"class": "pillar", "polygon": [[50, 50], [50, 51], [51, 50]]}),
        "holds the middle of no cell of 9 px",
    ),
    "a place that is NaN": (labelled(dopant(NAN, 50)), "position: nan is not a finite number"),
    "a place that is infinite": (labelled(dopant(50, 10**400)), "is not a finite number"),
    "a place that is text": (labelled(dopant("50", 50)), "position: '50' is not a number"),
    "a place that is true": (labelled(dopant(True, 50)), "position: True is not a number"),
    "a place of three numbers": (
        labelled({"class": "dopant", "position": [1, 2, 3]}),
        r"it must be a pair of numbers, \[y, x\]",
    ),
    "one place twice": (
        labelled(dopant(50, 50), dopant(90, 90), dopant(50.2, 50)),
        r"features\[2\] \(dopant\) is in the place of features\[0\] \(dopant\)",
    ),
    "areas that overlap": (
        labelled(
            {"class": "pillar", "polygon": [[50, 50], [50, 90], [90, 90], [90, 50]]},
            {"class": "pillar", "polygon": [[60, 60], [60, 120], [120, 120], [120, 60]]},
        ),
        r"features\[1\] \(pillar\) is in the place of features\[0\] \(pillar\)",
    ),
}


class TestBadLabels:
    @pytest.mark.parametrize(("labels", "sentence"), BAD.values(), ids=BAD)
    def test_each_is_refused_with_its_place(self, labels, sentence, tmp_path):
        path = tmp_path / "labels.json"
        path.write_text(json.dumps(labels))
        with pytest.raises(ValueError, match=sentence):
            read_labels(path, IMAGE)

    def test_when_the_environment_is_made(self, recorded, tmp_path):
        path = tmp_path / "labels.json"
        path.write_text(json.dumps(labelled(dopant(500, 50))))
        with pytest.raises(ValueError, match=r"labels\.json': features\[0\] .* outside the image"):
            recorded(labels=path)
        with pytest.raises(ValueError, match="labels are a path or a mapping, not list"):
            recorded(labels=[LABELS])

    @pytest.mark.parametrize(
        ("text", "sentence"),
        [
            ("{unit: px}", "labels.json' is not JSON"),
            ("", "labels.json' is not JSON"),
            ('{"unit": "px", "unit": "nm"}', "the key 'unit' stands twice"),
            ("[" * 100_000, "is not JSON"),
            ('{"unit": "px", "classes": [{"name": "dopant"}], "features": '
             '[{"class": "dopant", "position": [NaN, 50]}]}', "nan is not a finite number"),
        ],
        ids=["no JSON", "empty", "a key twice", "nested without end", "NaN"],
    )  # fmt: skip
    def test_in_files(self, text, sentence, tmp_path):
        path = tmp_path / "labels.json"
        path.write_text(text)
        with pytest.raises(ValueError, match=sentence):
            read_labels(path, IMAGE)

    def test_bytes_that_are_no_text(self, tmp_path):
        path = tmp_path / "labels.json"
        path.write_bytes(b"\xff\xfe\x00")
        with pytest.raises(ValueError, match="is not JSON"):
            read_labels(path, IMAGE)

    def test_a_missing_file(self, tmp_path, lattice_image):
        with pytest.raises(FileNotFoundError, match="no labels file at"):
            make_env(
                "StemScout/Recorded-v0",
                image=lattice_image,
                pixel_nm=PIXEL,
                labels=tmp_path / "none.json",
            )
