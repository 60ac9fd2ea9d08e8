"""Simulated beside recorded: the same material, field and pixel.

    STEMSCOUT_IMAGES=... python docs/nature.py

writes docs/pictures/nature.jpg and prints the figures that docs/physics.md
quotes: lattice spacings, contrast, and how far histograms and power spectra
agree.  Sources and licences of the recorded images stand in docs/physics.md.
"""

import io
import os
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from PIL import Image
from scipy.ndimage import gaussian_filter

from stemscout.hardware import ScanRequest
from stemscout.simulators.images import read_image
from stemscout.simulators.imperfections import PRESETS, DetectorResponse
from stemscout.simulators.simulated import SimulatedMicroscope
from stemscout.simulators.specimens import specimen_module
from stemscout.simulators.world import Recipe, open_world, specimen_seed
from stemscout.views import style

HERE = Path(__file__).parent / "pictures"
IMAGES = Path(os.environ["STEMSCOUT_IMAGES"])


@dataclass(frozen=True)
class Pair:
    """A recorded image, and what is held beside it: specimen, place and dwell.

    ``pixel_nm`` is an estimate from the lattice itself.
    """

    title: str
    file: str
    pixel_nm: float
    specimen: str
    difficulty: str
    seed: int
    centre_yx_nm: tuple[float, float]
    dwell_us: float
    spacing_nm: tuple[float, float]  # where the strongest lattice peak is looked for


# The dwell is such that both images have the same white noise.
PAIRS = (
    Pair("NiO in La0.7Sr0.3MnO3", "NiO_LSMO_435px.png", 0.046, "nio_lsmo", "hard", 1,
         (0.0, 0.0), 20.0, (0.33, 0.45)),
    Pair("BiFeO3", "BFO_435px.png", 0.071, "bifeo3", "hard", 2, (0.0, 0.0), 60.0, (0.33, 0.47)),
    Pair("graphene", "Si-Graphene_435px.png", 0.0235, "graphene", "hard", 5, (0.0, 0.0), 100.0,
         (0.18, 0.24)),
    Pair("MoS2", "", 0.0124, "mos2", "hard", 9, (5.0, -0.5), 0.7, (0.22, 0.31)),
)  # fmt: skip


def recorded(pair):
    path = IMAGES / pair.file if pair.file else sorted(IMAGES.glob("MoS2_stem_Exp-*.npy"))[1]
    return np.asarray(read_image(path).image, dtype=np.float64)


def simulated(pair, pixels):
    module = specimen_module(pair.specimen)
    side = min(pixels * pair.pixel_nm, module.FIELD_NM - 0.01)
    count = round(side / pair.pixel_nm)
    # Displayed images keep neither the detector's gain nor its offset.
    parts = replace(PRESETS["realistic"], detector=DetectorResponse(1.0, 0.0, 0.8), damage=None)
    margin = parts.reach_nm((module.FIELD_NM,) * 2)
    recipe = Recipe(pair.specimen, pair.difficulty, *specimen_seed(pair.seed, "validation"),
                    module.FIELD_NM, margin_nm=margin)  # fmt: skip
    m = SimulatedMicroscope(open_world(recipe), 0, imperfections=parts)
    m.open()
    side = count * pair.pixel_nm
    request = ScanRequest(pair.centre_yx_nm, (side, side), (count, count), pair.dwell_us)
    return m.acquire(request).image


