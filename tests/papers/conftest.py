import pytest
from paper_data import everything


@pytest.fixture(scope="session")
def tiny(tmp_path_factory):
    """A folder with all the data sets, as small as can be."""
    return everything(tmp_path_factory.mktemp("data"))


@pytest.fixture(scope="session")
def store(tmp_path_factory):
    """One folder of runs for all tests, as people have: items share what they share."""
    return tmp_path_factory.mktemp("papers")
