import pytest
from paper_data import birds, mnist


@pytest.fixture(scope="session")
def tiny(tmp_path_factory):
    """A folder with a small made MNIST, and still fewer made birds."""
    return birds(mnist(tmp_path_factory.mktemp("mnist"), training=200, test=40))


@pytest.fixture(scope="session")
def store(tmp_path_factory):
    """One folder of runs for all tests, as people have: items share what they share."""
    return tmp_path_factory.mktemp("papers")
