"""One thread for linear algebra: small problems run faster, and the same seed the same way."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from typing import Any


@contextmanager
def one_thread() -> Iterator[None]:
    """Bound the threads of BLAS and OpenMP to one; sums of many threads round differently."""
    import scipy.linalg  # noqa: F401  a library can only be bounded once it is loaded
    import sklearn.decomposition  # noqa: F401

    with _libraries(len(sys.modules)).limit(limits=1):
        yield


@lru_cache(maxsize=1)
def _libraries(modules: int) -> Any:
    """What is loaded.  To look takes ms, several times an episode: done again after an import."""
    from threadpoolctl import ThreadpoolController

    return ThreadpoolController()
