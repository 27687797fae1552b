"""``fixhead evaluate``: everything about a trained model on a test set."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Any, Literal, cast

import typer

from ..data.reading import Reading
from .options import (
    READING,
    AsJson,
    Config,
    DataDir,
    Device,
    RunTimeout,
    configured,
    split_list,
    use_threads,
    workers_for,
)


@configured(*READING)
def evaluate(
    reading: dict[str, Any],
    model: Annotated[
        Path,
        typer.Argument(
            metavar="RUN_DIR|MODEL",
            help="Give the folder of a run or of a comparison, a model file, a file of fixhead "
            "export --to onnx, or with --architecture a file of weights.",
        ),
    ],
    data: Annotated[
        str | None,
        typer.Option(help="Test on this data set instead of that of training.", show_default=False),
    ] = None,
    data_dir: DataDir = None,
    also: Annotated[
        list[str] | None,
        typer.Option(
            help="Also test on this set of the same classes, a name or a folder. Repeatable.",
            show_default=False,
        ),
    ] = None,
    outside: Annotated[
        list[str] | None,
        typer.Option(
            help="Tell the test set from this set of other classes. Repeatable.",
            show_default=False,
        ),
    ] = None,
    corruptions: Annotated[
        str | None,
        typer.Option(
            help="Corrupt the test set: kinds by commas, paper for those of the paper, or all.",
            show_default=False,
        ),
    ] = None,
    severities: Annotated[
        str, typer.Option(help="Corrupt at these severities of 1 to 5.")
    ] = "1,2,3,4,5",
    frost: Annotated[
        Path | None,
        typer.Option(
            help="Take the photographs of frost from this folder; only frost needs them.",
            show_default=False,
        ),
    ] = None,
    corruptions_dir: Annotated[
        Path | None,
        typer.Option(
            help="Read corrupted pictures from CIFAR-10-C, CIFAR-100-C or Tiny-ImageNet-C, instead "
            "of making them.",
            show_default=False,
        ),
    ] = None,
    baseline: Annotated[
        str | None,
        typer.Option(help="Hold the other heads against this one.", show_default=False),
    ] = None,
    projection: Annotated[
        str,
        typer.Option(
            help="Draw these views of the features: class-plane, pca, tsne, umap, or none."
        ),
    ] = "class-plane,pca",
    architecture: Annotated[
        str | None,
        typer.Option(
            help="Build timm:NAME or torchvision:NAME for a file of weights.", show_default=False
        ),
    ] = None,
    mean: Annotated[
        str | None,
        typer.Option(
            help="Subtract this from each channel, as the training of the weights did; by default "
            "the mean of the data.",
            show_default=False,
        ),
    ] = None,
    std: Annotated[
        str | None,
        typer.Option(
            help="Divide each channel by this, as the training of the weights did; by default the "
            "deviation of the data.",
            show_default=False,
        ),
    ] = None,
    image_size: Annotated[
        int | None,
        typer.Option(
            help="Resize the images to this many pixels, where --architecture is given.",
            show_default=False,
        ),
    ] = None,
    weights: Annotated[
        str | None,
        typer.Option(
            metavar="ema|raw",
            help="Take the averaged or the raw weights of a file that has both (default: ema).",
            show_default=False,
        ),
    ] = None,
    batch_size: Annotated[int, typer.Option(help="Evaluate this many images at a time.")] = 256,
    device: Device = "auto",
    threads: Annotated[
        int | None,
        typer.Option(
            min=1,
            help="Compute with this many processor threads: by default all, unless "
            "OMP_NUM_THREADS says how many.",
            show_default=False,
        ),
    ] = None,
    jobs: Annotated[
        int | None,
        typer.Option(
            help="Measure this many models or corruptions at once, each in a process of its own. "
            "By default as many as the processor has cores for at --threads, and one on a GPU.",
            envvar="FIXHEAD_JOBS",
            show_default=False,
        ),
    ] = None,
    run_timeout: RunTimeout = None,
    out: Annotated[
        Path | None,
        typer.Option(
            help="Write evaluation.json and its page into this folder, not beside the model."
        ),
    ] = None,
    overwrite: Annotated[
        bool, typer.Option(help="Replace an evaluation.json that is there.")
    ] = False,
    as_json: AsJson = False,
    config: Config = None,
) -> None:
    """Measure accuracy, calibration, collapse and geometry of trained models; nothing is trained.

    Writes evaluation.json, and evaluation.html, a page that needs no network. Any timm or
    torchvision classifier with saved weights goes too:
    fixhead evaluate weights.pth --architecture timm:resnet18 --data cifar10
    """
    from .._errors import RequestError
    from ..evaluation.corruptions import Corruptions, parse_kinds
    from ..evaluation.evaluate import EvaluationRequest, evaluate_saved, show_evaluation
    from ..evaluation.third_party import ThirdPartyWeights
    from ..runs.records import dumps

    chosen = None
    if corruptions is None and corruptions_dir is not None:
        corruptions = "all"
    if corruptions is not None:
        try:
            steps = tuple(int(word) for word in split_list(severities))
        except ValueError:
            raise RequestError(f"--severities must be whole numbers, got {severities!r}") from None
        kinds = parse_kinds(corruptions, frost=frost is not None or corruptions_dir is not None)
        chosen = Corruptions(kinds, steps, frost, corruptions_dir)
    third_party = None
    if architecture is not None:
        if weights not in (None, "ema", "raw"):
            raise RequestError(f"--weights must be ema or raw, got {weights!r}")
        third_party = ThirdPartyWeights(
            architecture,
            _numbers("--mean", mean),
            _numbers("--std", std),
            cast("Literal['ema', 'raw'] | None", weights),
        )
    elif any(given is not None for given in (mean, std, image_size, weights)):
        raise RequestError("--mean, --std, --image-size and --weights go with --architecture only")
    request = EvaluationRequest(
        model,
        data,
        data_dir,
        tuple(also or ()),
        chosen,
        baseline,
        device,
        batch_size,
        projections=() if projection == "none" else tuple(split_list(projection)),
        outside=tuple(outside or ()),
        third_party=third_party,
        image_size=image_size,
        reading=Reading(**reading),
    )
    use_threads(threads)
    found = evaluate_saved(
        request,
        out=out,
        overwrite=overwrite,
        say=lambda line: print(line, file=sys.stderr, flush=True),
        workers=workers_for(jobs, run_timeout, device, "fixhead.evaluation.evaluate"),
    )
    print(dumps(found, indent=2)) if as_json else show_evaluation(found)


def _numbers(option: str, text: str | None) -> tuple[float, ...] | None:
    from .._errors import RequestError

    try:
        return None if text is None else tuple(float(word) for word in split_list(text))
    except ValueError:
        raise RequestError(f"{option} must be numbers by commas, got {text!r}") from None
