"""What the page's plots make of what they are shown, without any browser."""

from __future__ import annotations

from html import escape

import numpy as np
import pytest

pytest.importorskip("panel")

from stemscout.agents.agent import ClassMap, Explanation, Manifold
from stemscout.views import style
from stemscout.views.console import plots, telling, widgets
from stemscout.views.console.frame import LatestFrame, Neighbours, class_colours, nearest
from stemscout.views.console.latent import LatentPlane, corners_of, tiled
from stemscout.views.console.plots import DOSE, NO_LAYER, Marks, SpecimenMap


def explained(descriptors, **more):
    of = np.asarray(descriptors, dtype=np.float64)
    names = tuple(f"latent {k}" for k in range(of.shape[1]))
    told = {"frames": tuple(range(len(of))), **more}
    return Explanation("", names=names, descriptors=of, **told)


def contrast(one, other):
    """Of two colours, as the Web Content Accessibility Guidelines have it."""
    light = []
    for colour in (one, other):
        values = [int(colour[k : k + 2], 16) / 255 for k in (1, 3, 5)]
        linear = [v / 12.92 if v <= 0.04045 else ((v + 0.055) / 1.055) ** 2.4 for v in values]
        light.append(np.dot(linear, [0.2126, 0.7152, 0.0722]) + 0.05)
    return max(light) / min(light)


class TestColours:
    @pytest.mark.parametrize("ink", [plots.INK, plots.DIM, plots.BRIGHT])
    def test_text_can_be_read(self, ink):
        assert contrast(ink, plots.PAPER) >= 4.5

    def test_text_on_buttons_can_be_read(self):
        assert contrast(plots.INK, "#2a313b") >= 4.5
        assert contrast("#ffffff", "#0072b2") >= 4.5
        assert contrast("#ffffff", "#c8102e") >= 4.5
        assert all(c in widgets.WIDGET for c in ("#2a313b", "#0072b2"))
        assert "#c8102e" in widgets.STOP

    def test_lines_and_borders_stand_out(self):
        assert contrast(plots.LINE, plots.PAPER) >= 3.0

    def test_a_class_has_one_mark_all_over_the_page(self):
        marks = Marks(["wall", "vacancy"])
        assert marks.of("vacancy") == (style.CLASS_COLOURS[1], "circle")
        assert marks.of("unheard of") == (style.CLASS_COLOURS[2], "circle")
        assert marks.of("wall") == (style.CLASS_COLOURS[0], "circle")


def test_a_layer_has_a_scale_of_its_colours(sessions):
    session = sessions()
    session.start()
    assert session.wait(30)
    of = SpecimenMap(session, Marks(), lambda place: None, lambda box: None)
    of.update(session.shown(), DOSE)
    assert escape(DOSE) in of.scale
    (values,) = of.layer.data["image"]
    dose = session.dose()
    assert np.array_equal(values == 0, dose == 0)  # nothing is drawn where nothing was put
    assert f"{dose.max():.3g}" in of.scale
    assert values.max() == 255
    of.update(session.shown(), NO_LAYER)
    assert of.scale == ""


class TestNeighbours:
    def test_they_are_those_nearest_to_the_latest_in_the_units_of_each_descriptor(self):
        of = [[0, 0], [1, 500], [1.1, 0], [5, 0], [1, 10]]
        assert nearest(explained(of), 2) == (4, [2, 0])

    def test_numbers_are_those_of_frames_that_were_described(self):
        of = [[0.0, 0.0], [np.nan, np.nan], [1.0, 1.0], [0.9, 1.0]]
        assert nearest(explained(of, frames=(3, 4, 7, 9))) == (9, [7, 3])

    def test_of_one_frame_there_are_none(self):
        assert nearest(explained([[1.0, 2.0]])) == (None, [])
        assert nearest(Explanation("")) == (None, [])

    def test_they_are_small_and_have_their_numbers_for_people(self):
        shown = Neighbours()
        shown.update(explained([[0.0], [2.0], [1.9]]), lambda k: np.full((256, 256), k, np.float32))
        assert shown.title.data["text"] == ["Most like frame 3 by descriptors"]
        assert shown.pictures.data["name"] == ["2", "1"]
        assert shown.pictures.data["image"][0].shape == (64, 64)


