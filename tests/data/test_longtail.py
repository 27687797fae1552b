"""Long tails against the published counts, and against the published code's own choice."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fixhead._errors import RequestError
from fixhead.data import Dataset, Split, groups, is_imbalanced, parse_long_tail, thin
from fixhead.data.splits import keep, ranks

CIFAR10 = np.full(10, 5000)
CIFAR100 = np.full(100, 500)


def dataset(sizes: list[int]) -> Dataset:
    labels = np.random.default_rng(0).permutation(np.repeat(np.arange(len(sizes)), sizes))
    images = np.zeros((len(labels), 1, 1, 1), dtype=np.uint8)
    classes = tuple(f"class {number}" for number in range(len(sizes)))
    test = Split(np.zeros((len(sizes), 1, 1, 1), dtype=np.uint8), np.arange(len(sizes)))
    return Dataset("made", "Made", classes, Split(images, labels), test)


def published(sizes: np.ndarray, factor: float) -> list[int]:
    """LDAM's rule written as LDAM writes it."""
    most = sizes.sum() / len(sizes)
    return [int(most * (factor ** (c / (len(sizes) - 1.0)))) for c in range(len(sizes))]


# As people who ran the published code print and paste them.
CIFAR10_LT = {
    0.1: [5000, 3871, 2997, 2320, 1796, 1391, 1077, 834, 645, 500],
    0.02: [5000, 3237, 2096, 1357, 878, 568, 368, 238, 154, 100],
    0.01: [5000, 2997, 1796, 1077, 645, 387, 232, 139, 83, 50],
    0.005: [5000, 2775, 1540, 854, 474, 263, 146, 81, 45, 25],
}
CIFAR100_LT = {
    0.1: [
        *(500, 488, 477, 466, 455, 445, 434, 424, 415, 405, 396, 387, 378, 369, 361, 352, 344),
        *(336, 328, 321, 314, 306, 299, 292, 286, 279, 273, 266, 260, 254, 248, 243, 237, 232),
        *(226, 221, 216, 211, 206, 201, 197, 192, 188, 183, 179, 175, 171, 167, 163, 159, 156),
        *(152, 149, 145, 142, 139, 135, 132, 129, 126, 123, 121, 118, 115, 112, 110, 107, 105),
        *(102, 100, 98, 95, 93, 91, 89, 87, 85, 83, 81, 79, 77, 75, 74, 72, 70, 69, 67, 66, 64),
        *(63, 61, 60, 58, 57, 56, 54, 53, 52, 51, 50),
    ],
    0.01: [
        *(500, 477, 455, 434, 415, 396, 378, 361, 344, 328, 314, 299, 286, 273, 260, 248, 237),
        *(226, 216, 206, 197, 188, 179, 171, 163, 156, 149, 142, 135, 129, 123, 118, 112, 107),
        *(102, 98, 93, 89, 85, 81, 77, 74, 70, 67, 64, 61, 58, 56, 53, 51, 48, 46, 44, 42, 40),
        *(38, 36, 35, 33, 32, 30, 29, 27, 26, 25, 24, 23, 22, 21, 20, 19, 18, 17, 16, 15, 15),
        *(14, 13, 13, 12, 12, 11, 11, 10, 10, 9, 9, 8, 8, 7, 7, 7, 6, 6, 6, 6, 5, 5, 5, 5),
    ],
}


@pytest.mark.parametrize(("factor", "counts"), CIFAR10_LT.items())
def test_long_tailed_cifar10_has_the_published_counts(factor: float, counts: list[int]) -> None:
    assert parse_long_tail(f"exp:{factor}").counts(CIFAR10).tolist() == counts


@pytest.mark.parametrize(("factor", "counts"), CIFAR100_LT.items())
def test_long_tailed_cifar100_has_the_published_counts(factor: float, counts: list[int]) -> None:
    assert parse_long_tail(f"exp:{factor}").counts(CIFAR100).tolist() == counts


@pytest.mark.parametrize(
    ("factor", "ten", "hundred"),
    [(0.1, 20431, 19573), (0.02, 13996, 12608), (0.01, 12406, 10847), (0.005, 11203, 9502)],
)
def test_long_tailed_cifar_has_the_published_totals(factor: float, ten: int, hundred: int) -> None:
    tail = parse_long_tail(f"exp:{factor}")
    assert tail.counts(CIFAR10).sum() == ten
    assert tail.counts(CIFAR100).sum() == hundred
    assert tail.counts(CIFAR10).tolist() == published(CIFAR10, factor)
    assert tail.counts(CIFAR100).tolist() == published(CIFAR100, factor)


def test_step_cuts_the_second_half() -> None:
    assert parse_long_tail("step:0.01").counts(CIFAR10).tolist() == [5000] * 5 + [50] * 5


def test_geometric_counts_from_one() -> None:
    mnist = np.array([5923, 6742, 5958, 6131, 5842, 5421, 5918, 6265, 5851, 5949])
    counts = parse_long_tail("geometric:0.5").counts(mnist)
    assert counts[0] == round(5923 / 4)  # p (1 − p)^1: the largest class keeps a quarter
    assert counts[9] == 3
    np.testing.assert_array_equal(counts, np.round(mnist * 0.5 ** np.arange(2, 12)))


def test_the_images_are_those_that_the_published_code_takes() -> None:
    labels = np.random.default_rng(1).integers(0, 4, 400)
    counts = np.array([60, 30, 9, 2])
    state = np.random.get_state()  # noqa: NPY002
    np.random.seed(0)  # noqa: NPY002 - the published code seeds and uses the global generator
    expected = []
    for label, count in enumerate(counts):
        index = np.where(labels == label)[0]
        np.random.shuffle(index)  # noqa: NPY002
        expected.append(index[:count])
    np.random.set_state(state)  # noqa: NPY002
    np.testing.assert_array_equal(keep(labels, counts), np.sort(np.concatenate(expected)))


