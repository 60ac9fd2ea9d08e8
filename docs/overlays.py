"""What the networks in the package say of recorded images that they have never seen.

    STEMSCOUT_IMAGES=... python docs/overlays.py

writes docs/pictures/overlays/*.jpg, and prints how many of everything were found, which
docs/perception.md quotes.  Sources and licences of the images stand in docs/physics.md.
"""

import io
import os
import sys
from pathlib import Path

import numpy as np
from PIL import Image

from stemscout.agents.perception.dcnn.segmenter import Segmenter
from stemscout.simulators.images import read_image
from stemscout.views import perception, style

HERE = Path(__file__).parent / "pictures" / "overlays"
IMAGES = Path(os.environ["STEMSCOUT_IMAGES"])
# Name, file, pixel in nm, and the network.  Pixels are those by which the first spacings of the
# lattice, averaged over directions, are those of the crystal: of MoS2 0.274 nm, where the three
# images have 15.6, 21.5 and 21.2 px.
RECORDED = (
    ("graphene", "Si-Graphene_435px.png", 0.0235, "graphene"),
    ("mos2-000", "MoS2_stem_Exp-000-2.npy", 0.0176, "mos2"),
    ("mos2-001", "MoS2_stem_Exp-001-5.npy", 0.0128, "mos2"),
    ("mos2-002", "MoS2_stem_Exp-002-5.npy", 0.0129, "mos2"),
    ("bfo", "BFO_435px.png", 0.071, "bifeo3"),
    ("nio-lsmo", "NiO_LSMO_435px.png", 0.046, "nio_lsmo"),
)


def main(weights):
    HERE.mkdir(parents=True, exist_ok=True)
    for name, file, pixel, network in RECORDED:
        path = weights / f"{network}.safetensors" if weights else network
        if weights and not path.is_file():
            continue
        image = np.asarray(read_image(IMAGES / file).image, dtype=np.float64)
        segmenter = Segmenter(path)
        seen = segmenter.look(image, (pixel, pixel))
        with style.figure(11.5, 6.4) as fig:
            plain, told = fig.subplots(1, 2)
            low, high = np.percentile(image, [0.5, 99.5])
            side = image.shape[1] * pixel
            extent = (0.0, side, image.shape[0] * pixel, 0.0)
            plain.imshow(image, cmap=style.MICROGRAPH, extent=extent, vmin=low, vmax=high)
            plain.set(title="recorded", xticks=[], yticks=[])
            style.scale_bar(plain, side)
            told.set_title(f"what the network for {network} says")
            found = perception.overlay(told, image, pixel, seen, segmenter.thresholds)
            fig.legend(loc="outside lower center", ncols=6, fontsize=8, frameon=False)
            picture = Image.open(io.BytesIO(style.png(fig))).convert("RGB")
            picture.save(HERE / f"{name}.jpg", quality=88)
        print(name, {k: v for k, v in found.items() if v})


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else None)
