"""What the tests of several commands share."""

from contextlib import contextmanager

import pytest


@pytest.fixture
def files_of_at_most():
    """``with files_of_at_most(BYTES):`` makes longer files fail inside, as on a full disk."""
    resource, signal = pytest.importorskip("resource"), pytest.importorskip("signal")

    @contextmanager
    def limited(size):
        before = resource.getrlimit(resource.RLIMIT_FSIZE)
        handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
        try:
            yield
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, before)
            signal.signal(signal.SIGXFSZ, handler)

    return limited