def test_thinning_leaves_the_test_set_and_says_what_it_did() -> None:
    whole = dataset([100, 100, 100, 100])
    thinned = thin(whole, "exp:0.01")
    assert thinned.train.counts(4).tolist() == [100, 21, 4, 1]
    assert thinned.test is whole.test
    assert "126 of 400 training images, from 100 (class 0) to 1 (class 3)" in thinned.notes[-1]


def test_thinning_is_deterministic_in_its_seed() -> None:
    whole = dataset([50, 50])
    taken = [thin(whole, "exp:0.5", seed=seed).train.images.indices for seed in (0, 0, 1)]
    np.testing.assert_array_equal(taken[0], taken[1])
    assert taken[0].tolist() != taken[2].tolist()


def test_classes_smaller_than_the_rule_asks_stay_whole_and_are_named() -> None:
    thinned = thin(dataset([10, 60, 50]), "exp:0.5")
    assert thinned.train.counts(3).tolist() == [10, 28, 20]
    assert "class 0" in thinned.notes[-1]


def test_the_order_says_which_class_is_rare() -> None:
    sizes = np.array([10, 40, 20])
    assert ranks(sizes, "index").tolist() == [0, 1, 2]
    assert ranks(sizes, "reversed").tolist() == [2, 1, 0]
    assert ranks(sizes, "size").tolist() == [1, 2, 0]
    assert sorted(ranks(np.ones(30), "shuffled:1").tolist()) == list(range(30))
    assert ranks(np.ones(30), "shuffled:1").tolist() != ranks(np.ones(30), "shuffled").tolist()
    counts = parse_long_tail("exp:0.01,order=reversed").counts(CIFAR10)
    assert counts.tolist() == parse_long_tail("exp:0.01").counts(CIFAR10).tolist()[::-1]


@settings(deadline=None, max_examples=60)
@given(
    sizes=st.lists(st.integers(1, 3000), min_size=2, max_size=30),
    kind=st.sampled_from(["exp", "step", "geometric"]),
    value=st.floats(0.001, 0.999),
    order=st.sampled_from(["index", "reversed", "size", "shuffled:3"]),
)
def test_every_class_keeps_between_one_and_all_of_its_images(
    sizes: list[int], kind: str, value: float, order: str
) -> None:
    tail = parse_long_tail(f"{kind}:{value},order={order}")
    counts = tail.counts(np.array(sizes))
    assert (counts >= 1).all()
    assert (counts <= sizes).all()


def test_a_file_gives_the_counts(tmp_path: Path) -> None:
    # With a byte-order mark and blank lines at its end, as Windows writes it.
    (tmp_path / "counts.txt").write_bytes(b"\xef\xbb\xbf3, 2\r\n1\r\n\r\n")
    thinned = thin(dataset([5, 5, 5]), f"counts:{tmp_path / 'counts.txt'}")
    assert thinned.train.counts(3).tolist() == [3, 2, 1]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("3 2", "one whole number per class = 3, got 2"),
        ("3 2 x", "one whole number"),
        ("3 2 9", "1 to 5 images of class 2, got 9"),
        ("3 2 0", "1 to 5 images of class 2, got 0"),
    ],
)
def test_a_file_that_does_not_fit_is_refused(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "counts.txt").write_text(text)
    with pytest.raises(RequestError, match=message):
        thin(dataset([5, 5, 5]), f"counts:{tmp_path / 'counts.txt'}")


@pytest.mark.parametrize(
    "text",
    [
        *("exp", "exp:", "exp:0", "exp:2", "exp:x", "linear:0.1", "geometric:1", "geometric:-1"),
        *("exp:0.1,order=upwards", "exp:nan", "counts:/no/such/file"),
    ],
)
def test_other_rules_are_refused(text: str) -> None:
    with pytest.raises(RequestError, match="imbalance"):
        thin(dataset([5, 5]), text)


def test_rules_and_words_name_each_other() -> None:
    for text in ("exp:0.01", "step:0.1,order=size", "geometric:0.5,order=shuffled:2"):
        assert str(parse_long_tail(text)) == text


def test_groups_of_long_tailed_cifar_are_the_published_thirds() -> None:
    ten = groups(parse_long_tail("exp:0.01").counts(CIFAR10))
    assert {name: part.tolist() for name, part in ten.items()} == {
        "many": [0, 1, 2],
        "medium": [3, 4, 5, 6],
        "few": [7, 8, 9],
    }
    hundred = groups(parse_long_tail("exp:0.01").counts(CIFAR100))
    assert [len(part) for part in hundred.values()] == [36, 35, 29]
    turned = groups(parse_long_tail("exp:0.01,order=reversed").counts(CIFAR10))
    assert turned["few"].tolist() == [0, 1, 2]


def test_other_sets_are_grouped_by_their_counts() -> None:
    made = groups(np.array([101, 100, 20, 19]))
    assert {name: part.tolist() for name, part in made.items()} == {
        "many": [0],
        "medium": [1, 2],
        "few": [3],
    }
    assert list(groups(np.array([500, 400]))) == ["many"]


def test_a_factor_of_two_between_classes_is_an_imbalance() -> None:
    assert is_imbalanced(np.array([20, 10]))
    assert not is_imbalanced(np.array([19, 10]))
    assert is_imbalanced(np.array([2, 0]))