class TestLatestFrame:
    def test_claims_and_classes_are_over_it_as_it_is_wanted(self, sessions):
        session = sessions("dcnn-bo")
        session.start()
        assert session.wait(60)
        shown = session.shown()
        display = session.experiment.env.episode.display(shown.latest.frame)
        made = LatestFrame(Marks())
        made.update(shown, display)
        assert made.classes.data["image"] == []
        made.update(shown, display, findings=False, segmentation=True)
        (values,) = made.classes.data["image"]
        assert values is shown.segmented.values
        assert "</span> <span" in made.legend
        assert ">C</span>" in made.legend
        assert len(made.claims.data["x"]) == 0

    def test_columns_have_colours_areas_greys_and_features_are_white(self):
        kinds = ("column", "column", "feature", "feature", "area")
        told = ClassMap(("C", "Si", "a", "b", "film"), kinds, np.zeros((2, 2), np.uint8))
        assert class_colours(told)[:4] == [*style.CLASS_COLOURS[:2], "#ffffff", "#ffffff"]

    def test_an_agent_without_a_network_says_so(self, sessions):
        session = sessions("random")
        session.start()
        assert session.wait(30)
        shown = session.shown()
        made = LatestFrame(Marks())
        display = session.experiment.env.episode.display(shown.latest.frame)
        made.update(shown, display, segmentation=True)
        assert "no network" in made.legend


class TestLatentPlane:
    def test_what_is_drawn_with_a_lasso_or_a_box_has_corners(self):
        lasso = {"type": "poly", "x": [0, 1, 2], "y": [3, 4, 5]}
        assert corners_of(lasso) == [[0, 3], [1, 4], [2, 5]]
        box = {"type": "rect", "x0": 0, "x1": 1, "y0": 2, "y1": 3}
        assert corners_of(box) == [[0, 2], [0, 3], [1, 3], [1, 2]]
        assert corners_of({"type": "poly", "x": [0, 1], "y": [3, 4]}) is None
        assert corners_of({"type": "span"}) is None

    def test_pictures_lie_upright_where_they_belong(self):
        pictures = np.zeros((2, 3, 4, 4))
        pictures[0, 2, 0, 1] = 1.0  # the first row of the second descriptor; its upper edge
        (row,), (column,) = np.nonzero(tiled(pictures) > 200)
        assert (row, column) == (3, 9)

    def test_the_star_is_where_the_target_is_and_the_picture_under_it_has_a_frame(self):
        manifold = Manifold(np.zeros((2, 2, 4, 4)), np.array([-1.0, 1.0]), np.array([0.0, 4.0]))
        plane = LatentPlane(lambda corners: None, lambda point: None)
        told = explained([[0, 0], [1, 1]], manifold=manifold, target={"point": [3.0, 0.5]})
        plane.update(told)
        assert plane.star.data == {"x": [3.0], "y": [0.5]}
        assert {k: list(v) for k, v in plane.cell.data.items()} == {
            "left": [2.0], "right": [6.0], "bottom": [0.0], "top": [2.0]
        }  # fmt: skip
        plane.update(explained([[0, 0], [1, 1]], target="variation"))
        assert plane.star.data == {"x": [], "y": []}
        assert len(plane.cells.data["left"]) == 0

    def test_a_star_that_a_person_moves_stays_until_the_target_changes(self):
        plane = LatentPlane(lambda corners: None, lambda point: None)
        plane.update(explained([[0, 0], [1, 1]], target="variation"))
        plane.mark((1.0, 0.0))
        plane.update(explained([[0, 0], [1, 1]], target="variation"))
        assert plane.star.data == {"x": [1.0], "y": [0.0]}
        plane.update(explained([[0, 0], [1, 1]], target=2))
        assert plane.point is None

    def test_it_follows_the_frames_until_a_person_zooms(self):
        plane = LatentPlane(lambda corners: None, lambda point: None)
        plane.update(explained([[0, 0], [1, 1]]))
        assert plane.plot.x_range.end == pytest.approx(1.12)
        plane.update(explained([[0, 0], [1.1, 1]]))  # still in it
        assert plane.plot.x_range.end == pytest.approx(1.12)
        plane.update(explained([[0, 0], [2, 1]]))
        assert plane.plot.x_range.end == pytest.approx(2.24)
        plane.plot.x_range.end = 5.0
        plane.update(explained([[0, 0], [3, 1]]))
        assert plane.plot.x_range.end == 5.0


@pytest.mark.parametrize(
    ("plain", "words"),
    [
        ("variation", "variation"),
        (2, "component 2"),
        ({"point": [0.12345, -2]}, "the point (0.123, -2)"),
        ({"region": [[0, 0], [0, 1], [1, 1]]}, "a region of 3 corners"),
        ({"direction": [1, 0]}, '{"direction": [1, 0]}'),
    ],
)
def test_targets_in_words(plain, words):
    assert telling.target(plain) == words
