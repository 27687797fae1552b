"""Models to and from the Hub's layout, without a network; swapped ones that keep their head."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

import fixhead
import fixhead.hub
from fixhead._torchvision import import_torchvision
from fixhead.cli import run
from fixhead.heads.swap import CONFIG_ENTRY, describe_head, rebuilt_head
from fixhead.hub import FILES, HubModel, from_pretrained


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    out = tmp_path_factory.mktemp("hub") / "out"
    options = ["--head", "simplex", "--epochs", "1", "--device", "cpu", "--out", str(out)]
    assert run(["train", *options]) == 0
    return out / "runs" / "simplex-seed0"


def pixels() -> torch.Tensor:
    draws = torch.Generator().manual_seed(0)
    return torch.randint(256, (5, 1, 8, 8), dtype=torch.uint8, generator=draws)


def test_a_model_folder_comes_back_as_it_was_saved(folder, tmp_path):
    model = HubModel.from_pretrained(str(folder))
    assert isinstance(model, type(fixhead.load(folder)))
    model.save_pretrained(tmp_path / "copy")
    for name in FILES:
        if (folder / name).exists():
            assert (tmp_path / "copy" / name).exists(), name
    weights = "model.safetensors"
    assert (tmp_path / "copy" / weights).read_bytes() == (folder / weights).read_bytes()
    again = HubModel.from_pretrained(tmp_path / "copy")
    torch.testing.assert_close(again(pixels()), fixhead.load(folder)(pixels()), rtol=0, atol=0)
    assert again.classes == model.classes
    assert (tmp_path / "copy" / "README.md").read_text() == (folder / "README.md").read_text()
    assert fixhead.load(tmp_path / "copy").classes == model.classes


def test_a_model_that_is_there_is_not_written_over(folder, tmp_path):
    model = HubModel.from_pretrained(folder)
    model.save_pretrained(tmp_path / "copy")
    kept = (folder / "config.json").read_bytes()
    for place in (tmp_path / "copy", folder):
        with pytest.raises(fixhead.RequestError, match="holds a model already"):
            model.save_pretrained(place)
    assert (folder / "config.json").read_bytes() == kept
    assert not (tmp_path / "copy" / "config.json").exists()


def test_a_repository_is_fetched_with_its_files_alone(folder, monkeypatch):
    asked = {}

    def fetched(name, **options):
        asked.update(options, name=name)
        return str(folder)

    monkeypatch.setattr(fixhead.hub, "snapshot_download", fetched)
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    model = HubModel._from_pretrained(
        model_id="somebody/flowers", revision="v1", cache_dir=None, force_download=False,
        local_files_only=True, token=None,
    )  # fmt: skip
    assert model.classes == fixhead.load(folder).classes
    assert (asked["name"], asked["revision"]) == ("somebody/flowers", "v1")
    assert asked["allow_patterns"] == list(FILES)


def test_a_model_is_pushed_as_its_folder(folder, monkeypatch):
    import huggingface_hub.hub_mixin as mixin

    seen = {}

    class Api:
        def __init__(self, **_):
            pass

        def create_repo(self, repo_id, **_):
            return type("Made", (), {"repo_id": repo_id})

        def upload_folder(self, *, repo_id, folder_path, **_):
            seen["files"] = sorted(path.name for path in Path(folder_path).iterdir())
            seen["repo_id"] = repo_id
            seen["classes"] = fixhead.load(folder_path).classes
            return "the commit"

    monkeypatch.setattr(mixin, "HfApi", Api)
    model = HubModel.from_pretrained(folder)
    assert model.push_to_hub("me/flowers") == "the commit"
    assert seen["repo_id"] == "me/flowers"
    assert seen["classes"] == model.classes
    assert {"model.json", "model.safetensors", "README.md"} <= {*seen["files"]} <= {*FILES}


@pytest.mark.parametrize(
    "made",
    [
        lambda: fixhead.ClassificationHead.from_preset("simplex", 16, 5),
        lambda: fixhead.ClassificationHead.from_preset("learned-dot", 16, 5),
        lambda: fixhead.ClassificationHead.from_preset("vectors=implicit,code_width=128", 16, 40),
        lambda: fixhead.ClassificationHead(16, 5, vectors=torch.eye(5, 16), scale="learned"),
        lambda: fixhead.ClassificationHead(16, 5, vectors=torch.eye(5, 16), neck="linear"),
    ],
    ids=["simplex", "learned", "implicit", "tensor", "tensor behind a neck"],
)
def test_a_described_head_is_built_again_and_takes_its_state(made):
    head, features = made().eval(), torch.randn(4, 16, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        for parameter in head.parameters():
            parameter.mul_(1.5)
    facts, state = json.loads(json.dumps(describe_head(head))), head.state_dict()
    again = rebuilt_head(facts, state.get("vectors"))
    again.load_state_dict(state)
    assert str(again.identity) == str(head.identity)
    torch.testing.assert_close(again.eval()(features), head(features), rtol=0, atol=0)


class Config:
    """As much of a Hugging Face config as matters: plain JSON beside the weights."""

    def __init__(self, **facts):
        self.num_labels = 7
        self.__dict__.update(facts)

    def to_dict(self):
        return dict(vars(self))


class Network(nn.Module):
    def __init__(self, config):
        super().__init__()
        self.config = config
        self.body = nn.Linear(6, 16)
        self.classifier = nn.Linear(16, config.num_labels)

    def forward(self, x):
        return self.classifier(self.body(x).relu())

    def save_pretrained(self, folder):
        from safetensors.torch import save_file

        folder.mkdir()
        (folder / "config.json").write_text(json.dumps(self.config.to_dict()))
        save_file(self.state_dict(), folder / "model.safetensors")

    @classmethod
    def from_pretrained(cls, folder):
        from safetensors.torch import load_file

        model = cls(Config(**json.loads((Path(folder) / "config.json").read_text())))
        model.load_state_dict(load_file(Path(folder) / "model.safetensors"), strict=False)
        return model


def test_a_swapped_model_comes_back_with_its_head(tmp_path):
    model = Network(Config())
    fixhead.swap_head(model, "random-cosine@20")
    x = torch.randn(3, 6, generator=torch.Generator().manual_seed(0))
    model.save_pretrained(tmp_path / "saved")
    again = from_pretrained(Network, tmp_path / "saved")
    assert isinstance(again.classifier, fixhead.ClassificationHead)
    torch.testing.assert_close(again(x), model(x), rtol=0, atol=0)
    with pytest.raises(fixhead.RequestError, match="swapped before"):
        fixhead.swap_head(again, "simplex")
    with pytest.raises(fixhead.RequestError, match="did not keep it"):
        fixhead.unswap(again)
    fixhead.unswap(model)
    assert CONFIG_ENTRY not in model.config.to_dict()


def test_what_has_no_head_of_ours_or_another_is_refused(tmp_path):
    plain = Network(Config())
    plain.save_pretrained(tmp_path / "plain")
    with pytest.raises(fixhead.RequestError, match="swap its head"):
        from_pretrained(Network, tmp_path / "plain")
    fixhead.swap_head(plain, "simplex")
    plain.save_pretrained(tmp_path / "swapped")
    config = tmp_path / "swapped" / "config.json"
    facts = json.loads(config.read_text())
    facts[CONFIG_ENTRY]["classifier"]["spec"] = "vectors=random"
    config.write_text(json.dumps(facts))
    with pytest.raises(fixhead.RequestError, match="simplex"):
        from_pretrained(Network, tmp_path / "swapped")
    facts[CONFIG_ENTRY]["classifier"] = {"features": 16}
    config.write_text(json.dumps(facts))
    with pytest.raises(fixhead.RequestError, match="save the model again"):
        from_pretrained(Network, tmp_path / "swapped")


def test_a_swapped_hugging_face_model_keeps_its_head_through_from_pretrained(tmp_path):
    import_torchvision()  # which transformers imports, and some builds fail on
    transformers = pytest.importorskip("transformers")
    config = transformers.ViTConfig(
        hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=16,
        image_size=16, patch_size=8, num_labels=5,
    )  # fmt: skip
    model = transformers.ViTForImageClassification(config).eval()
    fixhead.swap_head(model, "simplex", classes=7)
    model.save_pretrained(tmp_path / "vit")
    images = torch.from_numpy(np.random.default_rng(0).normal(size=(2, 3, 16, 16))).float()
    for kind in (
        transformers.ViTForImageClassification,
        transformers.AutoModelForImageClassification,
    ):
        again = from_pretrained(kind, tmp_path / "vit").eval()
        assert again.config.num_labels == 7
        assert isinstance(again.classifier, fixhead.ClassificationHead)
        torch.testing.assert_close(again(images).logits, model(images).logits)


def test_without_huggingface_hub_one_sentence_says_what_to_install():
    code = (
        "import sys; sys.modules['huggingface_hub'] = None\n"
        "import fixhead\n"
        "try: import fixhead.hub\n"
        "except fixhead.MissingExtraError as error: print(error)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert 'pip install "fixhead[hub]"' in done.stdout
