"""World files: exact, whole or not there, and never trusted when damaged."""

from __future__ import annotations

import errno
import json
import pickle
import zipfile
from dataclasses import fields, is_dataclass
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stemscout.simulators import files
from stemscout.simulators.specimens import FeatureClass, Kind, Map, Outline, Specimen

TEXT = st.text(max_size=12)
FLOATS = st.floats(allow_nan=False, allow_infinity=False, width=64)
SIZES = st.floats(0.01, 50.0)
CLASSES = {
    "point": st.builds(FeatureClass, TEXT, SIZES, SIZES, SIZES, SIZES),
    "extended": st.builds(
        FeatureClass, TEXT, SIZES, SIZES, SIZES, SIZES, st.sampled_from(("segment", "cell")), SIZES
    ),
}
KINDS = st.builds(
    Kind,
    TEXT,
    st.lists(st.tuples(st.sampled_from(("C", "O", "Fe")), FLOATS), min_size=1, max_size=3).map(
        tuple
    ),
    SIZES,
    st.sampled_from(("", "Sr")),
)


@st.composite
def specimens(draw) -> Specimen:
    """Any specimen that the types allow, physical or not."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    kinds = draw(st.lists(KINDS, min_size=1, max_size=4))
    classes = draw(st.lists(st.one_of(*CLASSES.values()), min_size=1, max_size=3))
    paths = draw(st.lists(st.tuples(st.integers(1, 6), st.booleans(), TEXT), max_size=4))
    maps = draw(st.dictionaries(TEXT, st.tuples(st.booleans(), SIZES, TEXT), max_size=3))
    n, m = draw(st.integers(0, 40)), draw(st.integers(0, 10))
    which = draw(st.booleans())

    def numbers(*shape: int) -> np.ndarray:
        return rng.standard_normal(shape) * 10.0 ** rng.integers(-12, 12, shape)

    return Specimen(
        name=draw(TEXT),
        seed=tuple(draw(st.lists(st.integers(0, 2**128), min_size=1, max_size=4))),
        difficulty=draw(st.sampled_from(("easy", "medium", "hard"))),
        field_yx_nm=(draw(SIZES), draw(SIZES)),
        positions_yx_nm=numbers(n, 2),
        height_nm=numbers(n),
        kind=rng.integers(0, len(kinds), n),
        kinds=tuple(kinds),
        classes=tuple(classes),
        feature_class=rng.integers(0, len(classes), m),
        feature_yx_nm=numbers(m, 2),
        thickness_nm=draw(SIZES),
        share=rng.random(n) if which else np.empty(0),
        stretch=np.empty(0) if which else numbers(n),
        sway_yxz_nm=numbers(n, 3) if which else np.empty(0),
        displacement_yx_nm=np.empty(0) if which else numbers(n, 2),
        film_nm=draw(SIZES),
        feature_angle_rad=numbers(m),
        feature_outline=rng.integers(-1, len(paths), m),
        outlines=tuple(Outline(0, numbers(k, 2), closed, note) for k, closed, note in paths),
        maps={
            name: Map(numbers(3, 4, 2) if vectors else numbers(5, 2), pitch, unit)
            for name, (vectors, pitch, unit) in maps.items()
        },
    )


def assert_same(a: object, b: object) -> None:
    """Equal to the last bit, types and order included."""
    assert type(a) is type(b)
    if isinstance(a, np.ndarray):
        assert a.dtype == b.dtype
        assert a.shape == b.shape
        assert np.array_equal(a, b, equal_nan=a.dtype.kind == "f")
    elif is_dataclass(a):
        for f in fields(a):
            assert_same(getattr(a, f.name), getattr(b, f.name))
    elif isinstance(a, dict):
        assert list(a) == list(b)
        for key in a:
            assert_same(a[key], b[key])
    elif isinstance(a, tuple):
        assert len(a) == len(b)
        for one, other in zip(a, b, strict=True):
            assert_same(one, other)
    else:
        assert a == b


@pytest.fixture
def packed():
    """Header and arrays of a small specimen."""
    specimen = Specimen(
        name="test",
        seed=(1, 2),
        difficulty="easy",
        field_yx_nm=(4.0, 5.0),
        positions_yx_nm=np.arange(40.0).reshape(20, 2) / 7,
        height_nm=np.zeros(20),
        kind=np.arange(20) % 2,
        kinds=(Kind.atom("C"), Kind("Si", (("Si", 0.05),))),
        classes=(FeatureClass("hole", 0.3, 0.1, 0.1, 1e4),),
        feature_class=np.zeros(3, dtype=np.int64),
        feature_yx_nm=np.ones((3, 2)),
        outlines=(Outline(0, np.ones((2, 2)), False, "wall"),),
    )
    return files.pack_specimen(specimen)


class TestSpecimens:
    @settings(max_examples=20, deadline=None)
    @given(specimens())
    def test_come_back_exactly(self, tmp_path_factory, specimen):
        path = tmp_path_factory.mktemp("world") / "w.npz"
        files.save(path, *files.pack_specimen(specimen))
        assert_same(files.unpack_specimen(*files.load(path)), specimen)

    def test_small_integers_are_kept_small(self, packed):
        header, arrays = packed
        assert arrays["kind"].dtype == np.uint8
        assert arrays["positions_yx_nm"].dtype == np.float64
        json.dumps(header)

    @pytest.mark.parametrize("name", ["positions_yx_nm", "kind", "outlines_yx_nm"])
    def test_a_missing_array_is_named(self, packed, name):
        header, arrays = packed
        del arrays[name]
        with pytest.raises(ValueError, match=f"incomplete: it lacks '{name}'"):
            files.unpack_specimen(header, arrays)

    def test_a_missing_entry_is_named(self, packed):
        header, arrays = packed
        del header["kinds"][0]["stack"]
        with pytest.raises(ValueError, match="incomplete: it lacks 'stack'"):
            files.unpack_specimen(header, arrays)

    @pytest.mark.parametrize(
        ("name", "array", "sentence"),
        [
            ("positions_yx_nm", np.zeros((20, 2), np.float32), "it must be float64"),
            ("height_nm", np.zeros(19), r"must be float64 \(20,\)"),
            ("feature_yx_nm", np.zeros((4, 2)), r"must be float64 \(3, 2\)"),
            ("feature_angle_rad", np.zeros(2), r"must be float64 \(3,\)"),
            ("outlines_yx_nm", np.zeros((3, 2)), r"must be float64 \(2, 2\)"),
            ("kind", np.zeros(20), "it must be int"),
            ("kind", np.full(20, 2, np.uint8), "reaches from 2 to 2 of 2"),
            ("feature_outline", np.full(3, 1), "reaches from 1 to 1 of 1"),
        ],
    )
    def test_arrays_that_do_not_fit_are_refused(self, packed, name, array, sentence):
        header, arrays = packed
        with pytest.raises(ValueError, match=sentence):
            files.unpack_specimen(header, {**arrays, name: array})


class TestSaving:
    def test_nothing_is_overwritten_unless_asked(self, packed, tmp_path):
        path = tmp_path / "w.npz"
        files.save(path, {"n": 1}, {})
        with pytest.raises(FileExistsError, match="nothing is overwritten"):
            files.save(path, *packed)
        assert files.load(path) == ({"n": 1}, {})
        files.save(path, {"n": 2}, {}, replace=True)
        assert files.load(path) == ({"n": 2}, {})
        assert list(tmp_path.iterdir()) == [path]

    def test_a_file_that_appears_meanwhile_stays(self, packed, tmp_path, monkeypatch):
        path = tmp_path / "w.npz"
        monkeypatch.setattr(files, "flush", lambda _: path.write_text("another's"))
        with pytest.raises(FileExistsError, match="nothing is overwritten"):
            files.save(path, *packed)
        assert path.read_text() == "another's"
        assert list(tmp_path.iterdir()) == [path]

    def test_where_there_are_no_links(self, packed, tmp_path, monkeypatch):
        def link(*_):
            raise OSError(errno.EPERM, "Operation not permitted")

        monkeypatch.setattr(files.os, "link", link)
        path = tmp_path / "w.npz"
        files.save(path, *packed)
        assert files.load(path)[0]["name"] == "test"
        with pytest.raises(FileExistsError):
            files.save(path, *packed)
        assert list(tmp_path.iterdir()) == [path]

    @pytest.mark.parametrize("code", [errno.ENOSPC, errno.EDQUOT, errno.EFBIG])
    def test_a_full_disk_leaves_nothing_and_says_so(self, tmp_path, monkeypatch, code):
        def write(handle, **_):
            handle.write(b"a part")
            raise OSError(code, "of the system")

        monkeypatch.setattr(np, "savez_compressed", write)
        with pytest.raises(OSError, match=r"^no room for .*w.npz: it needs up to 8 MB") as caught:
            files.save(tmp_path / "w.npz", {}, {"a": np.zeros(1_000_000)})
        assert caught.value.errno == code
        assert not list(tmp_path.iterdir())

    def test_a_missing_folder(self, tmp_path):
        with pytest.raises(FileNotFoundError, match=r"no folder .*make it first"):
            files.save(tmp_path / "none" / "w.npz", {}, {})

    @pytest.mark.parametrize("name", ["header", "../up", "a b", ""])
    def test_odd_names_are_refused(self, tmp_path, name):
        with pytest.raises(ValueError, match="an array named"):
            files.save(tmp_path / "w.npz", {}, {name: np.zeros(2)})

    def test_objects_are_refused(self, tmp_path):
        with pytest.raises(ValueError, match="holds objects"):
            files.save(tmp_path / "w.npz", {}, {"a": np.array([{}])})
        assert not list(tmp_path.iterdir())


class TestLoading:
    """What is not a whole world file is a ValueError of one sentence."""

    @pytest.fixture
    def path(self, packed, tmp_path) -> Path:
        files.save(tmp_path / "w.npz", *packed)
        return tmp_path / "w.npz"

    def refused(self, path: Path) -> None:
        with pytest.raises(ValueError, match="is not a readable world: "):
            files.load(path)

    def test_no_file(self, tmp_path):
        with pytest.raises(FileNotFoundError, match="no world file at"):
            files.load(tmp_path / "none.npz")

    def test_cut_short_anywhere(self, path):
        whole = path.read_bytes()
        for size in np.linspace(0, len(whole) - 1, 40).astype(int):
            path.write_bytes(whole[:size])
            self.refused(path)

    def test_a_flipped_byte_never_changes_what_is_read(self, path):
        """Where it lies in what zip does not need, the same world is read."""
        whole, rng = path.read_bytes(), np.random.default_rng(0)
        header, arrays = files.load(path)
        for position in rng.integers(0, len(whole), 300):
            damaged = bytearray(whole)
            damaged[position] ^= 1 << int(rng.integers(8))
            path.write_bytes(damaged)
            try:
                again, others = files.load(path)
            except ValueError as error:
                assert "is not a readable world" in str(error)  # noqa: PT017  it may be readable
                continue
            assert again == header
            assert_same(others, arrays)

    def test_other_files(self, path):
        for content in (b"", b"text", pickle.dumps({"header": 1})):
            path.write_bytes(content)
            self.refused(path)
        np.save(path.with_suffix(".npy"), np.zeros(3))
        self.refused(path.with_suffix(".npy"))
        np.savez(path, a=np.zeros(3))
        self.refused(path)

    def test_a_header_that_is_no_table(self, path):
        for text in ("[]", '{"header": [], "arrays": {}}', '{"header": {}}', "{"):
            np.savez(path, header=np.frombuffer(text.encode(), np.uint8))
            self.refused(path)

    def test_a_member_that_is_missing(self, path):
        with zipfile.ZipFile(path) as old:
            members = {name: old.read(name) for name in old.namelist()}
        with zipfile.ZipFile(path, "w") as new:
            for name, content in members.items():
                if name != "kind.npy":
                    new.writestr(name, content)
        self.refused(path)

    def test_nothing_is_unpickled(self, path):
        np.savez(path, header=np.array([{"header": {}, "arrays": {}}], dtype=object))
        self.refused(path)
