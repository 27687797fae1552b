import numpy as np
import pytest
import torch
from sklearn import metrics

from fixhead.data import Dataset, Split
from fixhead.evaluation.shot_groups import describe_tail, group_accuracies


def data(counts):
    labels = np.repeat(np.arange(len(counts)), counts)
    pixels = np.zeros((len(labels), 1, 4, 4), np.uint8)
    pixels[:, 0, 0, 0] = labels + 1
    part = Split(pixels, labels)
    names = tuple(f"class {place}" for place in range(len(counts)))
    return Dataset("made", "Made", names, part, part)


def test_groups_are_those_of_the_published_counts():
    found = describe_tail("exp:0.01", data([150, 101, 100, 20, 19, 1]))
    assert found["imbalance"] == "exp:0.01"
    assert found["class_counts"] == [150, 101, 100, 20, 19, 1]
    assert found["groups"] == {"many": [0, 1], "medium": [2, 3], "few": [4, 5]}


def test_classes_of_about_one_size_have_no_groups():
    assert describe_tail(None, data([30, 20, 25])) == {}


def test_data_that_are_unequal_by_themselves_have_groups_and_no_rule():
    assert describe_tail(None, data([60, 5]))["imbalance"] is None


def test_a_groups_accuracy_is_the_mean_recall_of_its_classes():
    rng = np.random.default_rng(0)
    labels, told = rng.integers(0, 5, 200), rng.integers(0, 5, 200)
    confusion = torch.from_numpy(metrics.confusion_matrix(labels, told))
    recall = metrics.recall_score(labels, told, average=None)
    found = group_accuracies(confusion, {"many": [0, 1], "few": [4, 2, 3]})
    assert found["many"] == pytest.approx(recall[:2].mean())
    assert found["few"] == pytest.approx(recall[2:].mean())


def test_classes_without_a_test_image_count_nowhere():
    confusion = torch.tensor([[3, 1, 0], [0, 0, 0], [2, 0, 0]])
    found = group_accuracies(confusion, {"many": [0, 1], "medium": [1], "few": [2]})
    assert found == {"many": 0.75, "medium": None, "few": 0.0}
