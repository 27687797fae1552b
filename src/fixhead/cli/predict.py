"""``fixhead predict`` and ``fixhead embed``: the classes of pictures, and their features."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, cast

import typer

from .._errors import RequestError
from .options import AsJson, Device

if TYPE_CHECKING:
    from ..evaluation.predict import Prediction

STANDARD_INPUT = Path("-")


def predict(
    model: Annotated[
        Path,
        typer.Argument(
            metavar="RUN_DIR|MODEL",
            help="Give the folder of a run, its model.safetensors, or a file of fixhead export "
            "--to onnx.",
        ),
    ],
    images: Annotated[
        list[Path],
        typer.Argument(
            metavar="IMAGES...",
            help="Name image files, or folders with images; - reads a file's name from every line "
            "of standard input.",
        ),
    ],
    top: Annotated[int, typer.Option(help="Show this many classes.")] = 3,
    reject: Annotated[
        float | None,
        typer.Option(
            metavar="RATE",
            help="Call pictures unknown whose score is lower than that of all but this share of "
            "the validation images.",
            show_default=False,
        ),
    ] = None,
    score: Annotated[
        str | None,
        typer.Option(
            metavar="energy|largest-cosine|k-nearest|vim",
            help="Reject by this score, instead of the one that the model names.",
            show_default=False,
        ),
    ] = None,
    device: Device = "auto",
    as_json: AsJson = False,
    as_csv: Annotated[
        bool, typer.Option("--csv", help="Print rows of comma-separated values.")
    ] = False,
) -> None:
    """Say what a trained model sees in pictures, as soon as it is known.

    Probabilities are calibrated by the temperature that was found on validation, where the model
    has one. A picture that cannot be read is passed over and reported at the end, with status 1.
    """
    if as_json and as_csv:
        raise RequestError("--json and --csv exclude each other; say one of them")
    if score is not None and reject is None:
        raise RequestError("--score goes with --reject RATE")
    if top < 1:
        raise RequestError(f"--top must be 1 or more, got {top}")
    from ..evaluation.predict import Reject, image_files, open_for_pictures, predict_files

    rule = None if reject is None else Reject(reject, cast(Any, score))
    opened = open_for_pictures(model, device)
    files: Iterable[Path] = image_files(one for one in images if one != STANDARD_INPUT)
    if STANDARD_INPUT in images:
        files = _named_on(sys.stdin, files)
    unreadable: list[str] = []
    found = predict_files(opened, files, unreadable, top=top, reject=rule)
    shown = (_json if as_json else _csv if as_csv else _plain)(found)
    if not shown:
        if not unreadable:
            raise RequestError("predict needs image files, got none on standard input")
        more = f" (and {len(unreadable) - 1} more)" if len(unreadable) > 1 else ""
        raise RequestError(f"{unreadable[0]}{more}")
    _say_unreadable(unreadable, shown)


def _say_unreadable(unreadable: list[str], good: int) -> None:
    """The pictures that were passed over, on standard error; status 1 where there are any."""
    if not unreadable:
        return
    print(
        f"{len(unreadable)} of {good + len(unreadable)} pictures were passed over:", file=sys.stderr
    )
    for line in unreadable:
        print(f"  {line}", file=sys.stderr)
    raise typer.Exit(1)


def _named_on(lines: Iterable[str], files: Iterable[Path]) -> Iterator[Path]:
    yield from files
    for line in lines:
        if line.rstrip("\r\n"):
            yield Path(line.rstrip("\r\n"))


def _plain(found: Iterator[Prediction]) -> int:
    shown = 0
    for one in found:
        said = ", ".join(f"{name} {100 * value:.1f} %" for name, value in one.classes)
        unknown = "unknown; nearest: " if one.unknown else ""
        print(f"{one.image}: {unknown}{said}", flush=True)
        shown += 1
    return shown


def _json(found: Iterator[Prediction]) -> int:
    """A JSON array, an object a picture, printed as the answers come."""
    import json

    number = 0
    for number, one in enumerate(found, 1):
        text = json.dumps(one.to_dict(), indent=2, ensure_ascii=False)
        print("[" if number == 1 else ",")
        print("\n".join(f"  {line}" for line in text.splitlines()), end="", flush=True)
    if number:
        print("\n]")
    return number


def _csv(found: Iterator[Prediction]) -> int:
    """image, class, probability; then class_2, probability_2, …; unknown and score."""
    import csv

    writer, number = csv.writer(sys.stdout), 0
    for number, one in enumerate(found, 1):
        rejects = one.unknown is not None
        if number == 1:
            names = [("class", "probability")]
            names += [(f"class_{n}", f"probability_{n}") for n in range(2, len(one.classes) + 1)]
            known = ["unknown", "score"] if rejects else []
            writer.writerow(["image", *(name for pair in names for name in pair), *known])
        cells = [value for pair in one.classes for value in pair]
        verdict = [str(one.unknown).lower(), one.score] if rejects else []
        writer.writerow([one.image, *cells, *verdict])
        sys.stdout.flush()
    return number


def embed(
    model: Annotated[
        Path,
        typer.Argument(
            metavar="RUN_DIR|MODEL", help="Give the folder of a run, or its model.safetensors."
        ),
    ],
    folder: Annotated[
        Path, typer.Argument(metavar="FOLDER", help="Name a folder with pictures, at any depth.")
    ],
    out: Annotated[
        Path,
        typer.Option(
            metavar="FILE.npz|FILE.parquet", help="Write paths, labels and features to this file."
        ),
    ] = Path("features.npz"),
    overwrite: Annotated[bool, typer.Option(help="Replace a file that is there.")] = False,
    device: Device = "auto",
    as_json: AsJson = False,
) -> None:
    """Write what the last layer sees of a folder's pictures: a row of features for each.

    Class folders are labels. The file is data to train and to compare heads on in seconds, and says
    of what space the features are. A picture that cannot be read is passed over and reported at the
    end, with status 1.
    """
    if model.suffix == ".onnx":
        raise RequestError(
            f"embed needs a model's folder, got {model}: an ONNX file gives logits, no features"
        )
    from ..evaluation.embeddings import check_out, embed_folder
    from ..evaluation.predict import load
    from ..runs.records import dumps

    check_out(out, overwrite=overwrite)
    unreadable: list[str] = []
    found = embed_folder(load(model, device=device), folder, out, unreadable, overwrite=overwrite)
    if as_json:
        print(dumps(found.to_dict(), indent=2))
    else:
        pictures = sum(found.pictures.values())
        parts = ", ".join(f"{part} {number:,}" for part, number in found.pictures.items() if part)
        classes = "without labels" if found.classes is None else f"of {len(found.classes)} classes"
        print(
            f"{out}: features of {found.features} numbers for {pictures:,} pictures "
            f"{f'({parts}) ' if parts else ''}{classes}"
        )
        for note in found.notes:
            print(f"· {note}")
    _say_unreadable(unreadable, sum(found.pictures.values()))


def search(
    index: Annotated[
        Path, typer.Argument(metavar="INDEX", help="Name a file that fixhead embed wrote.")
    ],
    images: Annotated[
        list[Path], typer.Argument(metavar="IMAGES...", help="Name image files, or folders.")
    ],
    model: Annotated[
        Path,
        typer.Option(metavar="RUN_DIR|MODEL", help="Look at the images with this model's folder."),
    ],
    top: Annotated[int, typer.Option(help="Show this many pictures of the index.")] = 5,
    device: Device = "auto",
    as_json: AsJson = False,
) -> None:
    """Find the pictures of an index that look most like an image, by the cosine of their features.

    An index of another space is refused; one of another model on the same fixed class vectors is
    taken, and said to be.
    """
    if top < 1:
        raise RequestError(f"--top must be 1 or more, got {top}")
    import json
    from dataclasses import asdict

    from ..evaluation.embeddings import check_space, read_index, space_of
    from ..evaluation.predict import image_files, load

    found, opened, files = read_index(index), load(model, device=device), image_files(images)
    note = check_space(found.space, space_of(opened))
    if note is not None:
        print(f"· {note}", file=sys.stderr)
    answers = found.search(opened.embed(files), top)
    if as_json:
        rows = [
            {"image": str(file), "nearest": [asdict(one) for one in near]}
            for file, near in zip(files, answers, strict=True)
        ]
        print(json.dumps(rows, indent=2, ensure_ascii=False))
        return
    for file, near in zip(files, answers, strict=True):
        print(f"{file}:")
        for one in near:
            label = "" if one.label is None else f"  {one.label}"
            print(f"  {one.cosine:.3f}  {one.path}{label}")
