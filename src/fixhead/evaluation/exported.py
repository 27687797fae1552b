"""``fixhead export``: a trained model as one file for other programs, held against the original.

The file takes decoded pictures, uint8 (N, C, H, W) of the training size with any N ≥ 1, and gives
logits z / T (N, K) and the largest cosine of each picture with a class vector (N,): normalisation,
network, head, scale and temperature are inside. Class vectors that are never stored are stored
here. An ONNX file gives two things more, which ``fixhead evaluate`` measures: what the class
vectors see (N, D), and the vectors (K, D). ``fixhead.json``, or the metadata entry ``fixhead``,
holds what model.json says: class names, how pictures are read, calibration.
"""

from __future__ import annotations

import json
import logging
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from functools import cached_property
from itertools import islice
from pathlib import Path
from typing import Any, Protocol, cast

import numpy as np
import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from .._errors import RequestError, require
from .._files import replace_file
from .._version import __version__
from ..data.images import decode
from ..data.sources.folder import find_images
from ..geometry.detection import Score, energy
from ..heads.head import ClassificationHead
from ..many_classes.vectors import KINDS as KINDS_OF_LOGITS
from ..many_classes.vectors import DenseVectors
from ..runs.layout import EXPORT_SCHEMA
from ..training.checkpoints import check_description
from .checkpoints import SavedModel, load_for

KINDS = {"onnx": "model.onnx", "torch-export": "model.pt2", "state-dict": "state.safetensors"}
"""What there is to export to, and the file's name where none is given."""

TOLERANCE = 1e-3
"""Logits may differ by this share of their range."""

AT_A_TIME = 64
LEFT_OUT = ("training", "certificate", "training_counts", "groups", "reference")
METADATA = "fixhead"
EXTRA_FILE = "fixhead.json"

Answers = tuple[Tensor, Tensor]
Run = Callable[[Tensor], Answers]
"""uint8 (N, C, H, W) → logits z / T (N, K) and largest cosines (N,)."""


class Exportable(Protocol):
    """A ``fixhead.load``ed model."""

    facts: dict[str, Any]
    temperature: float

    @property
    def model(self) -> Any: ...

    def features(self, pixels: Tensor) -> Tensor: ...

    def answer(self, pixels: Tensor) -> Answers: ...


@dataclass(frozen=True)
class ExportCheck:
    """How the file's answers differ from the original's, over ``images`` pictures.

    largest_difference: of any logit; range: largest minus smallest logit of the original;
    changed: pictures whose likeliest class changed; ties: those among them whose two likeliest
    classes were closer than the tolerance.
    """

    images: int
    largest_difference: float
    range: float
    changed: int
    ties: int

    @property
    def passed(self) -> bool:
        fits = self.largest_difference <= TOLERANCE * self.range
        return fits and self.changed == self.ties

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)


