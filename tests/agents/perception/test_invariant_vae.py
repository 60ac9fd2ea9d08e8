"""A variational autoencoder whose content knows nothing of how a patch lies."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.ndimage import rotate
from sklearn.linear_model import LogisticRegression

from stemscout.agents.perception import array_files
from stemscout.agents.perception.invariant_vae import InvariantVAE
from stemscout.agents.perception.vae_training import (
    Cut,
    Training,
    load_weights,
    save_weights,
    train,
)

SIDE = 32
NOISE = 0.2
SYMMETRY = (3, 2, 1)  # of the motifs
MOTIFS = (  # atoms: how far out in px, at what angle in turns, how bright
    [(7.0, 0, 1.0), (7.0, 1 / 3, 1.0), (7.0, 2 / 3, 1.0), (0.0, 0, 0.8)],
    [(8.0, 0, 1.0), (8.0, 1 / 4, 0.6), (8.0, 1 / 2, 1.0), (8.0, 3 / 4, 0.6)],
    [(6.0, 0, 1.2), (6.0, 1 / 2, 0.6)],
)


def motif(kind, angle, shift=(0.0, 0.0), scale=1.0):
    """A picture of one of three small molecules, turned, then shifted by (y, x) px."""
    y, x = np.mgrid[:SIDE, :SIDE] - (SIDE - 1) / 2
    picture = np.zeros((SIDE, SIDE), np.float32)
    for out, turn, bright in MOTIFS[kind]:
        at = 2 * np.pi * turn + angle
        above = y - scale * out * np.sin(at) - shift[0]
        beside = x - scale * out * np.cos(at) - shift[1]
        picture += bright * np.exp(-(above**2 + beside**2) / (2 * (2.2 * scale) ** 2))
    return picture


def motifs(count, seed, shift_px=0.0, scale=0.0):
    """Noisy patches, their kinds and their angles."""
    rng = np.random.default_rng(seed)
    kinds, angles = rng.integers(0, 3, count), rng.uniform(0, 2 * np.pi, count)
    shifts, scales = shift_px * rng.normal(size=(count, 2)), np.exp(scale * rng.normal(size=count))
    clean = [motif(*of) for of in zip(kinds, angles, shifts, scales, strict=True)]
    patches = np.array(clean) + rng.normal(0, NOISE, (count, SIDE, SIDE))
    return patches.astype(np.float32), kinds, angles


@pytest.fixture(scope="module")
def network(one_thread):
    return train(motifs(1500, 0)[0], 200)


@pytest.fixture(scope="module")
def held_out():
    return motifs(300, 1)


def moved(network, before, after, held_out):
    """How far the content moves, as a share of its spread; both root mean square."""
    spread = network.content(held_out[0]).std(axis=0)
    apart = network.content(before) - network.content(after)
    return float(np.sqrt((apart**2).sum(axis=1).mean() / (spread**2).sum()))


@pytest.mark.parametrize("degrees", [17.0, 45.0, 90.0, 131.0, 200.0])
def test_turning_a_patch_does_not_move_its_content(network, held_out, degrees):
    patches = held_out[0][:100]
    turned = rotate(patches, degrees, axes=(1, 2), reshape=False, order=3, mode="reflect")
    assert moved(network, patches, turned, held_out) < 0.05


def test_a_quarter_turn_leaves_the_content_of_any_network_as_it_is(held_out):
    """By construction and not by training."""
    untrained, patches = InvariantVAE(seed=4), held_out[0][:20]
    turned = np.ascontiguousarray(np.rot90(patches, axes=(1, 2)))
    found, expected = (untrained.content(p) for p in (turned, patches))
    assert found == pytest.approx(expected, abs=1e-5)
    assert np.ptp(expected, axis=0).min() > 1e-3


@pytest.mark.parametrize("kind", range(3))
def test_the_angle_follows_modulo_the_symmetry(network, kind):
    angles = np.linspace(0, 2 * np.pi, 25)[:-1] + 0.3
    found = network.infer(np.array([motif(kind, a) for a in angles])).angle_rad
    apart = np.exp(1j * SYMMETRY[kind] * (found - angles))
    off = np.angle(apart / apart.mean()) / SYMMETRY[kind]  # where 0 lies nobody has said
    assert np.degrees(np.abs(off)).max() < 2.0
    steps = np.diff(np.unique(np.round(found, 1)))
    assert steps.max() < 2 * np.pi / SYMMETRY[kind] + 0.4  # it does not stand still


def test_a_linear_probe_tells_the_kinds_apart(network, held_out):
    patches, kinds, _ = held_out
    content = network.content(patches)
    probe = LogisticRegression().fit(content[:150], kinds[:150])
    assert probe.score(content[150:], kinds[150:]) > 0.97


def test_reconstruction_beats_the_mean_picture(network, held_out):
    """And leaves little but the noise, by the network's own account."""
    patches = held_out[0]
    seen = network.see(torch.from_numpy(patches))
    apart = (seen - seen.mean(dim=0)) ** 2 * network.rings.areas[:, None]
    of_mean = float(apart.sum(dim=(1, 2)).mean()) / network.rings.pixels
    residual = network.infer(patches).residual.mean()
    assert residual < 0.5 * of_mean
    noise = np.random.default_rng(0).normal(0, NOISE, (300, SIDE, SIDE)) / float(network.spread)
    on_rings = network.rings.see(torch.tensor(noise, dtype=torch.float32)) ** 2
    of_noise = float((on_rings * network.rings.areas[:, None]).sum(dim=(1, 2)).mean())
    assert residual == pytest.approx(of_noise / network.rings.pixels, rel=0.1)
    assert float(network.variance) == pytest.approx(residual, rel=0.15)


