"""A timm or torchvision classifier with saved weights, seen as one of ours.

Its last Linear becomes a ``learned-dot`` head with the very same weights and bias; what stands
before it becomes the backbone. Nothing else is changed, so logits stay what they were.

A file of weights may hold one state dict, or several beside other things (``{"state_dict": …,
"epoch": 9}``), under names that the network does not have: ``model.``, ``module.``, ``_orig_mod.``,
``backbone.`` and the like, left by wrappers and in any order. Weights that were averaged while
training (EMA) are preferred over the raw ones, as those who train with them report their figures.
"""

from __future__ import annotations

import argparse
import re
import warnings
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path, PosixPath
from types import SimpleNamespace
from typing import Any, Literal

import numpy as np
import torch
from safetensors.torch import load_file
from torch import Tensor, nn

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


WeightsChoice = Literal["ema", "raw"]

_WRAPPERS = frozenset({"model", "module", "_orig_mod", "backbone", "net", "network", "encoder"})
"""Names of attributes that hold a network inside another module."""
_INNER_WRAPPERS = ("_orig_mod.", "_fsdp_wrapped_module.", "_checkpoint_wrapped_module.")
"""The same of modules that wrap a part of the network; no network has these names itself."""
_COUNTERS = frozenset({"n_averaged", "total_ops", "total_params"})
"""Last names of tensors that are no weights: how many were averaged, how dear a layer is."""
_OTHER = re.compile(r"optim|sched|scaler|loss|amp|rng|callback", re.IGNORECASE)
_EMA = re.compile(r"(^|[_.\W])(ema|swa|averaged?)([_.\W]|$)", re.IGNORECASE)
_ESCAPES = re.compile(r"\x1b\[[0-9;]*[A-Za-z]")
_DEPTH = 4


@dataclass(frozen=True)
class Weights:
    """A network's own tensors by its own names, and where in the file they stood.

    ``name`` is None where the file is nothing but them; ``other`` names weights that were there
    too and were not taken.
    """

    tensors: dict[str, Tensor]
    name: str | None
    averaged: bool
    other: str | None = None

    def described(self) -> str | None:
        """What was chosen, where there was a choice."""
        if self.other is None:
            return None
        kind, rest = ("averaged (EMA)", "raw") if self.averaged else ("raw", "averaged (EMA)")
        return f"the {kind} weights {self.name!r}, not the {rest} ones {self.other!r}"


def read_weights(
    path: Path, names: Collection[str], what: str, choice: WeightsChoice | None = None
) -> Weights:
    """The weights of a network whose state dict has ``names``, from a file of any of the forms.

    Args:
        what: the network, for messages.
        choice: averaged or raw weights, where the file has both; by default the averaged ones.

    Raises:
        RequestError: no file of tensors, weights of another network, several that fit and none
            that is preferred, or no averaged (raw) weights where they are asked for.
    """
    candidates = []
    for name, tensors in _state_dicts(_load(path)):
        for prefix, part in _under_own_names(tensors, names):
            where = ".".join(word for word in (name, prefix) if word) or None
            averaged = _is_counted(tensors, prefix) or bool(_EMA.search(where or ""))
            candidates.append(Weights(part, where, averaged))
    if not candidates:
        raise RequestError(f"{path} was needed as a state dict of tensors, got something else")
    fitting = [one for one in candidates if _fits(one.tensors, names)]
    if not fitting:
        closest = min(candidates, key=lambda one: len(set(names) ^ set(one.tensors)))
        raise RequestError(
            f"{path} holds weights of another network than {what}: there is "
            f"{_difference(closest.tensors, names)}"
        )
    return _chosen(path, fitting, choice)


def _load(path: Path) -> Any:
    try:
        if path.suffix == ".safetensors":
            return load_file(path)
        with torch.serialization.safe_globals(_beside_weights()):
            return torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:
        text = _ESCAPES.sub("", str(error))
        foreign = re.search(r"GLOBAL (\S+)", text)
        reason = text.splitlines()[0] if text else type(error).__name__
        if foreign:
            reason = f"it holds a {foreign[1]}, which could run code; save model.state_dict() alone"
        raise RequestError(
            f"{path} was needed as a state dict (torch.save of tensors, or safetensors), got "
            f"something else ({reason})"
        ) from None


