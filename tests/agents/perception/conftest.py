"""What tests of perceptions share."""

from __future__ import annotations

import numpy as np
import pytest

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
