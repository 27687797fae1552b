"""What the loader does with a data set of the Hugging Face kind, without that package.

``test_hub.py`` asks the package itself, where it is installed; here a stand-in has the few names
and habits that the loader relies on.
"""

from __future__ import annotations

import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import pytest
from making import encoded, noise

from fixhead._errors import MissingExtraError, RequestError
from fixhead.data import load


class Image:
    """A feature; decoded unless it is asked not to be."""

    def __init__(self, decode: bool = True) -> None:
        self.decode = decode


class ClassLabel:
    def __init__(self, names: list[str]) -> None:
        self.names = names


class Value:
    """Any other feature."""


class Rows:
    """A split: columns of cells, and images that must not be decoded by the package."""

    def __init__(self, columns: dict[str, list[Any]], features: dict[str, Any]) -> None:
        self.columns, self.features = columns, features
        self._fingerprint = repr(sorted(columns))

    def __len__(self) -> int:
        return len(next(iter(self.columns.values())))

    def __getitem__(self, index: int) -> dict[str, Any]:
        undecoded = [name for name, kind in self.features.items() if getattr(kind, "decode", False)]
        assert not undecoded, f"{undecoded} would be decoded twice"
        return {name: cells[index] for name, cells in self.columns.items()}

    def cast_column(self, name: str, feature: Any) -> Rows:
        return Rows(self.columns, self.features | {name: feature})

    def with_format(self, kind: str) -> dict[str, Any]:
        assert kind == "numpy"
        return {name: np.asarray(cells) for name, cells in self.columns.items() if name != "image"}


def rows(number: int, *, inside: bool = True, folder: Path | None = None) -> Rows:
    """Pictures with their bytes inside, or only with paths into ``folder``."""
    cells = []
    for place in range(number):
        content = encoded(noise(4, 4, 3, seed=place))
        path = f"{place}.png"
        if folder is not None:
            path = str(folder / path)
            Path(path).write_bytes(content)
        cells.append({"bytes": content if inside else None, "path": path})
    labels = [place % 2 for place in range(number)]
    names = {"image": Image(), "label": ClassLabel(["cat", "dog"]), "weight": Value()}
    return Rows({"image": cells, "label": labels, "weight": [0.5] * number}, names)


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    """The stand-in for the package; ``hub.content`` is what any name or folder gives."""
    state = SimpleNamespace(content=None, asked=[])

    def give(name: str, **options: Any) -> Any:
        state.asked.append((name, options))
        if isinstance(state.content, Exception):
            raise state.content
        return state.content

    module: Any = ModuleType("datasets")
    module.Image, module.load_dataset, module.load_from_disk = Image, give, give
    monkeypatch.setitem(sys.modules, "datasets", module)
    return state


def test_a_name_is_fetched_and_its_parts_are_kept(hub: SimpleNamespace, tmp_path: Path) -> None:
    hub.content = {"train": rows(6), "validation": rows(2), "test": rows(4)}
    data = load("hf:owner/pets", data_dir=tmp_path)
    assert hub.asked == [("owner/pets", {"cache_dir": str(tmp_path)})]
    assert (data.classes, len(data.train), len(data.test)) == (("cat", "dog"), 6, 4)
    expected = np.stack([noise(4, 4, 3, seed=n) for n in range(6)]).transpose(0, 3, 1, 2)
    np.testing.assert_array_equal(data.train.images[:], expected)
    assert data.train.labels.tolist() == [0, 1, 0, 1, 0, 1]


def test_one_part_gives_a_fifth_to_the_test_part(hub: SimpleNamespace) -> None:
    hub.content = rows(20)
    data = load("hf:owner/one-part")
    assert (len(data.train), data.test.counts(2).tolist()) == (16, [2, 2])
    assert any("no test part" in note for note in data.notes)


def test_a_saved_folder_is_told_from_an_image_folder(hub: SimpleNamespace, tmp_path: Path) -> None:
    hub.content = {"train": rows(8)}
    (tmp_path / "dataset_dict.json").write_text("{}")
    assert len(load(str(tmp_path)).train) == 6
    assert hub.asked == [(str(tmp_path), {})]


def test_pictures_may_lie_in_files_of_their_own(hub: SimpleNamespace, tmp_path: Path) -> None:
    hub.content = {"train": rows(4, inside=False, folder=tmp_path), "test": rows(2)}
    data = load("hf:owner/paths")
    np.testing.assert_array_equal(data.train.images[3], noise(4, 4, 3, seed=3).transpose(2, 0, 1))


@pytest.mark.parametrize("missing", ["image", "label"])
def test_without_pictures_or_class_labels_it_is_refused(hub: SimpleNamespace, missing: str) -> None:
    whole = rows(4)
    features = {"other" if name == missing else name: kind for name, kind in whole.features.items()}
    hub.content = {"train": Rows(whole.columns, features | {"other": Value()})}
    with pytest.raises(RequestError, match=r"other \(Value\).*multi-label"):
        load("hf:owner/lacking")


def test_labels_that_nobody_gave_are_refused(hub: SimpleNamespace) -> None:
    whole = rows(4)
    hub.content = {"train": Rows(whole.columns | {"label": [-1] * 4}, whole.features)}
    with pytest.raises(RequestError, match="label -1 in row 0 of the train part"):
        load("hf:owner/unlabelled")


def test_whatever_the_package_raises_is_one_sentence(hub: SimpleNamespace) -> None:
    hub.content = ConnectionError("no route to host")
    with pytest.raises(RequestError, match=r"'hf:owner/pets' cannot be had .*no route to host"):
        load("hf:owner/pets")


def test_without_the_package_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "datasets", None)
    with pytest.raises(MissingExtraError, match=r"fixhead\[hf\]"):
        load("hf:owner/pets")
