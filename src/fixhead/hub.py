"""Models that go to the Hugging Face Hub and come back, and swapped ones that keep their head.

    from fixhead.hub import HubModel, from_pretrained

    model = HubModel.from_pretrained("run/runs/simplex-seed0")   # a model folder, or OWNER/NAME
    model.push_to_hub("me/flowers")                              # nothing leaves the machine before

    fixhead.swap_head(vit, "simplex"); vit.save_pretrained("vit-simplex")
    vit = from_pretrained(ViTForImageClassification, "vit-simplex")

It needs ``huggingface_hub``: ``pip install "fixhead[hub]"``.
"""

# huggingface_hub is asked for first, so that one sentence says what is missing.
# ruff: noqa: E402
from __future__ import annotations

import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from safetensors import safe_open
from torch import Tensor, nn

from ._errors import RequestError, require

require("huggingface_hub", extra="hub")

from huggingface_hub import ModelHubMixin, snapshot_download

from .evaluation.checkpoints import SavedModel, open_models
from .evaluation.model_folder import model_card
from .evaluation.predict import Predictor
from .heads.head import ClassificationHead
from .heads.replace import RECORD, ConvolutionalHead, Exchange, SwapRecord, device_and_dtype, put
from .heads.swap import CONFIG_ENTRY, rebuilt_head
from .runs.layout import CARD_FILE, CONFIG_FILE, MODEL_FACTS_FILE, MODEL_FILE, REFERENCE_FILE
from .training.checkpoints import save_model

FILES = (MODEL_FILE, MODEL_FACTS_FILE, REFERENCE_FILE, CARD_FILE)
"""What a model folder holds, and all that is fetched of a repository."""


class HubModel(
    Predictor,
    ModelHubMixin,
    library_name="fixhead",
    pipeline_tag="image-classification",
    tags=["fixhead", "image-classification"],
):
    """A ``fixhead.load``ed model with ``save_pretrained``, ``from_pretrained`` and ``push_to_hub``.

    A repository is a model folder: weights, ``model.json``, the card and, where it was kept, the
    reference. Nothing is pickled, and nothing that lies in a folder is written over.
    """

    def __init__(self, saved: SavedModel) -> None:
        super().__init__(saved)
        self._saved = saved

    def save_pretrained(self, save_directory: str | Path, **options: Any) -> str | None:
        """Write the model folder, and push it where ``push_to_hub=True``; options as the mixin's.

        Raises:
            RequestError: a model or a run's config.json lies there already.
        """
        # Before the mixin, which would remove a config.json that it finds.
        for name in (MODEL_FILE, MODEL_FACTS_FILE, CONFIG_FILE):
            if (Path(save_directory) / name).exists():
                raise RequestError(
                    f"{save_directory} holds a model already ({name}); name another folder"
                )
        url: str | None = super().save_pretrained(save_directory, **options)
        return url

    def _save_pretrained(self, save_directory: Path) -> None:
        self._hub_mixin_config = None  # model.json says it all, and a run's config.json is its own
        save_model(save_directory, self.model, self.facts)
        if self.facts.get("training") is not None and "calibration" in self.facts:
            card = model_card(self.facts)
            (save_directory / CARD_FILE).write_text(card, encoding="utf-8")
        folder = self._saved.folder
        if folder is not None and (folder / REFERENCE_FILE).exists():
            shutil.copyfile(folder / REFERENCE_FILE, save_directory / REFERENCE_FILE)

    @classmethod
    def _from_pretrained(
        cls,
        *,
        model_id: str,
        revision: str | None,
        cache_dir: str | Path | None,
        force_download: bool,
        local_files_only: bool,
        token: str | bool | None,
        **options: Any,
    ) -> HubModel:
        if options:
            raise RequestError(
                f"from_pretrained() of a model folder takes no {next(iter(options))}; leave it out"
            )
        folder = Path(model_id)
        if not folder.is_dir():
            found = snapshot_download(
                model_id,
                revision=revision,
                cache_dir=cache_dir,
                force_download=force_download,
                local_files_only=local_files_only,
                token=token,
                allow_patterns=list(FILES),
            )
            folder = Path(found)
        [saved, *others] = open_models(folder).models
        if others:
            raise RequestError(f"{folder} holds {1 + len(others)} models; name one run's folder")
        return cls(saved)


def from_pretrained(model_class: Any, path: str | Path, **options: Any) -> nn.Module:
    """A Hugging Face model whose head ``swap_head`` had replaced when ``save_pretrained`` wrote it,
    with that head: ``model_class.from_pretrained(path, **options)``, which alone would draw a new
    linear layer, and then the head as it was saved.

    ``path`` is a folder or OWNER/NAME; ``model_class`` as in transformers, Auto classes too.

    Raises:
        RequestError: a model that says of no such head, or whose weights lack it or hold another.
    """
    model: nn.Module = model_class.from_pretrained(path, **options)
    said = getattr(getattr(model, "config", None), CONFIG_ENTRY, None)
    if not isinstance(said, Mapping):
        raise RequestError(
            f"{path} needs a config.json that names heads of fixhead, and it does not; load it by "
            f"{getattr(model_class, '__name__', 'its class')}.from_pretrained, and swap its head"
        )
    tensors = _head_tensors(Path(path), str(path), tuple(said), options)
    record = SwapRecord([])
    for name, facts in said.items():
        old = model.get_submodule(name)
        state = tensors[name]
        head = _loaded(name, facts, state, old)
        device, dtype = device_and_dtype(old)
        new: nn.Module = ConvolutionalHead(head) if isinstance(old, nn.Conv2d) else head
        new.to(device=device, dtype=dtype).train(old.training)
        put(model, name, new)
        record.exchanges.append(Exchange(name, None, new, (device, dtype)))
    setattr(model, RECORD, record)
    return model


def _loaded(name: str, facts: Any, state: dict[str, Tensor], old: nn.Module) -> ClassificationHead:
    if isinstance(old, nn.Conv2d):
        state = {key.removeprefix("head."): value for key, value in state.items()}
    try:
        head = rebuilt_head(facts, state.get("vectors"))
        head.load_state_dict(state)
    except RequestError:
        raise
    except (KeyError, TypeError, RuntimeError) as error:
        raise RequestError(
            f"the head {name} cannot be built as config.json and the weights describe it "
            f"({error}); save the model again"
        ) from error
    return head


def _head_tensors(
    folder: Path, where: str, names: tuple[str, ...], options: Mapping[str, Any]
) -> dict[str, dict[str, Tensor]]:
    """What the weights hold below each head's name."""
    if not folder.is_dir():
        kept = ("revision", "cache_dir", "force_download", "local_files_only", "token")
        asked = {key: options[key] for key in kept if key in options}
        folder = Path(snapshot_download(where, allow_patterns=["*.safetensors"], **asked))
    found: dict[str, dict[str, Tensor]] = {name: {} for name in names}
    for file in sorted(folder.glob("*.safetensors")):
        with safe_open(file, "pt") as opened:
            for key in opened.keys():  # noqa: SIM118  it is no mapping
                for name in names:
                    if key.startswith(f"{name}."):
                        found[name][key.removeprefix(f"{name}.")] = opened.get_tensor(key)
    lacking = next((name for name in names if not found[name]), None)
    if lacking is not None:
        raise RequestError(
            f"{where} needs safetensors with the head {lacking}, and has none; save the model with "
            "save_pretrained after swap_head"
        )
    return found
