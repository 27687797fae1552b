import subprocess
import sys

import numpy as np
import pytest
import torch
from scipy.spatial.distance import pdist, squareform

from fixhead import RequestError
from fixhead.geometry import class_cosines
from fixhead.geometry.class_cosines import cosine_statistics
from fixhead.vectors import build


def draw(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("tile", [1, 4, 10, 2_048])
def test_statistics_are_those_of_the_whole_matrix(monkeypatch, tile):
    monkeypatch.setattr(class_cosines, "_TILE", tile)
    W = 3 * draw(23, 6)
    pairs = 1 - pdist(W.double(), "cosine")
    found = cosine_statistics(W, bins=40)
    assert found.minimum == pytest.approx(pairs.min())
    assert found.maximum == pytest.approx(pairs.max())
    assert found.mean == pytest.approx(pairs.mean())
    assert found.std == pytest.approx(pairs.std())
    assert np.array_equal(found.counts, np.histogram(pairs, bins=found.edges)[0])
    nearest = squareform(pairs) - 2 * np.eye(23)
    np.testing.assert_allclose(found.nearest, nearest.max(axis=1), rtol=1e-12)


def test_large_problems_in_float32_agree_with_float64(monkeypatch):
    W = draw(300, 20)
    wide = cosine_statistics(W)
    monkeypatch.setattr(class_cosines, "_FLOAT64_WORK", 0)
    monkeypatch.setattr(class_cosines, "_TILE", 64)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        narrow = cosine_statistics(W)
    assert narrow.nearest.dtype == torch.float32
    for name in ("minimum", "maximum", "mean", "std"):
        assert getattr(narrow, name) == pytest.approx(getattr(wide, name), abs=1e-6)
    assert int((narrow.counts - wide.counts).abs().sum()) <= 20  # on the border of a bin


def test_quantiles_are_right_to_one_bin():
    W = draw(80, 12)
    pairs = 1 - pdist(W.double(), "cosine")
    found = cosine_statistics(W, bins=500)
    for share in (0.0, 0.01, 0.25, 0.5, 0.99, 1.0):
        assert found.quantile(share) == pytest.approx(np.quantile(pairs, share), abs=2 / 500)
    assert found.quantile(0.0) >= found.minimum
    assert found.quantile(1.0) == found.maximum


def test_a_simplex_has_one_cosine():
    found = cosine_statistics(build("simplex", 11, 16, dtype=torch.float64))
    assert found.minimum == pytest.approx(-0.1)
    assert found.maximum == pytest.approx(-0.1)
    assert found.std < 1e-15
    assert int((found.counts > 0).sum()) <= 2
    assert found.quantile(0.5) == pytest.approx(-0.1)


def test_equal_and_opposite_vectors_stay_inside_the_bins():
    found = cosine_statistics(torch.tensor([[2.0, 0.0], [1.0, 0.0], [-1.0, 0.0]]))
    assert (found.minimum, found.maximum) == (-1.0, 1.0)
    assert int(found.counts.sum()) == 3
    assert found.nearest.tolist() == [1.0, 1.0, -1.0]


def test_random_vectors_have_the_mean_and_spread_of_the_sphere():
    found = cosine_statistics(draw(600, 50))
    # Cosines of independent directions: mean 0, variance 1/d, pairwise uncorrelated.
    pairs = 600 * 599 / 2
    assert abs(found.mean) < 5 / np.sqrt(50 * pairs)
    assert found.std == pytest.approx(1 / np.sqrt(50), rel=0.02)


class Rows:
    """Class vectors that are made when asked for."""

    shape = (30, 4)

    def rows(self, labels):
        return torch.stack([draw(4, seed=int(label)) for label in labels])


def test_implicit_vectors_are_never_needed_all_at_once(monkeypatch):
    monkeypatch.setattr(class_cosines, "_TILE", 7)
    dense = Rows().rows(torch.arange(30))
    assert cosine_statistics(Rows()).std == pytest.approx(cosine_statistics(dense).std)


def test_vectors_without_a_direction_and_bins_without_a_number_are_refused():
    with pytest.raises(RequestError, match="not zero"):
        cosine_statistics(torch.zeros(3, 4))
    with pytest.raises(RequestError, match="K >= 2"):
        cosine_statistics(torch.ones(1, 4))
    with pytest.raises(RequestError, match="bins >= 1"):
        cosine_statistics(draw(3, 4), bins=0)
    with pytest.raises(RequestError, match="share"):
        cosine_statistics(draw(3, 4)).quantile(1.5)


_HUNDRED_THOUSAND = """
import pathlib, torch
from fixhead.geometry.class_cosines import cosine_statistics
W = torch.randn(100_000, 16, generator=torch.Generator().manual_seed(0))
found = cosine_statistics(W)
assert int(found.counts.sum()) == 100_000 * 99_999 // 2
assert abs(found.std - 0.25) < 1e-3 and abs(found.quantile(0.5)) < 2e-3
assert 0.9 < found.maximum <= 1 and found.nearest.min() > 0
status = pathlib.Path("/proc/self/status").read_text()  # ru_maxrss would begin with ours
print(int(status.split("VmHWM:")[1].split()[0]) / 2**20)
"""


@pytest.mark.slow
def test_a_hundred_thousand_classes_need_no_gib():
    done = subprocess.run(
        [sys.executable, "-c", _HUNDRED_THOUSAND], capture_output=True, text=True, check=True
    )
    assert float(done.stdout) < 1.0  # the matrix alone would take 37 GiB in float32
