"""One thread for linear algebra: small problems run faster, and the same seed the same way."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def one_thread() -> Iterator[None]:
    """Bound the threads of BLAS and OpenMP to one; sums of many threads round differently."""
    import scipy.linalg  # noqa: F401  a library can only be bounded once it is loaded
    import sklearn.decomposition  # noqa: F401
    from threadpoolctl import threadpool_limits

    with threadpool_limits(1):
        yield
