"""model.safetensors and model.json: what comes back, and what is refused."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from training_toys import tiny

from fixhead._errors import RequestError
from fixhead.training import Classifier, load_model_state, read_description, save_model

ABOUT = {"backbone": "tiny", "classes": ["a", "b", "c"]}


def wide(head: str) -> Classifier:
    """A model with tiny's head and another backbone."""
    model = tiny(head=head)
    model.backbone.body.append(torch.nn.Linear(8, 8))
    return model


def weights_of(model: Classifier) -> dict[str, torch.Tensor]:
    return {name: tensor.clone() for name, tensor in model.state_dict().items()}


@pytest.mark.parametrize("head", ["learned-dot", "random-cosine@20", "simplex"])
def test_a_saved_model_comes_back_bit_for_bit(head: str, tmp_path: Path) -> None:
    saved, loaded = tiny(seed=0, head=head), tiny(seed=1, head=head)
    save_model(tmp_path / "new" / "folder", saved, ABOUT)
    load_model_state(tmp_path / "new" / "folder", loaded)
    theirs = loaded.state_dict()
    assert all(torch.equal(tensor, theirs[name]) for name, tensor in saved.state_dict().items())
    assert read_description(tmp_path / "new" / "folder") == ABOUT


def test_nothing_is_overwritten_unless_asked(tmp_path: Path) -> None:
    save_model(tmp_path, tiny(seed=0), ABOUT)
    before = (tmp_path / "model.safetensors").read_bytes()
    with pytest.raises(RequestError, match="holds a model already; name another folder"):
        save_model(tmp_path, tiny(seed=1), ABOUT)
    assert (tmp_path / "model.safetensors").read_bytes() == before
    save_model(tmp_path, tiny(seed=1), ABOUT, overwrite=True)
    assert (tmp_path / "model.safetensors").read_bytes() != before
    assert sorted(path.name for path in tmp_path.iterdir()) == ["model.json", "model.safetensors"]


@pytest.mark.parametrize(
    ("other", "words"),
    [
        (lambda: tiny(head="simplex"), r"frozen random vectors.* frozen simplex vectors"),
        (lambda: tiny(head="random-dot"), r"cosine logits.* dot logits"),
        (lambda: tiny(head="random-cosine@20", classes=4), r"3 classes.* 4 classes"),
        (lambda: tiny(head="learned-cosine@20"), r"frozen random.* learned random"),
        (lambda: wide("random-cosine@20"), r"body.3.weight .* this model than|it lacks"),
    ],
    ids=["construction", "logits", "classes", "kind", "backbone"],
)
def test_a_model_of_another_construction_is_refused_and_left_untouched(
    other: object, words: str, tmp_path: Path
) -> None:
    save_model(tmp_path, tiny(head="random-cosine@20"), ABOUT)
    model = other()
    before = weights_of(model)
    with pytest.raises(RequestError, match=words) as caught:
        load_model_state(tmp_path, model)
    assert "\n" not in str(caught.value)
    after = model.state_dict()
    assert all(torch.equal(before[name], after[name]) for name in before)


def test_weights_cut_off_or_replaced_are_refused(tmp_path: Path) -> None:
    save_model(tmp_path, tiny(), ABOUT)
    path = tmp_path / "model.safetensors"
    path.write_bytes(path.read_bytes()[:-10])
    with pytest.raises(RequestError, match="cut off or replaced"):
        load_model_state(tmp_path, tiny())


@pytest.mark.parametrize("name", ["model.json", "model.safetensors"])
def test_a_missing_file_is_named(name: str, tmp_path: Path) -> None:
    save_model(tmp_path, tiny(), ABOUT)
    (tmp_path / name).unlink()
    with pytest.raises(RequestError, match=f"holds no {name}"):
        load_model_state(tmp_path, tiny())


@pytest.mark.parametrize("text", ["", "[]", '{"schema": "else"}', json.dumps({"sha256": "0"})])
def test_another_json_is_refused(text: str, tmp_path: Path) -> None:
    save_model(tmp_path, tiny(), ABOUT)
    (tmp_path / "model.json").write_text(text)
    with pytest.raises(RequestError, match=r"model.json was needed with schema 'fixhead.model/1'"):
        read_description(tmp_path)


def test_a_full_disk_leaves_the_old_model_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    save_model(tmp_path, tiny(seed=0), ABOUT)

    def full(path: Path) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr("fixhead._files._force_to_disk", full)
        with pytest.raises(OSError, match="No space left"):
            save_model(tmp_path, tiny(seed=1), ABOUT, overwrite=True)
    load_model_state(tmp_path, tiny(seed=2))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["model.json", "model.safetensors"]
