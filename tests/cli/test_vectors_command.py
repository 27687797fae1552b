"""``fixhead vectors``: what it prints, what it saves, and what it refuses."""

from __future__ import annotations

import json

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from fixhead import certify, vectors
from fixhead.cli import run


def say(capsys, *arguments):
    status = run(["vectors", *map(str, arguments)])
    output = capsys.readouterr()
    assert status == 0, output.err
    return output.out


def refused(capsys, *arguments):
    status = run(["vectors", *map(str, arguments)])
    output = capsys.readouterr()
    assert status == 2
    assert len(output.err.strip().splitlines()) == 1
    assert output.out == ""
    return output.err


def test_json_is_the_certificate(capsys):
    printed = say(capsys, "simplex", "--classes", 10, "--features", 16, "--json")
    expected = certify(vectors.simplex(10, 16), construction="simplex")
    assert json.loads(printed) == expected.to_dict()


def test_table_is_for_people(capsys):
    printed = say(capsys, "hadamard", "--classes", 10, "--features", 16)
    assert "distinct rows" in printed
    assert "Welch bound" in printed


def test_every_construction_is_served(capsys, tmp_path):
    save_file({"w": torch.eye(3)}, tmp_path / "w.safetensors")
    special = {
        "polygon": ("--classes", 3, "--features", 2),
        "guided": ("--classes", 3, "--features", 3, "--option", "counts=5,2,9"),
        "from_tensor": ("--load", tmp_path / "w.safetensors"),
    }
    for name in vectors.CONSTRUCTIONS:
        arguments = special.get(name, ("--classes", 3, "--features", 4))
        facts = json.loads(say(capsys, name, *arguments, "--json"))
        assert facts["construction"] == name
        assert facts["distinct"] == 3


def test_list_names_all_of_them(capsys):
    assert set(json.loads(say(capsys, "list", "--json"))) == set(vectors.CONSTRUCTIONS)
    printed = say(capsys, "list")
    assert all(name in printed for name in vectors.CONSTRUCTIONS)


def test_best_says_why(capsys):
    facts = json.loads(say(capsys, "best", "--classes", 12, "--features", 8, "--json"))
    assert facts["construction"] == "orthoplex"
    assert "2d" in facts["reason"]
    assert "Chosen because" in say(capsys, "best", "--classes", 12, "--features", 8)


def test_options_reach_the_construction(capsys, tmp_path):
    target = tmp_path / "w.safetensors"
    say(
        capsys, "simplex", "--classes", 4, "--features", 5, "--option", "rotate=false",
        "--dtype", "float64", "--save", target,
    )  # fmt: skip
    expected = vectors.simplex(4, 5, rotate=False, dtype=torch.float64)
    assert torch.equal(load_file(target)["vectors"], expected)
    with safe_open(target, "pt") as file:
        facts = json.loads(file.metadata()["fixhead"])
    assert facts == {"construction": "simplex", "seed": 0, "options": {"rotate": False}}


def test_seed_is_the_generators(capsys, tmp_path):
    target = tmp_path / "w.safetensors"
    say(capsys, "random", "--classes", 4, "--features", 5, "--seed", 7, "--save", target)
    expected = vectors.random(4, 5, generator=torch.Generator().manual_seed(7))
    assert torch.equal(load_file(target)["vectors"], expected)


def test_a_file_that_exists_is_kept_unless_told_otherwise(capsys, tmp_path):
    target = tmp_path / "w.safetensors"
    target.write_text("somebody's work")
    arguments = ("random", "--classes", 4, "--features", 5, "--save", target)
    assert "--overwrite" in refused(capsys, *arguments)
    assert target.read_text() == "somebody's work"
    say(capsys, *arguments, "--overwrite")
    assert load_file(target)["vectors"].shape == (4, 5)
    assert [path.name for path in tmp_path.iterdir()] == ["w.safetensors"]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("simplex", "--classes", 10, "--features", 8), ["features >= classes - 1 = 9", "codes()"]),
        (("no-such", "--classes", 2, "--features", 2), ["no-such", "simplex"]),
        (("simplex", "--features", 8), ["--classes"]),
        (("simplex", "--classes", 8), ["--features"]),
        (("simplex", "--classes", 1, "--features", 8), ["classes >= 2"]),
        (("simplex", "--classes", 0, "--features", 8), ["classes >= 2"]),
        (("simplex", "--classes", 2, "--features", -1), ["features >= 1"]),
        (("simplex", "--classes", "2.5", "--features", 8), ["--classes", "integer"]),
        (("simplex", "--classes", 2, "--features", 8, "--option", "turn=true"), ["turn", "rotate"]),
        (("simplex", "--classes", 2, "--features", 8, "--option", "rotate"), ["NAME=VALUE"]),
        (("simplex", "--classes", 2, "--features", 8, "--option", "rotate=3"), ["rotate", "3"]),
        (("simplex", "--classes", 2, "--features", 8, "--dtype", "int8"), ["int8", "float32"]),
        (("simplex", "--classes", 2, "--features", 8, "--seed", -1), ["seed", "-1"]),
        (("guided", "--classes", 3, "--features", 2), ["counts"]),
        (("guided", "--classes", 3, "--features", 2, "--option", "counts=1,2"), ["counts", "3"]),
        (("from_tensor", "--classes", 3, "--features", 2), ["--load"]),
        (("best", "--classes", 3, "--features", 1), ["features >= 2"]),
        (("best", "--classes", 3, "--features", 2, "--option", "x=1"), ["x", "nonnegative"]),
        (("simplex", "--classes", 2, "--features", 2, "--save", "/no/such/w.st"), ["/no/such"]),
    ],
)
def test_nonsense_is_refused_in_one_sentence(capsys, arguments, words):
    sentence = refused(capsys, *arguments)
    assert all(word in sentence for word in words), sentence


def test_files_that_hold_no_vectors_are_refused(capsys, tmp_path):
    path = tmp_path / "w.safetensors"
    assert str(path) in refused(capsys, "from_tensor", "--load", path)
    path.write_bytes(b"not safetensors at all")
    assert str(path) in refused(capsys, "from_tensor", "--load", path)
    save_file({"a": torch.eye(2), "b": torch.eye(2)}, path)
    assert "'vectors'" in refused(capsys, "from_tensor", "--load", path)
    save_file({"a": torch.zeros(2, 2)}, path)
    assert "row 0" in refused(capsys, "from_tensor", "--load", path)


def test_a_full_disk_leaves_no_broken_file(capsys, tmp_path, files_of_at_most):
    target = tmp_path / "w.safetensors"
    command = ["vectors", "random", "--classes", "100", "--features", "100", "--save", str(target)]
    with files_of_at_most(4096):
        assert run(command) == 2
    assert "full" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []
