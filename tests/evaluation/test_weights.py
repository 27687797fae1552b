"""Weights in the many forms in which trainings save them."""

from __future__ import annotations

import argparse
import types
from collections import OrderedDict
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from fixhead import RequestError
from fixhead.evaluation.third_party import read_weights


def network(seed=0):
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        layers = {"conv": nn.Conv2d(3, 4, 3), "norm": nn.BatchNorm2d(4), "fc": nn.Linear(4, 2)}
        return nn.Sequential(OrderedDict(layers))


STATE = network().state_dict()
OTHER = network(1).state_dict()


def under(prefix, state=STATE):
    return {f"{prefix}{name}": tensor for name, tensor in state.items()}


def read(tmp_path, content, choice=None):
    path = tmp_path / "w.pth"
    torch.save(content, path)
    return read_weights(path, STATE, "timm:small", choice)


def assert_are(weights, state):
    assert weights.tensors.keys() >= state.keys()
    for name, tensor in state.items():
        assert torch.equal(weights.tensors[name], tensor), name


@pytest.mark.parametrize(
    "prefix",
    ["", "model.", "module.", "_orig_mod.", "backbone.", "_orig_mod.module.", "module._orig_mod.",
     "model.backbone.", "module.model._orig_mod.backbone.", "net.", "online_network.", "a.b.c."],
)  # fmt: skip
@pytest.mark.parametrize("inside", [None, "state_dict", "model", "net", "model_state_dict"])
def test_prefixes_of_any_order_and_number_are_taken_away(tmp_path, prefix, inside):
    state = under(prefix)
    weights = read(tmp_path, state if inside is None else {inside: state, "epoch": 3})
    assert_are(weights, STATE)
    assert weights.other is None


def test_parts_under_different_wrappers_are_one_network(tmp_path):
    split = {f"backbone.{n}" if n != "fc.weight" else f"module.{n}": t for n, t in STATE.items()}
    assert_are(read(tmp_path, split), STATE)
    inner = {name.replace("conv.", "conv._orig_mod."): t for name, t in STATE.items()}
    assert_are(read(tmp_path, under("module.", inner)), STATE)


def test_what_trainings_save_beside_weights_does_no_harm(tmp_path):
    optimizer = torch.optim.AdamW(network().parameters())
    optimizer.param_groups[0]["params"][0].grad = torch.ones(4, 3, 3, 3)
    optimizer.step()
    content = {
        "epoch": 7,
        "arch": "resnet18",
        "state_dict": STATE,
        "optimizer": optimizer.state_dict(),
        "args": argparse.Namespace(model="resnet18", out=Path("runs"), lr=0.1),
        "more": types.SimpleNamespace(seed=1),
        "best": np.float64(0.9),
        "count": np.int64(3),
        "history": [0.1, 0.2],
    }
    assert_are(read(tmp_path, content), STATE)


def test_other_modules_of_the_same_training_are_left_aside(tmp_path):
    content = under("model.") | {"criterion.weight": torch.ones(2), "metric.total": torch.ones(1)}
    assert_are(read(tmp_path, {"state_dict": content, "pytorch-lightning_version": "2"}), STATE)


def test_counters_are_no_weights(tmp_path):
    averaged = under("module.") | {"n_averaged": torch.tensor(3)}
    assert read(tmp_path, averaged).averaged
    assert_are(read(tmp_path, averaged), STATE)
    profiled = STATE | {"total_ops": torch.ones(1), "conv.total_params": torch.ones(1)}
    assert_are(read(tmp_path, profiled), STATE)


def test_weights_of_before_batches_were_counted_fit(tmp_path):
    old = {n: t for n, t in STATE.items() if not n.endswith("num_batches_tracked")}
    assert_are(read(tmp_path, old), old)


