"""Options that several commands share, and --config."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from dataclasses import fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from .._errors import RequestError
from ..comparison.config import Comparison
from ..data.reading import Reading, read_long_tail
from ..training.recipe import Recipe, help_of

if TYPE_CHECKING:
    from ..runs.pool import Workers


def load_config(context: typer.Context, path: Path | None) -> Path | None:
    """Let a TOML file give the defaults of this command's options; the command line wins."""
    if path is None or context.resilient_parsing:
        return path
    import tomllib

    try:
        values = tomllib.loads(path.read_text(encoding="utf-8-sig"))
    except OSError as error:
        raise RequestError(
            f"--config needs a readable file, got {path}: {error.strerror}"
        ) from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise RequestError(f"--config needs TOML, got {path}: {error}") from None
    names = {
        option.lstrip("-").replace("-", "_"): parameter.name
        for parameter in context.command.params
        for option in parameter.opts
        if parameter.name != "config"
    }
    chosen = {name.replace("-", "_"): value for name, value in values.items()}
    unknown = sorted(set(chosen) - set(names))
    if unknown:
        raise RequestError(
            f"--config {path} sets {unknown[0]!r}, which is no option of this command; "
            f"known: {', '.join(sorted(names))}"
        )
    joined = {
        names[name]: ",".join(map(str, value)) if isinstance(value, list) else value
        for name, value in chosen.items()
    }
    context.default_map = {**(context.default_map or {}), **joined}
    return path


Config = Annotated[
    Path | None,
    typer.Option(
        is_eager=True,
        callback=load_config,
        help="Take options from this TOML file; the command line wins.",
        show_default=False,
    ),
]


Threads = Annotated[
    int | None,
    typer.Option(
        min=1,
        help="Compute with this many processor threads: by default 1 for small-cnn, else all, "
        "unless OMP_NUM_THREADS says how many.",
        show_default=False,
    ),
]
On = Annotated[
    str | None,
    typer.Option(
        help="Do the runs on a Ray cluster: `ray` starts one on this machine, `ray:ADDRESS` joins "
        "one. Every node needs this fixhead, and the data under the same path.",
        show_default=False,
    ),
]
RunCpus = Annotated[
    float | None,
    typer.Option(
        help="Processors that a run takes of a cluster's node: by default its threads.",
        show_default=False,
    ),
]
RunGpus = Annotated[
    float | None,
    typer.Option(
        help="GPUs that a run takes of a cluster's node, or a part of one: by default 1 where "
        "--device names a GPU, else none.",
        show_default=False,
    ),
]
DataDir = Annotated[
    Path | None, typer.Option(help=help_of(Comparison, "data_dir"), show_default=False)
]
ImageSize = Annotated[
    int | None, typer.Option(help=help_of(Comparison, "image_size"), show_default=False)
]
Device = Annotated[str, typer.Option(help=help_of(Comparison, "device"))]
Jobs = Annotated[
    int | None,
    typer.Option(
        help="Do this many runs at once, each in a process of its own. By default as many as the "
        "processor has cores for, at the threads of one run, and one on a GPU.",
        envvar="FIXHEAD_JOBS",
        show_default=False,
    ),
]
RunTimeout = Annotated[
    float | None,
    typer.Option(
        help="Stop a run after this many seconds, and begin it again, from its last checkpoint "
        "where it trains.",
        show_default=False,
    ),
]
CheckpointEvery = Annotated[
    float, typer.Option(help="Save an unfinished run whenever this many seconds have passed.")
]
AsJson = Annotated[bool, typer.Option("--json", help="Print the result as JSON.")]

_TYPES = {
    "data_dir": Path | None,
    "image_size": int | None,
    **dict.fromkeys((one.name for one in fields(Reading)), str | None),
    "skip_unreadable": bool,
    "max_pixels": int | None,
    "imbalance": str | None,
    "features": int | None,
    "heads": str,
    "tune": str | None,
}
"""What is typed for a field, where its default does not show it."""

READING = tuple(one.name for one in fields(Reading))
"""The options that say how data are read."""

_TYPED = {"heads": ",".join(Comparison.heads), "tune": None}
"""The defaults of the options that hold lists, as they are typed."""