def test_what_is_reconstructed_lies_as_the_patch_does(network, held_out):
    """And without its noise."""
    patches, kinds, angles = (of[:100] for of in held_out)
    found = network.reconstructed(patches)
    y, x = np.mgrid[:SIDE, :SIDE] - (SIDE - 1) / 2
    inner = np.hypot(y, x) < 12.0
    clean = np.array([motif(k, a) for k, a in zip(kinds, angles, strict=True)])
    assert ((found - clean)[:, inner] ** 2).mean() < 0.1 * clean[:, inner].var()
    turned = network.reconstructed(np.ascontiguousarray(np.rot90(patches, axes=(1, 2))))
    expected = np.rot90(found, axes=(1, 2))
    assert turned[:, inner] == pytest.approx(expected[:, inner], abs=0.02)


def test_where_a_shift_is_no_content_it_is_an_offset():
    patches, _, _ = held_out = motifs(1500, 2, shift_px=1.5)
    shifts = [(y, x) for y in (-2.0, 0.0, 2.0) for x in (-2.0, 0.0, 2.0)]
    shifted = np.array([motif(k, 0.4, s) for k in range(3) for s in shifts])
    middle = np.repeat(np.array([motif(k, 0.4) for k in range(3)]), 9, axis=0)
    asked, unasked = train(patches, 300, translation=True), train(patches, 150)
    assert moved(asked, middle, shifted, held_out) < 0.2
    assert moved(unasked, middle, shifted, held_out) > 0.5
    found = asked.infer(shifted)
    assert np.ptp(found.offset, axis=0).min() > 2.0 / SIDE
    off = ((asked.reconstructed(shifted) - shifted)[:, 6:-6, 6:-6] ** 2).mean()
    assert off < 0.2 * shifted[:, 6:-6, 6:-6].var()
    assert (unasked.infer(shifted).offset == 0.0).all()


def test_where_scale_is_no_content_it_is_a_scale():
    patches, _, _ = held_out = motifs(1500, 3, scale=0.1)
    scales = (0.85, 1.0, 1.15)
    scaled = np.array([motif(k, 0.4, scale=s) for k in range(3) for s in scales])
    middle = np.repeat(np.array([motif(k, 0.4) for k in range(3)]), 3, axis=0)
    asked, unasked = train(patches, 200, scale=True), train(patches, 150)
    assert moved(asked, middle, scaled, held_out) < 0.15
    assert moved(unasked, middle, scaled, held_out) > 0.3
    found = asked.infer(scaled).log_scale.reshape(3, 3)
    assert (found[:, 2] - found[:, 0]) == pytest.approx(np.full(3, np.log(1.15 / 0.85)), rel=0.3)


def test_skip_connections_are_for_those_who_ask(held_out):
    plain, skipping = (train(held_out[0], 60, skip=s) for s in (False, True))
    assert skipping.layers[1].in_features == plain.layers[1].in_features + 2
    assert skipping.infer(held_out[0]).residual.mean() < 0.6


def test_a_walk_shows_the_plane_of_the_first_two_latents(network):
    shown = network.walk(5)
    assert shown.shape == (5, 5, SIDE, SIDE)
    expected = network.pictures(np.array([[-2.0, 2.0], [0.0, 0.0]]))
    assert shown[0, 4] == pytest.approx(expected[0], abs=1e-5)
    assert shown[2, 2] == pytest.approx(expected[1], abs=1e-5)
    assert not shown[..., 0, 0].any()  # outside the disc
    assert np.abs(shown[0, 0] - shown[4, 4]).max() > 0.1
    assert train(motifs(20, 0)[0], 1, latents=1).walk(3).shape == (3, 3, SIDE, SIDE)


def test_same_seed_same_network(held_out):
    state = torch.get_rng_state()
    first, second, other = (train(held_out[0], 5, seed=s) for s in (7, 7, 8))
    assert torch.equal(torch.get_rng_state(), state)
    for name, array in first.arrays().items():
        assert np.array_equal(second.arrays()[name], array)
    assert not np.array_equal(other.content(held_out[0]), first.content(held_out[0]))


