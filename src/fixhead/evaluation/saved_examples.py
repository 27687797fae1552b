"""Pictures of a model's worst confusions, kept beside its record."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from .._files import replace_file
from ..data import Split
from . import Evaluation, confused_examples

MOST_CLASSES = 2_000
"""Above so many classes no pairs are searched."""


def save_examples(folder: Path, file: str, split: Split, test: Evaluation) -> dict[str, Any] | None:
    """What ``confused_examples`` says, with the sheet written to ``folder/file``; None without."""
    if test.classes > MOST_CLASSES:
        return None
    found = confused_examples(split.images, split.labels, test.predictions, test.confusion)
    if found is None:
        return None
    facts, sheet = found
    (folder / file).parent.mkdir(parents=True, exist_ok=True)
    replace_file(folder / file, lambda draft: draft.write_bytes(sheet))
    return facts | {"file": file}
