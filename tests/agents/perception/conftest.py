"""What tests of perceptions share."""

from __future__ import annotations

import numpy as np
import pytest

from stemscout.agents.perception.dcnn.segmenter import Segmentation
from stemscout.hardware.microscope import Frame, ScanRequest, State


@pytest.fixture
def frame_of():
    """A frame that shows an image (rows, columns); of a broken-off one some rows are valid."""

    def made(image, valid_rows=None):
        request = ScanRequest((0.0, 0.0), (1.5, 1.5), image.shape, 10.0)
        data = {"haadf": np.asarray(image, np.float32)}
        rows = len(image) if valid_rows is None else valid_rows
        return Frame(request, request.region, data, rows, None, 0.0, State())

    return made


@pytest.fixture(scope="session")
def told():
    """What a perfect network would say of a frame of a specimen."""

    def made(truth, request, shape_yx=(64, 64)):
        painted = truth.painted(request, shape_yx)
        pixel = tuple(f / n for f, n in zip(request.fov_yx_nm, shape_yx, strict=True))
        scale = tuple(n / m for n, m in zip(request.shape_yx, shape_yx, strict=True))
        return Segmentation(truth.legend, painted, np.zeros_like(painted), pixel, scale)

    return made