def test_training_that_is_broken_off_goes_on_as_if_it_had_not_been(held_out):
    whole, before, after = (Training(InvariantVAE(seed=1), seed=2) for _ in range(3))
    whole.run(held_out[0], 12)
    before.run(held_out[0], 5)
    after.restore(before.save(), before.done)
    after.run(held_out[0], 7)
    assert after.done == whole.done == 12
    for name, array in whole.save().items():
        assert np.array_equal(after.save()[name], array), name


def test_patches_of_any_scale_are_the_same(held_out):
    """Counts or parts of full scale."""
    plain, counts = train(held_out[0], 20), train(1000.0 * held_out[0] + 50.0, 20)
    found = counts.content(1000.0 * held_out[0] + 50.0)
    assert found == pytest.approx(plain.content(held_out[0]), abs=0.02)
    assert counts.pictures(found).max() > 100 * plain.pictures(found).max()


@pytest.mark.parametrize("value", [0.0, 3.7])
def test_constant_patches_do_no_harm(value):
    made = train(np.full((10, SIDE, SIDE), value), 150)
    found = made.infer(np.full((3, SIDE, SIDE), value, np.float32))
    assert all(np.isfinite(f).all() for f in found)
    assert np.isfinite(made.walk()).all()


@pytest.mark.parametrize(
    ("patches", "options", "sentence"),
    [
        (np.empty((0, 32, 32)), {}, r"patches of shape \(0, 32, 32\)"),
        (np.zeros((5, 32)), {}, r"it must be \(n, side, side\)"),
        (np.zeros((5, 32, 16)), {}, r"it must be \(n, side, side\)"),
        (np.zeros((5, 15, 15)), {}, "patches of 15 px; their side must be even"),
        (np.zeros((5, 130, 130)), {}, "patches of 130 px"),
        (np.full((5, 32, 32), np.nan), {}, "patches that hold no numbers"),
        (np.zeros((5, 32, 32)), {"latents": 0}, "0 latents; there must be 1 to 32"),
    ],
)
def test_bad_patches(patches, options, sentence):
    with pytest.raises(ValueError, match=sentence):
        train(patches, 1, **options)


def test_patches_are_windows_or_lie_about_columns():
    assert str(Cut("fft", window=0.5)) == "windows (fft) of 0.5 of the frame"
    assert str(Cut("raw", around_nm=0.3)) == "patches (raw) of 0.3 nm about columns"
    for sizes in ({}, {"window": 0.5, "around_nm": 0.3}):
        with pytest.raises(ValueError, match="windows or about columns: one of the two"):
            Cut("raw", **sizes)


def test_weights_are_written_and_read_again(network, held_out, tmp_path):
    path = tmp_path / "motifs.safetensors"
    save_weights(path, network, Cut("raw", around_nm=0.3), "mos2")
    found, cut, specimen = load_weights(path)
    assert cut == Cut("raw", around_nm=0.3)
    assert specimen == "mos2"
    assert np.array_equal(found.content(held_out[0]), network.content(held_out[0]))
    assert path.stat().st_size < 1_000_000
    _, metadata = array_files.read(path)
    assert metadata["invariances"] == "rotation"


@pytest.mark.parametrize(
    ("changed", "sentence"),
    [
        ({"kind": "stemscout dcnn"}, "holds 'stemscout dcnn', version '2'; it must be 'stemsc"),
        ({"version": "1"}, "version '1'"),
        ({"latents": "3"}, "weights of another network; these are missing, foreign or of an"),
        ({"latents": "many"}, "invalid literal"),
        ({"latents": "-1"}, "-1 latents"),
        ({"side": "10000000"}, "patches of 10000000 px"),
        ({"skip": "perhaps"}, "say nothing known of 'perhaps'"),
        ({"invariances": "rotation shear"}, "unknown invariances 'rotation shear'"),
        ({"descriptor": None}, "say nothing known of 'descriptor'"),
        ({"window": None}, "windows or about columns: one of the two"),
        ({"window": "wide"}, "could not convert string to float: 'wide'"),
    ],
)
def test_weights_with_metadata_that_are_not_known(network, tmp_path, changed, sentence):
    path = tmp_path / "w.safetensors"
    save_weights(path, network, Cut("raw", window=0.5))
    arrays, metadata = array_files.read(path)
    metadata = {k: v for k, v in (metadata | changed).items() if v is not None}
    array_files.write(path, arrays, metadata)
    with pytest.raises(ValueError, match=sentence):
        load_weights(path)


def test_weights_that_are_damaged(network, tmp_path):
    path = tmp_path / "w.safetensors"
    save_weights(path, network, Cut("raw", window=0.5))
    arrays, metadata = array_files.read(path)
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(ValueError, match="damaged"):
        load_weights(path)
    arrays["layers.0.weight"][0, 0] = np.nan
    array_files.write(path, arrays, metadata)
    with pytest.raises(ValueError, match="no numbers"):
        load_weights(path)
    del arrays["layers.0.weight"]
    array_files.write(path, arrays, metadata)
    with pytest.raises(ValueError, match=r"foreign or of another shape: layers\.0\.weight"):
        load_weights(path)