def spectrum(image, pixel_nm):
    """Radial power spectrum: frequencies in 1/nm, and power relative to all of it."""
    side = min(image.shape)
    square = image[:side, :side] - image[:side, :side].mean()
    window = np.hanning(side)
    power = np.abs(np.fft.fftshift(np.fft.fft2(square * np.outer(window, window)))) ** 2
    f = np.fft.fftshift(np.fft.fftfreq(side, pixel_nm))
    radius = np.hypot(*np.meshgrid(f, f, indexing="ij"))
    step = 1.0 / (side * pixel_nm)
    index = np.rint(radius / step).astype(int)
    mean = np.bincount(index.ravel(), power.ravel()) / np.maximum(np.bincount(index.ravel()), 1)
    keep = slice(1, side // 2)
    return np.arange(len(mean))[keep] * step, (mean / power.sum())[keep]


def spacing(image, pixel_nm, between):
    f, p = spectrum(image, pixel_nm)
    chosen = (f > 1 / between[1]) & (f < 1 / between[0])
    best = np.flatnonzero(chosen)[p[chosen].argmax()]
    near = slice(best - 1, best + 2)
    return float(1 / (np.sum(f[near] * p[near]) / np.sum(p[near])))


def normal(image):
    low, high = np.percentile(image, [1, 99])
    return np.clip((image - low) / (high - low), -0.2, 1.2)


def coarse_contrast(image, pixel_nm):
    """Contrast of what is larger than the lattice: its spread over its mean, both from 1 %."""
    smooth = gaussian_filter(image - np.percentile(image, 1), 0.4 / pixel_nm)
    return float(smooth.std() / smooth.mean())


def phase_contrast(image, pixel_nm):
    """Of the smoother phase (rock salt) to the other: means above black, and spreads.

    Phases are told apart by their texture: the spread about a running mean, cut in two
    by Otsu's rule (IEEE Trans. Syst. Man Cybern. 9 (1979) 62).
    """
    sigma = 0.45 / pixel_nm
    about = image - gaussian_filter(image, sigma)
    texture = np.sqrt(gaussian_filter(about**2, sigma))
    counts, edges = np.histogram(texture, 200)
    middle = (edges[1:] + edges[:-1]) / 2
    below, total = np.cumsum(counts), np.cumsum(counts * middle)
    apart = (total[-1] * below / below[-1] - total) ** 2
    cut = middle[(apart / np.maximum(below * (below[-1] - below), 1)).argmax()]
    smooth, rough = image[texture < cut], image[texture >= cut]
    black = np.percentile(image, 1)
    return (smooth.mean() - black) / (rough.mean() - black), smooth.std() / rough.std()


def dose(pair):
    """Of the simulated image, in e/Å²."""
    optics = specimen_module(pair.specimen).OPTICS
    return optics.electrons_per_us * pair.dwell_us / (10 * pair.pixel_nm) ** 2


def main():
    with style.figure(14.0, 3.5 * len(PAIRS)) as fig:
        rows = fig.subplots(len(PAIRS), 4)
        for row, pair in zip(rows, PAIRS, strict=True):
            real = recorded(pair)
            made = simulated(pair, min(real.shape))
            real = real[: made.shape[0], : made.shape[1]]
            side = made.shape[0] * pair.pixel_nm
            for axes, image, word in ((row[0], real, "recorded"), (row[1], made, "simulated")):
                axes.imshow(normal(image), cmap=style.MICROGRAPH, extent=(0, side, side, 0),
                            vmin=0, vmax=1)  # fmt: skip
                axes.set(xticks=[], yticks=[])
                style.scale_bar(axes, side)
                axes.set_title(f"{pair.title}, {word}")
            told = {}
            for image, word, colour in (
                (real, "recorded", "#0072b2"),
                (made, "simulated", "#d55e00"),
            ):
                f, p = spectrum(image, pair.pixel_nm)
                row[2].semilogy(f, p, color=colour, lw=1.0, label=word)
                row[3].hist(normal(image).ravel(), 60, range=(-0.2, 1.2), density=True,
                            color=colour,
                            alpha=0.5, label=word)  # fmt: skip
                told[word] = (
                    spacing(image, pair.pixel_nm, pair.spacing_nm),
                    coarse_contrast(image, pair.pixel_nm),
                )
            row[2].set(xlabel="spatial frequency (1/nm)", ylabel="share of the power",
                       title="power spectrum", xlim=(0, min(9.0, 0.5 / pair.pixel_nm)))  # fmt: skip
            row[3].set(xlabel="intensity (1st to 99th percentile)", yticks=[], title="histogram")
            row[2].legend(frameon=False)
            p = [
                np.interp(np.linspace(0.3, 6, 200), *spectrum(i, pair.pixel_nm))
                for i in (real, made)
            ]
            like = np.corrcoef(np.log(p))[0, 1]
            h = [np.histogram(normal(i), 60, (-0.2, 1.2))[0] / i.size for i in (real, made)]
            overlap = np.minimum(*h).sum()
            if pair.specimen == "nio_lsmo":
                for image, word in ((real, "recorded"), (made, "simulated")):
                    mean, spread = phase_contrast(image, pair.pixel_nm)
                    print(f"NiO to LSMO, {word}: means {mean:.2f}, spreads {spread:.2f}")
            print(
                f"{pair.title}: dose {dose(pair):.3g} e/Å², "
                f"spacing {told['recorded'][0]:.4f} and {told['simulated'][0]:.4f} nm, "
                f"coarse contrast {told['recorded'][1]:.2f} and {told['simulated'][1]:.2f}, "
                f"log spectra correlate {like:.2f}, histograms overlap {overlap:.2f}"
            )
        HERE.mkdir(exist_ok=True)
        picture = Image.open(io.BytesIO(style.png(fig))).convert("RGB")
        picture.thumbnail((1700, 2400))
        picture.save(HERE / "nature.jpg", quality=82, optimize=True)


if __name__ == "__main__":
    main()