def configured(*names: str) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Give a command the options of these fields of ``Comparison`` and ``Recipe``, before its own.

    Defaults and help are the fields'. The command gets their values in one mapping, by name, as
    its first argument; ``comparison_of`` makes a comparison of it.
    """

    def decorate(command: Callable[..., None]) -> Callable[..., None]:
        def parsed(**values: Any) -> None:
            command({name: values.pop(name) for name in names}, **values)

        _, *others = inspect.signature(command, eval_str=True).parameters.values()
        needed = [one for one in others if one.default is inspect.Parameter.empty]
        rest = [one for one in others if one not in needed]
        shown = inspect.Signature([*needed, *map(_option, names), *rest])
        parsed.__name__, parsed.__doc__ = command.__name__, command.__doc__
        parsed.__signature__ = shown  # type: ignore[attr-defined]
        parsed.__annotations__ = {one.name: one.annotation for one in shown.parameters.values()}
        return parsed

    return decorate


def _option(name: str) -> inspect.Parameter:
    owner = Recipe if hasattr(Recipe, name) else Comparison
    default = _TYPED.get(name, getattr(owner, name))
    flags = ("--compile",) if name == "compile" else ()  # there is no --no-compile
    option = typer.Option(*flags, help=help_of(owner, name), show_default=default is not None)
    kind = Annotated[_TYPES.get(name, type(default)), option]  # type: ignore[valid-type]
    return inspect.Parameter(
        name, inspect.Parameter.POSITIONAL_OR_KEYWORD, default=default, annotation=kind
    )


def comparison_of(values: Mapping[str, Any]) -> Comparison:
    """The comparison that these options ask for.

    Raises:
        RequestError: a value that its option cannot have; what can be seen without torch is
            refused before torch is imported.
    """
    rest = dict(values)
    recipe = {name: rest.pop(name) for name in values if hasattr(Recipe, name)}
    Recipe.from_dict(recipe)
    Reading(**{name: rest[name] for name in READING if name in rest})
    rest["tune"] = parse_tune(rest.get("tune"))
    if rest.get("imbalance") is not None:
        read_long_tail(rest["imbalance"])
    if rest.get("data_dir") is not None:
        rest["data_dir"] = str(rest["data_dir"])
    from ..heads.spec import split_heads

    rest["heads"] = split_heads(rest["heads"]) if isinstance(rest["heads"], str) else rest["heads"]
    return Comparison.from_dict(rest | {"recipe": recipe})


def use_threads(threads: int | None, *backbones: str, processes: int = 1) -> None:
    """Settle how many processor threads this process, of so many that share a run, computes with,
    for these backbones.

    A step of the small network takes about two milliseconds: on two threads it took half as long
    again as on one, because they wait for each other (measured on two virtual cores).
    """
    import os

    import torch

    from ..runs.pool import jobs_that_fit

    if threads is None and "OMP_NUM_THREADS" not in os.environ:
        if set(backbones) == {"small-cnn"}:
            threads = 1
        elif processes > 1:
            threads = jobs_that_fit("cpu", processes)
    if threads is not None:
        torch.set_num_threads(threads)


def workers_for(
    jobs: int | None,
    run_timeout: float | None,
    device: str,
    *modules: str,
    on: str | None = None,
    run_cpus: float | None = None,
    run_gpus: float | None = None,
) -> Workers:
    """How many runs at once, and where, after ``use_threads`` has settled the threads of one.

    The server of their processes imports ``modules``, where the runs are done, from now on.

    Raises:
        RequestError: ``on`` is no cluster, or is missing where its processors are named.
    """
    if on is None and (run_cpus, run_gpus) != (None, None):
        raise RequestError("--run-cpus and --run-gpus are for the nodes of a cluster: see --on")
    import torch

    from ..runs.pool import Workers, jobs_that_fit, start_server
    from ..training.engine import resolve_device

    if on is not None:
        from ..runs.on_ray import RayWorkers, parse_on

        gpus = 0.0 if device in ("auto", "cpu") else 1.0
        nodes = RayWorkers(
            run_timeout_s=run_timeout,
            address=parse_on(on),
            cpus=torch.get_num_threads() if run_cpus is None else run_cpus,
            gpus=gpus if run_gpus is None else run_gpus,
        )
        return nodes if jobs is None else replace(nodes, jobs=jobs)
    if jobs is None:
        jobs = jobs_that_fit(resolve_device(device).type, torch.get_num_threads())
    workers = Workers(jobs, run_timeout_s=run_timeout)
    if jobs > 1:
        start_server(*modules)
    return workers


def split_list(text: str) -> tuple[str, ...]:
    """``"a, b,c"`` → ``("a", "b", "c")``."""
    return tuple(part.strip() for part in text.split(",") if part.strip())


def parse_tune(text: str | None) -> tuple[float, ...]:
    """``"lr=0.01,0.1"`` → ``(0.01, 0.1)``."""
    if text is None:
        return ()
    name, equals, rates = text.partition("=")
    if name.strip() != "lr" or not equals:
        raise RequestError(f"--tune must be lr=RATE,RATE,…, got {text!r}")
    try:
        return tuple(float(rate) for rate in split_list(rates))
    except ValueError:
        raise RequestError(f"--tune must be lr=RATE,RATE,… with numbers, got {text!r}") from None
