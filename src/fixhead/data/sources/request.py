"""What was asked of a loader, and where its files are looked for."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from ..._errors import RequestError
from ..cache import Entry, fingerprint
from ..encoded import Progress, Source, open_source


@dataclass(frozen=True)
class Request:
    """A name or path with everything else that decides what a loader answers.

    ``native`` is the size that a named set's images have where they are not resized; ``progress``
    is told how many images are decoded; ``used`` collects the files that a loader reads.
    """

    name: str
    data_dir: Path | None = None
    cache_dir: Path | None = None
    image_size: int | None = None
    stream: bool | None = None
    native: int | None = None
    progress: Progress | None = field(default=None, compare=False)
    used: list[Path] = field(default_factory=list, compare=False)

    def fingerprint(self, files: Iterable[Path]) -> str:
        """The digest of the files that decide the content; they are noted in ``used``."""
        found = list(files)
        self.used.extend(found)
        return fingerprint(found)

    def root(self, needed: str) -> Path:
        """The folder given as ``--data-dir``.

        Raises:
            RequestError: none was given, or it is no folder.
        """
        if self.data_dir is None:
            raise RequestError(
                f"data {self.name!r} needs --data-dir, the folder that holds its files ({needed})"
            )
        root = Path(self.data_dir).expanduser()
        if not root.is_dir():
            raise RequestError(f"--data-dir needs an existing folder, got {root}")
        return root

    def find(self, names: tuple[str, ...], inside: tuple[str, ...]) -> Path:
        """The first of ``names`` (files or folders) in the data folder or in one of ``inside``.

        Raises:
            RequestError: none of them is there.
        """
        root = self.root(names[0])
        for folder in (root, *(root / place for place in inside)):
            for name in names:
                if (folder / name).exists():
                    return folder / name
        places = " or ".join([str(root), *(f"its {place}" for place in inside)])
        raise RequestError(
            f"data {self.name!r} needs {' or '.join(names)} in {places}, and found none; check "
            "--data-dir"
        )

    def open(self, source: Source) -> Entry:
        """Decode a source of encoded images into the cache, or stream it."""
        return open_source(
            source, cache_dir=self.cache_dir, stream=self.stream, progress=self.progress
        )
