"""A timm or torchvision classifier with saved weights, seen as one of ours.

Its last Linear becomes a ``learned-dot`` head with the very same weights and bias; what stands
before it becomes the backbone. Nothing else is changed, so logits stay what they were.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from .._errors import RequestError
from ..backbones.external import build_full, probed
from ..data.catalogue import load
from ..data.dataset import Dataset
from ..data.reading import Reading, natural_key
from ..heads.head import ClassificationHead
from ..heads.locate import locate
from ..heads.spec import parse_head
from ..training.model import Classifier
from .checkpoints import SavedModel, SavedModels, checked
from .weights import Weights, WeightsChoice, read_weights

HEAD = "learned-dot"


@dataclass(frozen=True)
class ThirdPartyWeights:
    """What the weights file does not say.

    Args:
        architecture: ``timm:NAME``, a bare timm name, or ``torchvision:NAME``.
        mean, std: per channel, of images in [0, 1], as in its training; by default the data set's.
        choice: averaged (EMA) or raw weights, where the file has both.
    """

    architecture: str
    mean: tuple[float, ...] | None = None
    std: tuple[float, ...] | None = None
    choice: WeightsChoice | None = None


def open_third_party(
    path: Path,
    wanted: ThirdPartyWeights,
    data: str | None,
    data_dir: Path | None,
    image_size: int | None,
    reading: Reading | None = None,
) -> SavedModels:
    """The weights of ``path``, for the classes of the data set ``data``.

    Raises:
        RequestError: no file, no data set, or as ``load_third_party``.
    """
    if data is None:
        raise RequestError("--data is needed beside --architecture: weights do not name their data")
    if not path.is_file():
        raise RequestError(f"--architecture goes with a file of weights, got {path}, which is none")
    dataset = load(data, data_dir=data_dir, image_size=image_size, reading=reading)
    if dataset.sorted_classes:
        _warn_of_another_order(dataset)
    return SavedModels(path.parent, (checked(load_third_party(path, wanted, dataset, data)),))


def _warn_of_another_order(dataset: Dataset) -> None:
    """Weights from elsewhere number the classes in their own order: timm's is the natural one."""
    natural = sorted(dataset.classes, key=natural_key)
    here = list(dataset.classes)
    if natural == here:
        return
    first = next(place for place, name in enumerate(natural) if name != here[place])
    warnings.warn(
        f"class {first} is {here[first]!r} in the order of sorted names, and {natural[first]!r} in "
        "the natural order that timm numbers folders in: if the weights were trained so, give "
        "--class-order natural, else --class-order sorted",
        stacklevel=3,
    )


def load_third_party(
    path: Path, wanted: ThirdPartyWeights, dataset: Dataset, data: str
) -> SavedModel:
    """That architecture for the classes of ``dataset``, with the weights of ``path``.

    Raises:
        RequestError: an unknown architecture, no state dict, weights of another network or of
            another number of classes, or a network that does not end in one Linear.
    """
    classes, channels, size = len(dataset.classes), dataset.channels, dataset.image_size
    mean = dataset.mean if wanted.mean is None else wanted.mean
    std = dataset.std if wanted.std is None else wanted.std
    network = build_full(wanted.architecture, channels, size, classes)
    weights = read_weights(path, network.state_dict(), wanted.architecture, wanted.choice)
    _fill(network, weights, path, wanted.architecture)
    model = _as_ours(network, wanted.architecture, channels, size, classes)
    facts: dict[str, Any] = {
        "head": HEAD,
        "seed": None,
        "backbone": wanted.architecture,
        "data": data,
        "classes": list(dataset.classes),
        "channels": channels,
        "image_size": size,
        "mean": list(mean),
        "std": list(std),
        "weights": weights.described(),
    }
    return SavedModel(path.stem, model.eval(), facts)


def _fill(network: nn.Module, weights: Weights, path: Path, architecture: str) -> None:
    try:
        network.load_state_dict(weights.tensors, strict=False)
    except RuntimeError as error:
        first = str(error).split("\n\t")[-1].strip()
        raise RequestError(
            f"{path} holds weights that do not fit {architecture} for these classes: {first}"
        ) from None


def _as_ours(
    network: nn.Module, architecture: str, channels: int, size: int, classes: int
) -> Classifier:
    ends = [end for end in locate(network).places if not end.auxiliary]
    layer = ends[0].layer
    if len(ends) > 1 or not isinstance(layer, nn.Linear) or layer.out_features != classes:
        raise RequestError(
            f"--architecture must end in one Linear with {classes} outputs, got {architecture}, "
            f"which ends in {', '.join(map(str, ends))}"
        )
    parent, _, child = ends[0].name.rpartition(".")
    setattr(network.get_submodule(parent), child, nn.Identity())
    backbone = probed(architecture, network, channels, size)
    head = ClassificationHead(layer.in_features, classes, **parse_head(HEAD).arguments())
    assert head.bias is not None
    with torch.no_grad():
        head.vectors.copy_(layer.weight)
        head.bias.zero_() if layer.bias is None else head.bias.copy_(layer.bias)
    return Classifier(backbone, head)
