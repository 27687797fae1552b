"""For every test: one thread and one run at a time, because tests run side by side, and no folder
of the user's."""

import os

# Before torch is imported anywhere, and for the processes that tests start.
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("FIXHEAD_JOBS", "1")

import pytest
import torch

from fixhead.many_classes.native.library import FILE, VARIABLE

torch.set_num_threads(1)
if not FILE.exists():  # then the PyTorch path warns, and every warning is an error here
    os.environ.setdefault(VARIABLE, "torch")


@pytest.fixture(autouse=True, scope="session")
def _own_cache(tmp_path_factory):
    """Decoded data sets go to a folder of the test run."""
    before = os.environ.get("FIXHEAD_CACHE")
    os.environ["FIXHEAD_CACHE"] = str(tmp_path_factory.mktemp("cache"))
    yield
    if before is None:
        del os.environ["FIXHEAD_CACHE"]
    else:
        os.environ["FIXHEAD_CACHE"] = before
