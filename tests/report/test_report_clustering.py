from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.cluster.hierarchy import linkage, to_tree
from scipy.spatial.distance import squareform

from fixhead.report.vectors import cluster_order, confusion_likeness, mean_likeness


def _likeness(size: int, seed: int) -> np.ndarray:
    rows = np.random.default_rng(seed).normal(size=(size, 5))
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    return rows @ rows.T


def _clusters(likeness: np.ndarray) -> set[frozenset[int]]:
    """Every cluster of scipy's average-linkage tree."""
    far = 1 - likeness
    np.fill_diagonal(far, 0)
    _, nodes = to_tree(linkage(squareform(far, checks=False), "average"), rd=True)
    return {frozenset(node.pre_order()) for node in nodes}


@given(st.integers(2, 25), st.integers(0, 10_000))
def test_every_cluster_of_scipys_tree_stands_together(size: int, seed: int) -> None:
    likeness = _likeness(size, seed)
    order = cluster_order(likeness.tolist())
    assert sorted(order) == list(range(size))
    places = np.argsort(order)
    for cluster in _clusters(likeness):
        where = sorted(places[list(cluster)])
        assert where[-1] - where[0] == len(cluster) - 1


def test_classes_in_two_blocks_are_put_into_blocks() -> None:
    group = np.array([0, 1, 0, 1, 1, 0])
    likeness = (group[:, None] == group[None, :]).astype(float)
    assert sorted(cluster_order(likeness.tolist())[:3]) == [0, 2, 5]


def test_equal_likeness_keeps_every_class_once() -> None:
    assert sorted(cluster_order(np.ones((7, 7)).tolist())) == list(range(7))
    assert cluster_order([[1.0]]) == [0]
    assert cluster_order([]) == []


def test_likeness_by_confusion_and_by_mean_are_numpys() -> None:
    counts = np.array([[8, 2, 0], [1, 9, 0], [3, 0, 17]])
    images = counts.sum(axis=1)
    expected = (counts + counts.T) / (images[:, None] + images[None, :])
    assert np.allclose(confusion_likeness(counts.tolist()), expected)
    pair = [_likeness(4, 1), _likeness(4, 2)]
    assert mean_likeness([M.tolist() for M in pair]) == pytest.approx(np.mean(pair, axis=0))


def test_five_hundred_classes_are_ordered_in_a_moment() -> None:
    order = cluster_order(_likeness(500, 0).tolist())
    assert sorted(order) == list(range(500))
