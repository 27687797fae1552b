"""``fixhead vectors``: make class vectors, print their certificate, save them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from .._errors import RequestError
from .options import AsJson

if TYPE_CHECKING:
    from torch import Tensor

_DTYPES = ("float64", "float32", "float16", "bfloat16")


def vectors(
    name: Annotated[
        str,
        typer.Argument(
            help="Name a construction; 'best' takes the recommended one, 'list' shows all."
        ),
    ],
    classes: Annotated[
        int | None, typer.Option(help="Make vectors for this many classes K.", show_default=False)
    ] = None,
    features: Annotated[
        int | None,
        typer.Option(help="Make vectors for features of this size d.", show_default=False),
    ] = None,
    seed: Annotated[int, typer.Option(help="Start random constructions from this seed.")] = 0,
    option: Annotated[
        list[str] | None,
        typer.Option(
            help="Set an option of the construction as NAME=VALUE. Repeatable.", show_default=False
        ),
    ] = None,
    load: Annotated[
        Path | None,
        typer.Option(help="Let from_tensor read this safetensors file.", show_default=False),
    ] = None,
    dtype: Annotated[
        str, typer.Option(help=f"Make numbers of this type: {', '.join(_DTYPES)}.")
    ] = "float32",
    save: Annotated[
        Path | None,
        typer.Option(help="Write the vectors to this safetensors file.", show_default=False),
    ] = None,
    overwrite: Annotated[bool, typer.Option(help="Let --save replace a file.")] = False,
    as_json: AsJson = False,
) -> None:
    """Make class vectors and print how good they are.

    A construction's own options go by --option, e.g. --option rotate=false; lists by commas.
    """
    if name == "list":
        _show_list(as_json)
        return
    if (load is None) == (name == "from_tensor"):
        raise RequestError("--load FILE and the construction from_tensor need each other")
    options = dict(_parse(text) for text in option or ())
    if dtype not in _DTYPES:
        raise RequestError(f"--dtype must be one of {', '.join(_DTYPES)}, got {dtype!r}")
    if not 0 <= seed < 2**63:
        raise RequestError(f"--seed must be between 0 and 2**63 - 1, got {seed}")
    if load is None:
        _need_sizes(name, classes, features)
    from ..geometry.certificate import certify
    from ..vectors.given import check_writable, load_vectors, save_vectors

    if save is not None:
        check_writable(save, overwrite=overwrite)
    if load is not None:
        options["tensor"] = load_vectors(load)
        classes, features = _shape(options["tensor"], classes, features)
    construction, reason, rows = _make(name, classes, features, seed, options, dtype)
    facts = {**certify(rows, construction=construction).to_dict(), **reason}
    if save is not None:
        options.pop("tensor", None)
        origin = {"construction": construction, "seed": seed, "options": options}
        save_vectors(save, rows, origin, overwrite=overwrite)
    if as_json:
        typer.echo(json.dumps(facts, indent=2, allow_nan=False))
    else:
        _show(facts, save)


def _shape(
    tensor: Tensor, classes: int | None, features: int | None
) -> tuple[int | None, int | None]:
    """--classes and --features may be left out where a file says them."""
    if tensor.ndim != 2:
        return classes, features
    K, d = tensor.shape
    return K if classes is None else classes, d if features is None else features


def _make(
    name: str,
    classes: int | None,
    features: int | None,
    seed: int,
    options: dict[str, Any],
    dtype: str,
) -> tuple[str, dict[str, str], Tensor]:
    """The construction's name, why it was chosen (for ``best``), and its rows."""
    import torch

    from .. import vectors as room
    from ..vectors._request import check_options

    classes, features = _need_sizes(name, classes, features)
    generator, kind = torch.Generator().manual_seed(seed), getattr(torch, dtype)
    if name == "best":
        check_options("best", room.best, options)
        chosen = room.best(classes, features, **options)
        return chosen.name, {"reason": chosen.reason}, chosen.build(generator=generator, dtype=kind)
    rows = room.build(name, classes, features, generator=generator, dtype=kind, **options)
    return name, {}, rows


def _need_sizes(name: str, classes: int | None, features: int | None) -> tuple[int, int]:
    if classes is None or features is None:
        missing = "--classes" if classes is None else "--features"
        raise RequestError(f"fixhead vectors {name} needs {missing}, got none")
    return classes, features


def _parse(text: str) -> tuple[str, Any]:
    """``rotate=false`` → ("rotate", False); ``counts=5,3`` → ("counts", [5, 3])."""
    name, equals, value = text.partition("=")
    if not equals or not name:
        raise RequestError(f"--option must be NAME=VALUE, got {text!r}")
    if "," in value:
        return name.strip(), [_value(part) for part in value.split(",")]
    return name.strip(), _value(value)


def _value(text: str) -> bool | int | float | str:
    text = text.strip()
    if text.lower() in ("true", "false"):
        return text.lower() == "true"
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return text


def _show(facts: dict[str, Any], saved: Path | None) -> None:
    from rich.console import Console
    from rich.table import Table

    from ..geometry.certificate import Certificate

    console = Console(highlight=False)
    reason = facts.pop("reason", None)
    table = Table(show_header=False)
    for line in Certificate(**facts).table():
        table.add_row(*line)
    console.print(table)
    if reason is not None:
        console.print(f"Chosen because {reason}.")
    if saved is not None:
        console.print(f"Saved: {saved}", soft_wrap=True)


def _show_list(as_json: bool) -> None:
    from rich.console import Console
    from rich.table import Table

    from ..vectors.registry import CONSTRUCTIONS

    if as_json:
        rows = {
            name: {
                "formula": known.formula,
                "source": known.source,
                "accepts": known.accepts,
                "options": list(known.options),
            }
            for name, known in CONSTRUCTIONS.items()
        }
        typer.echo(json.dumps(rows, indent=2, ensure_ascii=False))
        return
    table = Table("name", "accepts", "formula", "its options")
    table.columns[0].no_wrap = True
    for name, known in CONSTRUCTIONS.items():
        table.add_row(name, known.accepts, known.formula, ", ".join(known.options))
    Console(highlight=False).print(table)
