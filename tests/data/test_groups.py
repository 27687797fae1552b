"""Images of one group stay on one side of every cut."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from making import encoded, noise, put_image, write_tar

from fixhead._errors import RequestError
from fixhead.data import holdout_split, load, validation_split
from fixhead.data.reading import Reading


@pytest.mark.parametrize("seed", range(5))
def test_no_group_is_cut_and_the_numbers_are_near(seed: int) -> None:
    draw = np.random.default_rng(seed)
    groups = np.repeat(np.arange(60), draw.integers(1, 9, 60))
    labels = (groups % 3).astype(np.int64)
    first, second = validation_split(labels, seed=seed, groups=groups)
    assert not set(groups[first]) & set(groups[second])
    assert sorted([*first, *second]) == list(range(len(labels)))
    share = np.bincount(labels[second], minlength=3) / np.bincount(labels)
    assert ((share > 0) & (share < 0.25)).all()


def test_groups_of_several_classes_stay_whole_too() -> None:
    groups = np.repeat(np.arange(40), 5)
    labels = np.tile(np.arange(5), 40)
    first, second = holdout_split(labels, groups=groups)
    assert not set(groups[first]) & set(groups[second])
    assert len(second) == 40


def test_single_images_as_groups_are_cut_as_without() -> None:
    labels = np.arange(100) % 4
    second = validation_split(labels, seed=0, groups=np.arange(100))[1]
    plain = validation_split(labels, seed=0)[1]
    assert np.bincount(labels[second]).tolist() == np.bincount(labels[plain]).tolist()


def test_one_group_for_all_cannot_be_cut() -> None:
    labels = np.arange(10) % 2
    with pytest.raises(RequestError, match="--keep-together leaves 1 groups"):
        validation_split(labels, seed=0, groups=np.zeros(10, dtype=np.int64))


def put_patients(root: Path) -> Path:
    for number in range(40):
        name = f"patient{number // 4:02d}_{number % 4}.png"
        put_image(root / ("ill" if number % 8 < 4 else "well") / name, noise(4, 4, seed=number))
    return root


def patients(root: Path, keep_together: str) -> tuple[np.ndarray, np.ndarray]:
    data = load(str(root), reading=Reading(keep_together=keep_together))
    assert data.train.groups is not None
    first, second = validation_split(data.train.labels, seed=0, groups=data.train.groups)
    return data.train.groups[first], data.train.groups[second]


@pytest.mark.parametrize("keep_together", [r"patient\d+", r"(patient\d+)_\d", "FILE"])
def test_a_pattern_or_a_file_names_the_groups(tmp_path: Path, keep_together: str) -> None:
    root = put_patients(tmp_path / "patient99")  # the folder's own name is no group
    if keep_together == "FILE":
        files = sorted(root.rglob("*.png"))
        lines = [f"{path.name},{path.name.partition('_')[0]}" for path in files]
        (tmp_path / "groups.csv").write_text("\n".join(lines))
        keep_together = str(tmp_path / "groups.csv")
    first, second = patients(root, keep_together)
    assert not set(first) & set(second)
    assert len({*first, *second}) == 8  # two of ten patients are the test part


def test_members_of_shards_have_groups_by_their_names(tmp_path: Path) -> None:
    members = {}
    for number in range(40):
        members[f"video{number // 4}.{number}.png"] = encoded(noise(4, 4, seed=number))
        members[f"video{number // 4}.{number}.cls"] = b"%d" % (number // 4 % 2)
    write_tar(tmp_path / "d" / "train-0.tar", members)
    data = load(str(tmp_path / "d"), image_size=4, reading=Reading(keep_together=r"video\d+"))
    assert data.train.groups is not None
    assert len(set(data.train.groups)) == 8
    assert len(data.train) == 32


def test_rows_of_features_have_groups_by_an_array(tmp_path: Path) -> None:
    subject = np.arange(40) // 4
    arrays = {"features": noise(40, 3).astype(np.float32), "labels": subject % 2}
    np.savez(tmp_path / "x.npz", subject=subject, **arrays)
    data = load(str(tmp_path / "x.npz"), reading=Reading(keep_together="subject"))
    assert data.train.groups is not None
    assert len(set(data.train.groups)) == 8
    with pytest.raises(RequestError, match=r"name of an array .* it holds subject, features"):
        load(str(tmp_path / "x.npz"), reading=Reading(keep_together="video"))


def test_a_pattern_that_is_none_is_refused() -> None:
    with pytest.raises(RequestError, match="--keep-together needs a file, or a regular expression"):
        Reading(keep_together="(")
