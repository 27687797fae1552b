"""CUB-200-2011: 200 kinds of birds, listed in text files beside ``images/``.

``images.txt`` (number, path), ``image_class_labels.txt`` (number, class from 1),
``train_test_split.txt`` (number, 1 for training), ``classes.txt`` (class, name).

Source: Wah et al. 2011.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from ..._errors import RequestError
from ..cache import Entry
from ..dataset import Labels
from ..encoded import Files, Part, Source
from .lists import read_lines
from .request import Request

FOLDER = "CUB_200_2011"


def load_cub(request: Request) -> Entry:
    """5,994 training and 5,794 test photographs, brought to one size.

    Raises:
        RequestError: missing lists, lists that disagree, or a path that leads out of the folder.
    """
    root = request.find((f"{FOLDER}/images.txt", "images.txt"), ()).parent
    paths = _column(root / "images.txt")
    labels = _column(root / "image_class_labels.txt")
    training = _column(root / "train_test_split.txt")
    names = _column(root / "classes.txt")
    if not paths.keys() == labels.keys() == training.keys():
        raise RequestError(f"the lists in {root} need the same image numbers; download it again")
    files = [_inside(root / "images", paths[number]) for number in paths]
    index = {number: place for place, number in enumerate(names)}
    targets = np.asarray([_known(index, labels[number], root) for number in paths], dtype=np.int64)
    chosen = np.asarray([training[number] == "1" for number in paths])
    train, test = (_part(files, targets, np.flatnonzero(which)) for which in (chosen, ~chosen))
    classes = tuple(names.values())
    return request.open(
        Source(
            request.name,
            request.fingerprint(files),
            classes,
            train,
            test,
            (),
            request.image_size,
            3,
        )
    )


def _part(files: list[Path], labels: Labels, places: Labels) -> Part:
    return Part(Files([files[place] for place in places]), labels[places])


def _column(path: Path) -> dict[str, str]:
    lines = (line.split(maxsplit=1) for line in read_lines(path))
    return {line[0]: line[1].strip() for line in lines if len(line) == 2}


def _inside(root: Path, name: str) -> Path:
    path = root / name
    try:
        inside = path.resolve().is_relative_to(root.resolve()) and path.is_file()
    except (OSError, ValueError):  # no name that a file can have
        inside = False
    if not inside:
        raise RequestError(f"images.txt needs names of files inside {root}, got {name!r}")
    return path


def _known(index: dict[str, int], label: str, root: Path) -> int:
    if label not in index:
        raise RequestError(f"{root} needs class numbers out of classes.txt, got {label!r}")
    return index[label]
