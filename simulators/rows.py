"""Finished rows of tiles, kept in a folder from which an interrupted simulation goes on.

Any number of processes may keep the rows of one simulation in one folder, and
the first one that is through removes it under the others.  Each row carries its
simulation's digest and its own checksum: what is damaged, or another's, is never
served, and is simply computed again.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from . import files

MARK = "simulation.json"  # says whose rows a folder holds
TRIES = 5


class Rows:
    """The rows of one simulation in ``folder``, which is made and marked as its own.

    Args:
        folder: where they are kept; it need not exist.
        simulation: all that determines the rows, as JSON holds it.

    Raises:
        ValueError: the folder holds another simulation.
        OSError: no room, or no leave to write.
    """

    def __init__(self, folder: Path, simulation: Mapping[str, Any]) -> None:
        text = json.dumps(simulation, sort_keys=True)
        self.folder = folder
        self.digest = hashlib.sha256(text.encode()).hexdigest()
        self._mark = json.dumps({"digest": self.digest, "simulation": dict(simulation)})
        self._claim()

    def load(self, row: int, shape: tuple[int, ...]) -> NDArray[np.float32] | None:
        """The images (detectors, height, width) of a row; None unless they are there and whole."""
        try:
            header, arrays = files.load(self._path(row))
        except (ValueError, FileNotFoundError):
            return None
        images = arrays.get("images")
        if header != self._header(row) or images is None:
            return None
        return images if images.dtype == np.float32 and images.shape == shape else None

    def save(self, row: int, images: NDArray[np.float32]) -> None:
        """Keep a row; it appears complete or not at all.

        Raises:
            OSError: no room, or no leave to write; nothing is left behind.
        """
        for _ in range(TRIES):
            with suppress(FileNotFoundError):  # the folder vanished: another process was through
                self._claim()
                files.save(self._path(row), self._header(row), {"images": images}, replace=True)
                return
        raise OSError(f"{self.folder} is removed again and again; keep the rows in another folder")

    def _path(self, row: int) -> Path:
        return self.folder / f"row-{row:05d}.npz"

    def _header(self, row: int) -> dict[str, Any]:
        return {"digest": self.digest, "row": row}

    def _claim(self) -> None:
        """Make the folder and its mark, unless they are there."""
        mark = self.folder / MARK
        for _ in range(TRIES):
            self.folder.mkdir(parents=True, exist_ok=True)
            there = _marked(mark)
            if there == self.digest:
                return
            if there is not None:
                raise ValueError(f"{self.folder} holds another simulation; name an empty folder")
            # Another process may mark or remove the folder in between; look again, then.
            damaged = mark.exists()
            with (
                suppress(FileExistsError, FileNotFoundError),
                files.part_of(mark, len(self._mark), replace=damaged) as part,
            ):
                part.write_text(self._mark)
        if _marked(mark) != self.digest:
            raise OSError(f"{mark} cannot be written; keep the rows in another folder")


def _marked(mark: Path) -> str | None:
    """The digest of the simulation that a mark names; None where it cannot be read."""
    try:
        return str(json.loads(mark.read_text())["digest"])
    except (FileNotFoundError, ValueError, KeyError, TypeError):
        return None