def _beside_weights() -> list[Any]:
    """Harmless types that trainings save beside weights: options, and numbers of NumPy."""
    scalar = np.float64(0).__reduce__()[0]
    numbers = (np.float64, np.float32, np.int64, np.int32, np.bool_)
    types = [type(np.dtype(number)) for number in numbers]
    return [argparse.Namespace, SimpleNamespace, PosixPath, np.dtype, scalar, *types]


def _state_dicts(content: Any, name: str | None = None, depth: int = 0) -> Iterator[Any]:
    """(name, tensors) of every mapping of tensors in a file, however deep it lies."""
    if not isinstance(content, Mapping) or depth > _DEPTH:
        return
    tensors = {key: value for key, value in content.items() if isinstance(value, Tensor)}
    if tensors and all(isinstance(key, str) for key in tensors):
        yield name, tensors
    for key, value in content.items():
        if isinstance(key, str) and not _OTHER.search(key):
            yield from _state_dicts(value, key if name is None else f"{name}.{key}", depth + 1)


def _is_counted(tensors: Mapping[str, Tensor], prefix: str | None) -> bool:
    """Whether PyTorch's AveragedModel wrote the weights under ``prefix``: it counts them."""
    for name in tensors:
        above, _, last = name.rpartition(".")
        module = ".".join(word for word in above.split(".") if word not in _WRAPPERS)
        if last == "n_averaged" and (prefix or "").startswith(module):
            return True
    return False


def _fits(tensors: Mapping[str, Tensor], names: Collection[str]) -> bool:
    return _difference(tensors, names) is None


def _difference(tensors: Mapping[str, Tensor], names: Collection[str]) -> str | None:
    """The first name that only one of the two has, in words."""
    # Weights of before PyTorch 0.4.1 have no count of batches; BatchNorm starts it at 0.
    missing = [n for n in names if n not in tensors and not n.endswith("num_batches_tracked")]
    if missing:
        return f"no {missing[0]}"
    unknown = [name for name in tensors if name not in names]
    return f"{unknown[0]}, which it lacks" if unknown else None


def _under_own_names(
    tensors: Mapping[str, Tensor], names: Collection[str]
) -> Iterator[tuple[str | None, dict[str, Tensor]]]:
    """The tensors by the network's names, with the prefix that was taken away.

    First every name by itself without its wrappers; then what stands under any one prefix, for
    files with several networks or with losses beside one.
    """
    weights = {name: t for name, t in tensors.items() if name.split(".")[-1] not in _COUNTERS}
    for wrapper in _INNER_WRAPPERS:
        weights = {name.replace(wrapper, ""): tensor for name, tensor in weights.items()}
    bare = {_bare(name, names): tensor for name, tensor in weights.items()}
    if len(bare) == len(weights):
        yield None, bare
        if _fits(bare, names):
            return
    last = max(names, key=len)
    for name in weights:
        if name.endswith(f".{last}"):
            prefix = name.removesuffix(last)
            part = {n[len(prefix) :]: t for n, t in weights.items() if n.startswith(prefix)}
            yield prefix.rstrip("."), part


def _bare(name: str, names: Collection[str]) -> str:
    """A tensor's name without the wrappers before it, up to a name that the network has."""
    rest = name
    while rest not in names:
        first, dot, after = rest.partition(".")
        if not dot or first not in _WRAPPERS:
            return name
        rest = after
    return rest


def _chosen(path: Path, fitting: Sequence[Weights], choice: WeightsChoice | None) -> Weights:
    averaged = [one for one in fitting if one.averaged]
    raw = [one for one in fitting if not one.averaged]
    wanted, others = (raw, averaged) if choice == "raw" or not averaged else (averaged, raw)
    if (choice == "ema" and not averaged) or (choice == "raw" and not raw):
        kind, other = ("averaged", "raw") if choice == "ema" else ("raw", "averaged")
        raise RequestError(
            f"--weights {choice} needs {kind} weights in {path}, got {other} ones only"
            f"{_listed(fitting)}"
        )
    if any(not _equal(wanted[0], one) for one in wanted[1:]):
        raise RequestError(
            f"{path} needs to hold one set of weights for the network, got several"
            f"{_listed(wanted)}; save one of them alone"
        )
    return replace(wanted[0], other=others[0].name if others else None)


def _listed(weights: Sequence[Weights]) -> str:
    names = [one.name for one in weights if one.name is not None]
    return f" ({', '.join(names)})" if names else ""


def _equal(a: Weights, b: Weights) -> bool:
    return all(torch.equal(tensor, b.tensors[name]) for name, tensor in a.tensors.items())
