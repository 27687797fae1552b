"""``fixhead.load`` and ``fixhead predict``: what a trained model sees in pictures.

Pictures are brought to the model's channels and size by the very code that read its training
images. Probabilities are softmax(z / T), with the temperature T that validation chose where the
model folder holds one (``evaluation.model_folder``), else T = 1.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property
from itertools import islice
from pathlib import Path
from typing import Any, Protocol, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from .._errors import RequestError, require
from ..data.images import decode, to_pixels
from ..data.sources.folder import find_images
from ..geometry.detection import Score
from ..runs.layout import REFERENCE_FILE
from ..training.engine import resolve_device
from .checkpoints import SavedModel, open_models
from .exported import OnnxModel, scored
from .model_folder import SCORES, Calibration, largest_cosines, temperature_of
from .reference import FROM_FEATURES, Reference, read_reference, seen, seen_size

AT_A_TIME = 64
READERS = 2
"""Threads that decode pictures while the network works."""


class PictureModel(Protocol):
    """What pictures can be shown to: ``facts`` as in model.json, and answers to their pixels."""

    @property
    def facts(self) -> dict[str, Any]: ...

    def answer(self, pixels: Tensor) -> tuple[Tensor, Tensor]:
        """uint8 (N, C, H, W) → logits z / T (N, K) and the largest cosines (N,)."""

    def scored(self, pixels: Tensor, score: Score) -> tuple[Tensor, Tensor]:
        """The same with that score in place of the cosines."""


@dataclass(frozen=True)
class Prediction:
    """The likeliest classes of one picture, each with its probability.

    With ``Reject``, ``score`` is what the picture scored and ``unknown`` whether that is too low
    for a picture of the known classes; else both are None.
    """

    image: str
    classes: tuple[tuple[str, float], ...]
    score: float | None = None
    unknown: bool | None = None

    @property
    def label(self) -> str:
        """The likeliest class."""
        return self.classes[0][0]

    @property
    def probability(self) -> float:
        """The probability of the likeliest class."""
        return self.classes[0][1]

    def to_dict(self) -> dict[str, object]:
        top = [{"class": name, "probability": value} for name, value in self.classes]
        known: dict[str, object] = {}
        if self.unknown is not None:
            known = {"unknown": self.unknown, "score": self.score}
        return {"image": self.image, "class": self.label, "probability": self.probability} | {
            "top": top,
            **known,
        }


@dataclass(frozen=True)
class Reject:
    """Call a picture unknown by a threshold that rejects about the share ``rate`` of pictures of
    the known classes: at most so many of the validation images. ``score`` None takes the one that
    the model folder names.
    """

    rate: float
    score: Score | None = None

    def rule(self, calibration: Calibration | None) -> tuple[Score, float]:
        """The score and its threshold.

        Raises:
            RequestError: a rate outside [0, 1), an unknown score, or a model without calibration.
        """
        if not 0 <= self.rate < 1:
            raise RequestError(f"--reject must be a rate from 0 to below 1, got {self.rate}")
        if self.score is not None and self.score not in SCORES:
            raise RequestError(f"--score must be one of {', '.join(SCORES)}, got {self.score}")
        if calibration is None:
            raise RequestError(
                f"--reject {self.rate} needs a model whose answers were calibrated on validation "
                "images, and this one was not; train it again by `fixhead train`"
            )
        score = self.score or calibration.score
        return score, calibration.threshold(self.rate, score)


class Predictor(nn.Module):
    """A trained classifier with all that it needs to be shown pictures.

    ``model(pixels)`` maps uint8 (N, C, H, W) of its size to calibrated logits z / T (N, K).
    """

    shift: Tensor
    scale: Tensor

    def __init__(self, saved: SavedModel) -> None:
        super().__init__()
        self.model = saved.model
        self.facts = saved.facts
        if self.facts["channels"] not in (1, 3):
            raise RequestError(
                f"{saved.name} learned from rows of features, and so cannot be shown pictures"
            )
        # As in training: (x / 255 − mean) / std = x · scale + shift, in float32.
        mean, std = (
            torch.tensor(self.facts[name], dtype=torch.float64).view(1, -1, 1, 1)
            for name in ("mean", "std")
        )
        self.register_buffer("scale", (1 / (255.0 * std)).float(), persistent=False)
        self.register_buffer("shift", (-mean / std).float(), persistent=False)
        self.temperature = temperature_of(Calibration.of(self.facts))
        self._folder = saved.folder
        self.eval()

    @property
    def classes(self) -> tuple[str, ...]:
        """The names of the K classes."""
        return tuple(self.facts["classes"])

    @property
    def device(self) -> torch.device:
        return self.scale.device

    def forward(self, pixels: Tensor) -> Tensor:
        logits: Tensor = self.model.head(self.features(pixels)) / self.temperature
        return logits

    def features(self, pixels: Tensor) -> Tensor:
        """Features (N, d) of uint8 (N, C, H, W): what the head sees."""
        return self.model.features(pixels.float() * self.scale + self.shift)

    def answer(self, pixels: Tensor) -> tuple[Tensor, Tensor]:
        points = self.model.head.project(self.features(pixels.to(self.device)))
        logits = self.model.head.classify(points) / self.temperature
        return logits, largest_cosines(self.model, points)

    def scored(self, pixels: Tensor, score: Score) -> tuple[Tensor, Tensor]:
        if score not in FROM_FEATURES:
            return scored(self.answer(pixels), score, self.temperature)
        reference = self.reference
        if reference is None:
            raise RequestError(
                f"--score {score} needs {REFERENCE_FILE} in the model's folder, which its training "
                "left out; train it again without --no-reference, or say --score energy"
            )
        head = self.model.head
        features = self.features(pixels.to(self.device))
        logits = head.classify(head.project(features))
        found = reference.score(score, seen(head, features), logits)
        return logits / self.temperature, found

    @cached_property
    def reference(self) -> Reference | None:
        """A few training images as the model sees them, on its device; None where its training
        left none.

        Raises:
            RequestError: the file is missing, cut off, altered or of another version.
        """
        found = None if self._folder is None else read_reference(self._folder, self.facts)
        if found is not None and found.features.shape[1] != seen_size(self.model.head):
            raise RequestError(
                f"{REFERENCE_FILE} holds features of {found.features.shape[1]}, and the model has "
                f"{seen_size(self.model.head)}; train the model again"
            )
        return None if found is None else found.to(self.device)

    def predict(
        self, images: Any, *, top: int = 1, reject: float | None = None, score: Score | None = None
    ) -> list[Prediction]:
        """The likeliest classes of every picture, in their order.

        Args:
            images: a picture or a sequence of them, each a path, a PIL image or a uint8 array
                (H, W) or (H, W, C) of any size; or a uint8 tensor (N, C, H, W) of the model's size.
            top: how many classes to name.
            reject: the share of pictures of the known classes that may be called unknown; None
                calls none so. ``score`` says by what (``Reject``).

        Raises:
            RequestError: a picture that cannot be read, pixels of another shape, ``top`` below 1,
                or a rejection that cannot be had.
        """
        rule = None if reject is None else Reject(reject, score)
        pixels = enumerate(self._pixels(images))
        named = ((_name(images, number), one) for number, one in pixels)
        return list(predictions(self, named, top=top, reject=rule))

    @torch.no_grad()
    def embed(self, images: Any) -> Tensor:
        """Features (N, d) of pictures, on the CPU; ``images`` as in ``predict``."""
        pixels = self._pixels(images)
        parts = [
            self.features(torch.from_numpy(np.stack(part)).to(self.device)).cpu()
            for part in iter(lambda: list(islice(pixels, AT_A_TIME)), [])
        ]
        return torch.cat(parts) if parts else torch.zeros(0, self.model.head.features)

    def _pixels(self, images: Any) -> Iterator[NDArray[np.uint8]]:
        facts = self.facts
        if isinstance(images, Tensor):
            wanted = (facts["channels"], facts["image_size"], facts["image_size"])
            if images.dtype != torch.uint8 or tuple(images.shape[1:]) != wanted:
                raise RequestError(
                    f"images as a tensor need uint8 (N, {', '.join(map(str, wanted))}), got "
                    f"{images.dtype} {tuple(images.shape)}; paths and PIL images may have any size"
                )
            yield from images.cpu().numpy()
            return
        for number, image in enumerate(_several(images)):
            yield _read(image, _name(images, number), facts)


def load(path: str | Path, *, device: str = "cpu") -> Predictor:
    """The model of a folder that ``fixhead train`` or ``compare`` wrote, ready for pictures.

    Nothing is unpickled: weights come from safetensors, everything else from JSON, and both are
    checked against each other.

    Raises:
        RequestError: no model or several, a file that is missing, cut off, altered or of another
            version, or a device that is not here.
    """
    models = open_models(Path(path)).models
    if len(models) > 1:
        names = ", ".join(str(Path("runs") / saved.name) for saved in models[:3])
        raise RequestError(
            f"{path} holds {len(models)} models; name the folder of one run: {names}, …"
        )
    return Predictor(models[0]).to(resolve_device(device))


def open_for_pictures(path: Path, device: str = "auto") -> PictureModel:
    """A model's folder, or an ONNX file that ``fixhead export`` wrote.

    Raises:
        RequestError: as ``load`` and ``OnnxModel``, or a device that onnxruntime is not used on.
    """
    if path.suffix != ".onnx":
        return load(path, device=device)
    if device not in ("auto", "cpu"):
        raise RequestError(f"--device of an ONNX file must be cpu, got {device}; leave it out")
    return OnnxModel(path)


def image_files(images: Iterable[Path]) -> list[Path]:
    """The pictures, and all pictures below folders.

    Raises:
        RequestError: a path that is neither, or a folder without pictures.
    """
    found: list[Path] = []
    for image in images:
        if image.is_file():
            found.append(image)
            continue
        if not image.is_dir():
            raise RequestError(f"predict needs image files, got {image}, which is none")
        files, _ = find_images(image)
        if not files:
            raise RequestError(f"predict needs image files, got the folder {image}, which has none")
        found += files
    return found


def predict_files(
    model: PictureModel,
    files: Iterable[Path],
    unreadable: list[str],
    *,
    top: int = 3,
    reject: Reject | None = None,
) -> Iterator[Prediction]:
    """The answers, one after the other as they are known; a picture that cannot be read is passed
    over, and a sentence on it is added to ``unreadable``.

    Raises:
        RequestError: ``top`` below 1, or a rejection that cannot be had.
    """

    pixels = readable(files, model.facts, unreadable)
    return predictions(model, pixels, top=top, reject=reject)


def predictions(
    model: PictureModel,
    pixels: Iterator[tuple[str, NDArray[np.uint8]]],
    *,
    top: int,
    reject: Reject | None,
) -> Iterator[Prediction]:
    """From (name, uint8 (C, H, W)) to answers, in batches."""
    if top < 1:
        raise RequestError(f"--top must be 1 or more, got {top}")
    calibration = Calibration.of(model.facts)
    rule = None if reject is None else reject.rule(calibration)
    return _predictions(model, pixels, top, rule)


def _predictions(
    model: PictureModel,
    pixels: Iterator[tuple[str, NDArray[np.uint8]]],
    top: int,
    rule: tuple[Score, float] | None,
) -> Iterator[Prediction]:
    names = model.facts["classes"]
    while part := list(islice(pixels, AT_A_TIME)):
        with torch.no_grad():
            shown = torch.from_numpy(np.stack([one for _, one in part]))
            logits, found = model.answer(shown) if rule is None else model.scored(shown, rule[0])
            best = logits.float().softmax(dim=-1).topk(min(top, len(names)), dim=1)
        scores = [None] * len(part) if rule is None else found.double().tolist()
        rows = zip(part, best.values.tolist(), best.indices.tolist(), scores, strict=True)
        for (name, _), values, labels, score in rows:
            classes = tuple(zip((names[label] for label in labels), values, strict=True))
            unknown = None if rule is None or score is None else score < rule[1]
            yield Prediction(name, classes, score, unknown)


def readable(
    files: Iterable[Path], facts: dict[str, Any], unreadable: list[str]
) -> Iterator[tuple[str, NDArray[np.uint8]]]:
    """The pictures that can be read, (name, uint8 (C, H, W)); a sentence on every other is added
    to ``unreadable``."""
    for file, coming in _ahead(files, facts):
        try:
            yield str(file), coming.result()
        except RequestError as error:
            unreadable.append(str(error))


def _ahead(
    files: Iterable[Path], facts: dict[str, Any]
) -> Iterator[tuple[Path, Future[NDArray[np.uint8]]]]:
    """The files with their pixels to come: the next two batches are read meanwhile."""
    waiting: deque[tuple[Path, Future[NDArray[np.uint8]]]] = deque()
    with ThreadPoolExecutor(READERS) as readers:
        for file in files:
            waiting.append((file, readers.submit(_read, file, str(file), facts)))
            if len(waiting) > 2 * AT_A_TIME:
                yield waiting.popleft()
        yield from waiting


def _read(image: Any, name: str, facts: dict[str, Any]) -> NDArray[np.uint8]:
    """One picture as uint8 (C, H, W), in the model's channels and size."""
    how = {name: facts[name] for name in ("channels", "image_size")}
    bits = facts.get("bits", 16)
    if isinstance(image, str | Path):
        return decode(Path(image), name, bits=bits, **how)
    pil: Any = require("PIL.Image", extra="lab")
    if isinstance(image, np.ndarray):
        if image.dtype != np.uint8 or image.ndim not in (2, 3):
            raise RequestError(
                f"{name} needs uint8 pixels (H, W) or (H, W, C), got {image.dtype} {image.shape}"
            )
        image = pil.fromarray(image)
    if not isinstance(image, pil.Image):
        raise RequestError(
            f"{name} needs to be a path, a PIL image or an array, got {type(image).__name__}"
        )
    return to_pixels(image, name, bits=bits, **how)


def _several(images: Any) -> Sequence[Any]:
    """A single picture as a sequence of one."""
    return cast(Sequence[Any], images) if isinstance(images, list | tuple) else [images]


def _name(images: Any, number: int) -> str:
    image = images[number] if isinstance(images, list | tuple) else images
    return str(image) if isinstance(image, str | Path) else f"image {number}"