@pytest.mark.parametrize(
    ("raw", "averaged"),
    [("state_dict", "state_dict_ema"), ("model", "model_ema"), ("model", "ema"),
     ("model_state", "ema_state"), ("params", "params_ema"), ("net", "ema_model")],
)  # fmt: skip
def test_averaged_weights_are_preferred_and_it_is_said(tmp_path, raw, averaged):
    content = {raw: STATE, averaged: under("module.", OTHER)}
    weights = read(tmp_path, content)
    assert_are(weights, OTHER)
    assert averaged in weights.described()
    assert raw in weights.described()
    chosen = read(tmp_path, content, "raw")
    assert_are(chosen, STATE)
    assert chosen.described().startswith("the raw weights")
    assert_are(read(tmp_path, content, "ema"), OTHER)


def test_averaged_weights_in_the_same_state_dict_are_found_too(tmp_path):
    content = {"state_dict": under("model.") | under("model_ema.module.", OTHER)}
    assert_are(read(tmp_path, content), OTHER)
    assert_are(read(tmp_path, content, "raw"), STATE)


def test_a_count_says_which_of_two_networks_was_averaged(tmp_path):
    shadow = under("shadow.module.", OTHER) | {"shadow.n_averaged": torch.tensor(9)}
    content = {"state_dict": under("model.") | shadow}
    assert_are(read(tmp_path, content), OTHER)
    assert_are(read(tmp_path, content, "raw"), STATE)
    wrapped = under("_orig_mod.module.") | {"_orig_mod.n_averaged": torch.tensor(9)}
    assert read(tmp_path, wrapped).averaged


def test_weights_that_are_not_there_are_refused(tmp_path):
    with pytest.raises(RequestError, match=r"--weights ema needs averaged weights.*\(state_dict\)"):
        read(tmp_path, {"state_dict": STATE}, "ema")
    with pytest.raises(RequestError, match="--weights raw needs raw weights"):
        read(tmp_path, {"state_dict_ema": STATE}, "raw")


def test_two_different_sets_of_weights_are_no_guess(tmp_path):
    with pytest.raises(RequestError, match=r"several \(student, teacher\)"):
        read(tmp_path, {"student": STATE, "teacher": OTHER})
    assert_are(read(tmp_path, {"model": STATE, "state_dict": STATE}), STATE)


@pytest.mark.parametrize(
    ("state", "words"),
    [
        ({n: t for n, t in STATE.items() if n != "fc.bias"}, "no fc.bias"),
        (STATE | {"fc2.weight": torch.ones(2)}, "fc2.weight, which it lacks"),
        (under("model.", STATE | {"layer.weight": torch.ones(1)}), "which it lacks"),
        ({"features.0.weight": torch.ones(1)}, "no conv.weight"),
    ],
)
def test_weights_of_another_network_are_refused_and_nobody_is_told_what_he_said(
    tmp_path, state, words
):
    with pytest.raises(RequestError, match="another network than timm:small") as refusal:
        read(tmp_path, {"state_dict": state})
    assert words in str(refusal.value)
    assert "architecture" not in str(refusal.value)


@pytest.mark.parametrize("content", [{"state_dict": {}}, {"epoch": 1}, [1, 2], 3, {1: 2}])
def test_a_file_without_tensors_is_refused(tmp_path, content):
    with pytest.raises(RequestError, match="state dict of tensors"):
        read(tmp_path, content)


def test_a_whole_module_is_refused_by_its_class_and_without_escape_codes(tmp_path):
    path = tmp_path / "w.pth"
    torch.save(network(), path)
    with pytest.raises(RequestError, match=r"state_dict\(\) alone") as refusal:
        read_weights(path, STATE, "timm:small")
    assert "\x1b" not in str(refusal.value)
    assert "torch.nn" in str(refusal.value)
    assert "\n" not in str(refusal.value)


def test_safetensors_go_the_same_way(tmp_path):
    path = tmp_path / "w.safetensors"
    save_file(under("module."), path)
    assert_are(read_weights(path, STATE, "timm:small"), STATE)