class _Answering(nn.Module):
    """What is exported: pixels to answers, the class vectors as rows."""

    rows: Tensor

    def __init__(self, model: Exportable) -> None:
        super().__init__()
        self.inner = model
        head: ClassificationHead = model.model.head
        vectors = head.class_vectors
        self.unit_rows = vectors.unit_rows
        self.register_buffer("rows", vectors.dense(head.dtype).detach().clone())

    def forward(self, pixels: Tensor) -> Answers:
        logits, cosines, _ = self.answers_and_points(pixels)
        return logits, cosines

    def answers_and_points(self, pixels: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Logits, largest cosines, and what the class vectors see (N, D)."""
        head: ClassificationHead = self.inner.model.head
        points = head.project(self.inner.features(pixels))
        vectors = DenseVectors(self.rows, unit_rows=self.unit_rows)
        scale = 1.0 if head.scale is None else head.scale
        logits = vectors.logits(points, head.logit_kind, scale, head.bias)
        cosines = vectors.logits(points, "cosine", 1.0, None).amax(dim=1)
        return logits / self.inner.temperature, cosines, points


class _AnsweringFully(nn.Module):
    """The same with the points and the class vectors, as an ONNX file has them."""

    def __init__(self, answering: _Answering) -> None:
        super().__init__()
        self.answering = answering

    def forward(self, pixels: Tensor) -> tuple[Tensor, ...]:
        return *self.answering.answers_and_points(pixels), self.answering.rows


def export(
    model: Exportable, to: str, path: Path, pictures: Iterable[Tensor], *, overwrite: bool = False
) -> ExportCheck:
    """Write ``model`` to ``path``, once the file answered ``pictures`` as the original does.

    Args:
        to: a name of ``KINDS``.
        pictures: batches uint8 (n, C, H, W).

    Raises:
        RequestError: an unknown kind, a file that is there, no pictures, a package that is missing,
            or a file whose answers differ (``TOLERANCE``); nothing is written then.
    """
    if to not in KINDS:
        raise RequestError(f"--to must be one of {', '.join(KINDS)}, got {to!r}")
    if path.exists() and not overwrite:
        raise RequestError(f"{path} is there already; say --overwrite, or name another --out")
    answering = _Answering(model).eval()
    write, opened = {
        "onnx": (_write_onnx, _run_onnx),
        "torch-export": (_write_program, _run_program),
        "state-dict": (_write_state, _run_state(answering)),
    }[to]
    checked: list[ExportCheck] = []

    def write_and_check(draft: Path) -> None:
        write(answering, facts_of(model), draft)
        checked.append(compare_answers(model.answer, opened(draft), pictures))
        if not checked[0].passed:
            raise RequestError(_differs(to, checked[0]))

    path.parent.mkdir(parents=True, exist_ok=True)
    replace_file(path, write_and_check)
    return checked[0]


@torch.no_grad()
def compare_answers(original: Run, exported: Run, pictures: Iterable[Tensor]) -> ExportCheck:
    """The same pictures through both; the first one also alone, as a batch of one."""
    images = 0
    largest, low, high = 0.0, float("inf"), float("-inf")
    gaps: list[Tensor] = []
    for number, batch in enumerate(pictures):
        for part in (batch[:1], batch) if number == 0 else (batch,):
            ours, theirs = original(part)[0].double(), exported(part)[0].double()
            if ours.shape != theirs.shape:
                raise RequestError(
                    f"the exported file gives logits {tuple(theirs.shape)}, and the original "
                    f"{tuple(ours.shape)}"
                )
            largest = max(largest, float((ours - theirs).abs().max()))
            low, high = min(low, float(ours.min())), max(high, float(ours.max()))
        images += len(batch)
        other = ours.argmax(dim=1) != theirs.argmax(dim=1)
        best = ours[other].topk(2, dim=1).values
        gaps.append(best[:, 0] - best[:, 1])
    if not images:
        raise RequestError("export needs at least one picture to be checked on, got none")
    changed = torch.cat(gaps)
    ties = int((changed <= TOLERANCE * (high - low)).sum())
    return ExportCheck(images, largest, high - low, len(changed), ties)


def check_pictures(
    facts: Mapping[str, Any],
    *,
    folder: Path | None = None,
    data: str | None = None,
    data_dir: Path | None = None,
    most: int = 1_000,
) -> Iterator[Tensor]:
    """At most ``most`` pictures in batches, evenly spaced over a folder, or over the test part of
    the data set (by default the one of training).

    Raises:
        RequestError: neither can be had, or ``most`` below 1.
    """
    if most < 1:
        raise RequestError(f"--check must be 1 or more pictures, got {most}")
    if folder is None:
        split = load_for(dict(facts), data, data_dir)[1]
        chosen = np.unique(np.linspace(0, len(split) - 1, min(most, len(split))).astype(np.int64))
        return (
            torch.from_numpy(np.ascontiguousarray(split.images[chosen[start : start + AT_A_TIME]]))
            for start in range(0, len(chosen), AT_A_TIME)
        )
    files = find_images(folder)[0] if folder.is_dir() else ()
    if not files:
        raise RequestError(f"--images needs a folder with pictures, got {folder}")
    how = {name: facts[name] for name in ("channels", "image_size")}
    bits = facts.get("bits", 16)
    shown = [files[place] for place in range(0, len(files), -(-len(files) // most))]
    pixels = (torch.tensor(decode(file, str(file), bits=bits, **how)) for file in shown)
    return (torch.stack(part) for part in iter(lambda: list(islice(pixels, AT_A_TIME)), []))


def _differs(to: str, check: ExportCheck) -> str:
    return (
        f"the {to} file was not kept: over {check.images:,} pictures its logits differ by up to "
        f"{check.largest_difference:.3g} in a range of {check.range:.3g} (allowed is "
        f"{TOLERANCE:g} of it), and {check.changed - check.ties} answers change that were no ties"
    )


def facts_of(model: Exportable) -> dict[str, Any]:
    """What the file says of itself: model.json's description without the training's record."""
    kept = {name: value for name, value in model.facts.items() if name not in LEFT_OUT}
    head: ClassificationHead = model.model.head
    kept["exported_head"] = {
        "logits": head.logit_kind,
        "scale": 1.0 if head.scale is None else float(head.scale.detach()),
        "bias": head.bias is not None,
        "construction": head.construction,
        "sentence": None if head.spec is None else str(head.spec),
    }
    return {"schema": EXPORT_SCHEMA, "fixhead": __version__, "description": kept}


def read_facts(path: Path, text: str | None) -> dict[str, Any]:
    """The description in an exported file.

    Raises:
        RequestError: the file has none, one of another version, or one that cannot be used.
    """
    try:
        said = json.loads(text or "")
    except (ValueError, RecursionError):
        said = None
    schema = said.get("schema") if isinstance(said, dict) else None
    if schema is None or not isinstance(said.get("description"), dict):
        raise RequestError(
            f"{path} was not written by `fixhead export`: it does not say its classes"
        )
    if schema != EXPORT_SCHEMA:
        raise RequestError(
            f"{path} has schema {schema!r} of another version of fixhead, and this one reads "
            f"{EXPORT_SCHEMA!r}; export the model again"
        )
    facts: dict[str, Any] = said["description"]
    check_description(path, facts)
    return facts


class OnnxModel:
    """A file of ``fixhead export --to onnx`` in onnxruntime, on the processor.

    Raises:
        RequestError: no such file, one that onnxruntime cannot run, one of another version or
            program, or one that names fewer or more classes than it has.
    """

    def __init__(self, path: Path) -> None:
        runtime: Any = require("onnxruntime", extra="export")
        if not path.is_file():
            raise RequestError(f"{path} does not exist; name a file that `fixhead export` wrote")
        options = runtime.SessionOptions()
        options.intra_op_num_threads = torch.get_num_threads()
        try:
            self._session = runtime.InferenceSession(
                path.read_bytes(), options, providers=["CPUExecutionProvider"]
            )
        except Exception as error:  # onnxruntime has an exception for every way to break
            first = str(error).strip().split("\n")[0]
            raise RequestError(f"{path} cannot be run by onnxruntime ({first})") from error
        metadata = self._session.get_modelmeta().custom_metadata_map
        self.facts = read_facts(path, metadata.get(METADATA))
        outputs = {one.name: one.shape for one in self._session.get_outputs()}
        named = len(self.facts["classes"])
        if outputs.get("logits", [None])[-1] != named or "largest_cosine" not in outputs:
            raise RequestError(
                f"{path} names {named} classes, and its logits are {outputs.get('logits')}; export "
                "the model again"
            )

    def answer(self, pixels: Tensor) -> Answers:
        logits, cosines = self._session.run(
            ["logits", "largest_cosine"], {"pixels": pixels.cpu().numpy()}
        )
        return torch.from_numpy(np.asarray(logits)), torch.from_numpy(np.asarray(cosines))

    def whole(self, pixels: Tensor) -> list[Tensor]:
        """Logits z / T, largest cosines, and the points (N, D) that class vectors see."""
        names = ["logits", "largest_cosine", "points"]
        found = self._session.run(names, {"pixels": pixels.cpu().numpy()})
        return [torch.from_numpy(np.asarray(one)) for one in found]

    @cached_property
    def class_vectors(self) -> Tensor:
        """The vectors (K, D) in the file."""
        one = torch.zeros(1, *self._session.get_inputs()[0].shape[1:], dtype=torch.uint8)
        [vectors] = self._session.run(["class_vectors"], {"pixels": one.numpy()})
        return torch.from_numpy(np.array(vectors))

    @property
    def is_whole(self) -> bool:
        """Whether the file gives points and class vectors, and says how they make logits."""
        given = {one.name for one in self._session.get_outputs()}
        said = self.facts.get("exported_head")
        return (
            {"points", "class_vectors"} <= given
            and isinstance(said, dict)
            and said.get("logits") in KINDS_OF_LOGITS
            and isinstance(said.get("bias"), bool)
            and isinstance(said.get("construction"), str)
            and isinstance(said.get("scale"), int | float)
        )

    def scored(self, pixels: Tensor, score: Score) -> Answers:
        """The same with that score in place of the cosines."""
        calibration = self.facts.get("calibration") or {}
        return scored(self.answer(pixels), score, calibration.get("temperature", 1.0))


class _ExportedHead:
    """The head inside an ONNX file: its logits are those that the file gave with the points."""

    neck_name, code_map = "none", None

    def __init__(self, file: OnnxModel) -> None:
        said = file.facts["exported_head"]
        self.vectors = file.class_vectors
        self.logit_kind: str = said["logits"]
        self.construction: str = said["construction"]
        self.spec: str | None = said.get("sentence")  # which is only shown
        self.scale = torch.tensor(float(said["scale"]))
        self.bias = torch.zeros(len(self.vectors)) if said["bias"] else None
        self.classes, self.width = self.vectors.shape
        unit_rows = bool((self.vectors.norm(dim=1) - 1).abs().max() <= 1e-4)
        self.class_vectors = DenseVectors(self.vectors, unit_rows=unit_rows)
        self.temperature = float((file.facts.get("calibration") or {}).get("temperature", 1.0))
        self.last: tuple[Tensor, Tensor] | None = None

    def project(self, features: Tensor) -> Tensor:
        return features

    def classify(self, points: Tensor) -> Tensor:
        """The file's own logits z of the points that it gave last."""
        assert self.last is not None
        assert self.last[0] is points, "an exported file has logits of its own points only"
        return self.last[1] * self.temperature


class ExportedClassifier:
    """An ONNX file as ``fixhead evaluate`` looks at a model; it normalises pictures itself, so its
    images are x in 0 … 255.

    Raises:
        RequestError: the file gives too little to be measured.
    """

    training = False

    def __init__(self, file: OnnxModel, path: Path) -> None:
        if not file.is_whole:
            raise RequestError(
                f"{path} does not give what its class vectors see, which evaluate measures; "
                "export the model again"
            )
        self.file, self.head = file, _ExportedHead(file)

    def features(self, images: Tensor) -> Tensor:
        logits, _, points = self.file.whole(images.round().to(torch.uint8))
        self.head.last = points, logits
        return points

    def train(self, mode: bool = True) -> ExportedClassifier:
        return self

    def to(self, device: torch.device | str) -> ExportedClassifier:
        return self


def open_exported(path: Path) -> SavedModel:
    """An ONNX file among the models that ``fixhead evaluate`` takes.

    Raises:
        RequestError: as ``OnnxModel`` and ``ExportedClassifier``.
    """
    file = OnnxModel(path)
    channels = file.facts["channels"]
    # (x / 255 − 0) / (1 / 255): what it is given is x, and what it says of mean and std is inside.
    facts = file.facts | {"mean": [0.0] * channels, "std": [1 / 255] * channels}
    return SavedModel(path.name, cast(Any, ExportedClassifier(file, path)), facts)


def scored(answers: Answers, score: Score, temperature: float) -> Answers:
    """Logits z / T and, from them or the cosines, the score.

    Raises:
        RequestError: a score that needs features.
    """
    logits, cosines = answers
    if score == "largest-cosine":
        return logits, cosines
    if score != "energy":
        raise RequestError(
            f"--score {score} needs the model's folder with its reference.safetensors, which an "
            "exported file does not hold; name the folder, or say --score energy"
        )
    # energy(z) = T · log Σ exp(z / T), and the logits are divided by T already
    return logits, temperature * energy(logits)


def _example(facts: Mapping[str, Any]) -> Tensor:
    said = facts["description"]
    size = said["image_size"]
    return torch.zeros(2, said["channels"], size, size, dtype=torch.uint8)


def _write_onnx(answering: _Answering, facts: Mapping[str, Any], path: Path) -> None:
    for package in ("onnx", "onnxscript", "onnxruntime"):
        require(package, extra="export")
    with warnings.catch_warnings(), _silent("onnx_ir.passes.common.initializer_deduplication"):
        warnings.simplefilter("ignore")  # of torch's exporter, about itself
        program = torch.onnx.export(
            _AnsweringFully(answering).eval(),
            (_example(facts),),
            input_names=["pixels"],
            output_names=["logits", "largest_cosine", "points", "class_vectors"],
            dynamic_shapes={"pixels": {0: torch.export.Dim("batch", min=1)}},
            dynamo=True,
            verbose=False,
        )
    assert program is not None
    program.model.metadata_props[METADATA] = json.dumps(facts)
    program.save(path, external_data=False)


@contextmanager
def _silent(logger: str) -> Iterator[None]:
    """Without what a library says of its own passes."""
    named = logging.getLogger(logger)
    before, named.disabled = named.disabled, True
    try:
        yield
    finally:
        named.disabled = before


def _run_onnx(path: Path) -> Run:
    return OnnxModel(path).answer


def _write_program(answering: _Answering, facts: Mapping[str, Any], path: Path) -> None:
    shapes = {"pixels": {0: torch.export.Dim("batch", min=1)}}
    program = torch.export.export(answering, (_example(facts),), dynamic_shapes=shapes)
    with path.open("wb") as file:
        torch.export.save(program, file, extra_files={EXTRA_FILE: json.dumps(facts)})


def _run_program(path: Path) -> Run:
    with path.open("rb") as file:
        module: Run = torch.export.load(file).module()
    return module


def _write_state(answering: _Answering, facts: Mapping[str, Any], path: Path) -> None:
    """The tensors by name, backbone.… and head.…, with head.vectors (K, D) in any case."""
    state = {
        name: tensor.contiguous()
        for name, tensor in answering.inner.model.state_dict().items()
        if not name.endswith("_extra_state")
    }
    state["head.vectors"] = answering.rows.contiguous()
    save_file(state, path, metadata={METADATA: json.dumps(facts)})


def _run_state(answering: _Answering) -> Callable[[Path], Run]:
    """The original with every tensor replaced by the file's."""

    def opened(path: Path) -> Run:
        with safe_open(path, "pt") as file:
            state = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        rows = state.pop("head.vectors")

        def run(pixels: Tensor) -> Answers:
            inner = {f"inner.model.{name}": tensor for name, tensor in state.items()}
            answers: Answers = torch.func.functional_call(
                answering, inner | {"rows": rows}, (pixels,)
            )
            return answers

        return run

    return opened
