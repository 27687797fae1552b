import base64
import io
import json
import shutil

import numpy as np
import pytest
from PIL import Image

from fixhead.cli import run
from fixhead.data import load
from fixhead.data.corruptions import corrupted
from fixhead.runs.records import read

HEADS = "learned-dot,simplex,auto,vectors=random,scale=8,loss=balanced-softmax"
TRAIN = ["--epochs", "1", "--device", "cpu"]


@pytest.fixture(scope="module")
def comparison(tmp_path_factory):
    """Four arms, two seeds, on a long tail of the digits; one arm needs the class counts."""
    out = tmp_path_factory.mktemp("evaluate") / "out"
    options = ["--imbalance", "exp:0.1", "--heads", HEADS, "--seeds", "2", *TRAIN]
    assert run(["compare", *options, "--out", str(out)]) == 0
    return out


def evaluated(capsys, *arguments):
    status = run(["evaluate", *map(str, arguments), "--json", "--device", "cpu"])
    said = capsys.readouterr()
    assert status == 0, said.err
    return json.loads(said.out)


def refused(capsys, *arguments):
    status = run(["evaluate", *map(str, arguments)])
    said = [line for line in capsys.readouterr().err.splitlines() if line.startswith("fixhead: ")]
    assert status == 2
    assert len(said) == 1
    return said[0]


def test_a_comparison_evaluated_again_gives_the_accuracies_of_its_records(
    capsys, tmp_path, comparison
):
    found = evaluated(capsys, comparison, "--out", tmp_path)
    models = {model["name"]: model for model in found["models"]}
    for row in read(comparison / "runs.jsonl"):
        model = models[row["run_id"]]
        assert model["accuracy"] == row["test_accuracy"]
        assert model["loss"] == pytest.approx(row["test_loss"], rel=1e-6)
        assert model["group_accuracy"] == row["group_accuracy"]
        assert model["geometry"]["confusion"] == row["geometry"]["confusion"]
        assert (model["head"], model["seed"]) == (row["head"], row["seed"])
        assert model["trained_with"] == {name: row[name] for name in ("neck", "loss", "config")}
    assert found == json.loads((tmp_path / "evaluation.json").read_text())


def test_a_run_is_evaluated_beside_its_model(capsys, tmp_path, comparison):
    folder = tmp_path / "run"
    shutil.copytree(comparison / "runs" / "simplex-seed0", folder)
    found = evaluated(capsys, folder / "model.safetensors")
    assert (folder / "evaluation.json").exists()
    collapse = found["models"][0]["collapse"]
    assert collapse["of"] == "directions"
    assert 0 < collapse["nearest_mean_agreement"] <= 1
    assert found["corruptions"] is None
    [row] = [one for one in read(comparison / "runs.jsonl") if one["run_id"] == "simplex-seed0"]
    assert found["models"][0]["trained_with"]["config"] == row["config"]


def test_a_model_of_before_models_said_how_they_were_trained_has_it_from_its_runs_record(
    capsys, tmp_path, comparison
):
    folder = tmp_path / "comparison"
    shutil.copytree(comparison, folder, ignore=shutil.ignore_patterns("evaluation*"))
    model = folder / "runs" / "simplex-seed0"
    facts = json.loads((model / "model.json").read_text())
    trained = facts["description"].pop("trained_with")
    (model / "model.json").write_text(json.dumps(facts))
    assert evaluated(capsys, model)["models"][0]["trained_with"] == trained
    shutil.copytree(model, tmp_path / "alone", ignore=shutil.ignore_patterns("evaluation*"))
    assert evaluated(capsys, tmp_path / "alone")["models"][0]["trained_with"] is None
    page = (tmp_path / "alone" / "evaluation.html").read_text()
    assert "does not say how its models were trained" in page


def test_every_measure_is_there_by_class_and_by_group(capsys, tmp_path, comparison):
    run_dir = comparison / "runs" / "simplex-seed0"
    model = evaluated(capsys, run_dir, "--out", tmp_path)["models"][0]
    found = model["per_class"]
    images = np.array(found["images"])
    confusion = np.array(model["geometry"]["confusion"])
    assert images.tolist() == confusion.sum(axis=1).tolist()
    assert all(len(values) == 10 for values in found.values())
    assert found["accuracy"] == pytest.approx((confusion.diagonal() / images).tolist())
    for name, whole in (
        ("own", model["compactness"]["own"]),
        ("norm", model["compactness"]["norm"]),
        ("nearest_mean_agreement", model["collapse"]["nearest_mean_agreement"]),
    ):
        assert np.average(found[name], weights=images) == pytest.approx(whole, rel=1e-5)
    for name, whole in (("cdnv", "cdnv"), ("alignment", "alignment")):
        assert np.mean(found[name]) == pytest.approx(model["collapse"][whole], rel=1e-5)
    counts = json.loads((run_dir / "model.json").read_text())["description"]["groups"]
    assert set(model["groups"]) == set(counts)
    for name, members in counts.items():
        told = model["groups"][name]
        assert told["classes"] == len(members)
        for measure in ("accuracy", "own", "trace_ratio", "calibration_error"):
            values = [found[measure][place] for place in members]
            known = [value for value in values if value is not None]
            assert told[measure] == (pytest.approx(np.mean(known)) if known else None)


def test_other_classes_are_told_apart_as_scikit_learn_says(capsys, tmp_path, comparison):
    from sklearn.metrics import roc_auc_score

    from fixhead.evaluation.checkpoints import load_for, open_models
    from fixhead.evaluation.further_sets import load_ood, scores

    folder = write_pictures(tmp_path / "mine" / "train", ["1", "2"]).parent
    write_pictures(folder / "test", ["1", "2"])
    run_dir = comparison / "runs" / "simplex-seed0"
    options = ["--outside", folder, "--outside", "digits", "--out", tmp_path / "out"]
    mine, same = evaluated(capsys, run_dir, *options)["outside"]
    assert mine["images"] == 36  # all of them, in training and test folders alike
    saved = open_models(run_dir).models[0]
    _, test = load_for(saved.facts, None, None)
    other = load_ood(str(folder), saved.facts, None).split
    both = [scores(saved.model, saved.batches(part, "cpu", 64)) for part in (test, other)]
    truth = np.repeat([1, 0], [len(test), len(other)])
    for name in ("largest_cosine", "energy"):
        values = np.concatenate([part[name].numpy() for part in both])
        told = mine["models"][0][name]
        assert told["auroc"] == pytest.approx(roc_auc_score(truth, values))
        assert 0 <= told["fpr_at_95"] <= 1
        assert same["models"][0][name]["auroc"] == 0.5  # the test set itself


def test_the_page_is_made_again_from_the_records_alone(capsys, tmp_path, comparison):
    evaluated(capsys, comparison, "--out", tmp_path)
    page = tmp_path / "evaluation.html"
    first = page.read_bytes()
    assert b"data:image/webp" in first
    moved = tmp_path / "elsewhere"
    moved.mkdir()
    shutil.copy(tmp_path / "evaluation.json", moved)
    shutil.copytree(tmp_path / "examples", moved / "examples")
    assert run(["report", str(moved)]) == 0
    again = (moved / "evaluation.html").read_bytes()
    assert again.replace(b"elsewhere", tmp_path.name.encode()) == first
    assert b"data:image/webp" in (comparison / "report.html").read_bytes()


def test_an_evaluation_is_never_overwritten_unless_asked(capsys, tmp_path, comparison):
    run_dir = comparison / "runs" / "simplex-seed0"
    (tmp_path / "evaluation.json").write_text("precious")
    assert "--overwrite" in refused(capsys, run_dir, "--out", tmp_path)
    assert (tmp_path / "evaluation.json").read_text() == "precious"
    evaluated(capsys, run_dir, "--out", tmp_path, "--overwrite")
    assert (tmp_path / "evaluation.json").read_text() != "precious"


def test_corruption_errors_are_held_against_the_baseline(capsys, tmp_path, comparison):
    options = ["--corruptions", "salt-and-pepper,jpeg", "--severities", "1,5"]
    found = evaluated(capsys, comparison, "--out", tmp_path, *options, "--baseline", "simplex")[
        "corruptions"
    ]
    assert found["baseline"] == "simplex"
    arms = {arm["head"]: arm for arm in found["arms"]}
    assert arms["simplex"]["mean_corruption_error"] == pytest.approx(1.0)
    own, base = (arms[head]["accuracy"] for head in ("learned-dot", "simplex"))
    ratios = [
        sum(1 - v for v in own[kind].values()) / sum(1 - v for v in base[kind].values())
        for kind in ("impulse-noise", "jpeg")
    ]
    assert arms["learned-dot"]["mean_corruption_error"] == pytest.approx(np.mean(ratios))


def test_one_model_has_corruptions_without_a_baseline(capsys, tmp_path, comparison):
    run_dir = comparison / "runs" / "simplex-seed0"
    options = ["--corruptions", "jpeg", "--severities", "3", "--out", tmp_path]
    found = evaluated(capsys, run_dir, *options)["corruptions"]
    assert found["baseline"] is None
    assert found["arms"][0]["mean_corruption_error"] is None
    assert 0 < found["arms"][0]["mean_accuracy"] < 1


def write_published(folder, kinds, severities=(1, 2, 3, 4, 5)):
    """The corrupted digits in the layout of CIFAR-10-C: severity by severity, in the test order."""
    test = load("digits").test
    folder.mkdir()
    for kind, file in kinds.items():
        parts = [np.asarray(corrupted(test, kind, severity).images) for severity in severities]
        np.save(folder / f"{file}.npy", np.concatenate(parts).transpose(0, 2, 3, 1))
    np.save(folder / "labels.npy", np.tile(test.labels, len(severities)).astype(np.uint8))
    return folder


PUBLISHED = {"jpeg": "jpeg_compression", "impulse-noise": "impulse_noise"}


def test_a_published_set_gives_what_corrupting_the_test_set_alike_gives(
    capsys, tmp_path, comparison
):
    folder = write_published(tmp_path / "DIGITS-C", PUBLISHED)
    run_dir = comparison / "runs" / "simplex-seed0"
    options = [run_dir, "--corruptions", "jpeg,impulse-noise", "--severities", "2,5"]
    ours = evaluated(capsys, *options, "--out", tmp_path / "ours")["corruptions"]
    theirs = evaluated(capsys, *options, "--out", tmp_path / "theirs", "--corruptions-dir", folder)[
        "corruptions"
    ]
    assert (ours["published"], ours["table"], ours["seed"]) == (None, 32, 0)
    assert (theirs["published"], theirs["table"], theirs["seed"]) == ("DIGITS-C", None, None)
    assert theirs["arms"] == ours["arms"]
    assert theirs["examples"] == ours["examples"]


def test_the_example_is_one_test_image_in_every_corruption(capsys, tmp_path, comparison):
    options = ["--corruptions", "jpeg,fog", "--severities", "1,5", "--out", tmp_path]
    found = evaluated(capsys, comparison, *options)
    examples, test = found["corruptions"]["examples"], load("digits").test
    index = examples["index"]
    assert examples["label"] == test.labels[index]
    np.testing.assert_array_equal(pixels(examples["image"]), test.images[index][0])
    shown = {(one["kind"], one["severity"]): one for one in examples["pictures"]}
    assert shown.keys() == {(kind, severity) for kind in ("jpeg", "fog") for severity in (1, 5)}
    for (kind, severity), one in shown.items():
        expected = corrupted(test, kind, severity).images[index][0]
        np.testing.assert_array_equal(pixels(one["image"]), expected)
        assert one["recognised"].keys() == {arm["head"] for arm in found["corruptions"]["arms"]}
        assert set(one["recognised"].values()) <= {0.0, 0.5, 1.0}
    page = (tmp_path / "evaluation.html").read_text(encoding="utf-8")
    assert '<section id="corruptions"' in page
    assert all(one["image"] in page for one in shown.values())


def test_a_published_tree_is_matched_by_class_names(capsys, tmp_path, comparison):
    test = load("digits").test
    for label in range(10):
        place = tmp_path / "DIGITS-C" / "fog" / "3" / str(label)
        place.mkdir(parents=True)
        for index in np.flatnonzero(test.labels == label):
            Image.fromarray(test.images[index][0]).save(place / f"{index:04}.png")
    run_dir = comparison / "runs" / "simplex-seed0"
    options = ["--corruptions", "fog", "--severities", "3", "--out", tmp_path / "out"]
    found = evaluated(capsys, run_dir, *options, "--corruptions-dir", tmp_path / "DIGITS-C")
    arm = found["corruptions"]["arms"][0]  # the tree holds the pictures as they were
    assert arm["accuracy"]["fog"]["3"] == pytest.approx(found["models"][0]["accuracy"])
    assert found["corruptions"]["examples"]["image"] is None  # another order than the test set's


def pixels(address):
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(address.partition(",")[2]))))


def test_published_files_that_are_missing_or_of_another_set_are_refused(
    capsys, tmp_path, comparison
):
    folder = write_published(tmp_path / "DIGITS-C", {"jpeg": "jpeg_compression"})
    where = ["--corruptions-dir", folder, "--out", tmp_path / "out"]
    assert "gaussian_noise.npy" in refused(capsys, comparison, *where)
    assert "has neither" in refused(capsys, comparison, "--corruptions", "snow", *where)
    labels = np.load(folder / "labels.npy")
    np.save(folder / "labels.npy", labels % 5)
    said = refused(capsys, comparison, "--corruptions", "jpeg", *where)
    assert "has none of '5'" in said
    assert not (tmp_path / "out" / "evaluation.json").exists()


def write_pictures(folder, names):
    from sklearn.datasets import load_digits

    pixels, labels = load_digits(return_X_y=True)
    for label in names:
        place = folder / label
        place.mkdir(parents=True)
        for number, row in enumerate(pixels[labels == int(label)][:9]):
            image = Image.fromarray((row.reshape(8, 8) * 255 / 16).astype(np.uint8))
            image.save(place / f"{number}.png")
    return folder


def test_another_set_is_matched_by_class_names_and_the_drop_has_an_interval(
    capsys, tmp_path, comparison
):
    folder = write_pictures(tmp_path / "mine", ["9", "0", "3"])
    found = evaluated(capsys, comparison, "--also", folder, "--out", tmp_path)["also"][0]
    assert found["images"] == 27
    assert found["baseline"] == "learned-dot"
    for place, arm in enumerate(found["arms"]):
        drop = arm["drop"]
        assert drop["value"] == pytest.approx(arm["test_accuracy"] - arm["accuracy"])
        assert drop["low"] < drop["value"] < drop["high"]
        assert (arm["drop_against_baseline"] is None) == (place == 0)
        assert arm["n"] == 2


def test_the_table_is_printed_for_people(capsys, tmp_path, comparison):
    run_dir = comparison / "runs" / "simplex-seed0"
    options = ["--corruptions", "jpeg", "--severities", "1", "--also", "digits"]
    flat = write_pictures(tmp_path / "flat", ["1"]) / "1"
    options += ["--outside", str(flat)]
    assert run(["evaluate", str(run_dir), *options, "--out", str(tmp_path)]) == 0
    said = capsys.readouterr().out
    assert "images of other classes" in said
    assert "AUROC" in said
    assert all(words in said for words in ("balanced accuracy", "NC1", "severity 1", "drop"))


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--data", "no-such-data"], ["no-such-data"]),
        (["--corruptions", "rust"], ["rust"]),
        (["--corruptions", "jpeg,jpeg"], ["once"]),
        (["--corruptions", "frost"], ["--frost"]),
        (["--corruptions", "jpeg", "--severities", "6"], ["1 to 5"]),
        (["--corruptions", "jpeg", "--severities", "high"], ["--severities"]),
        (["--also", "no-such-set"], ["no-such-set"]),
        (["--baseline", "hadamard"], ["hadamard", "simplex"]),
        (["--batch-size", "0"], ["batch"]),
        (["--projection", "som"], ["--projection", "tsne"]),
        (["--outside", "no-such-set"], ["no-such-set"]),
        (["--mean", "0.5"], ["--architecture"]),
        (["--device", "toaster"], ["toaster"]),
    ],
)
def test_what_cannot_be_evaluated_is_refused_and_nothing_written(
    capsys, tmp_path, comparison, options, words
):
    out = tmp_path / "out"
    said = refused(capsys, comparison, *options, "--out", out)
    assert all(word in said for word in words), said
    assert not out.exists()


def test_classes_that_the_model_does_not_know_are_refused(capsys, tmp_path, comparison):
    write_pictures(tmp_path / "mine" / "train", ["1", "2"])
    write_pictures(tmp_path / "mine" / "test", ["1", "2"])
    for part in ("train", "test"):
        (tmp_path / "mine" / part / "2").rename(tmp_path / "mine" / part / "two")
    said = refused(capsys, comparison, "--data", tmp_path / "mine", "--out", tmp_path / "out")
    assert "two" in said


@pytest.mark.parametrize("damage", ["missing", "short", "json", "fields"])
def test_a_damaged_model_is_named(capsys, tmp_path, comparison, damage):
    folder = tmp_path / "run"
    shutil.copytree(comparison / "runs" / "simplex-seed0", folder)
    weights, facts = folder / "model.safetensors", folder / "model.json"
    if damage == "missing":
        weights.unlink()
    elif damage == "short":
        weights.write_bytes(weights.read_bytes()[:-5])
    elif damage == "json":
        facts.write_text("{}")
    else:
        content = json.loads(facts.read_text())
        del content["description"]["backbone"]
        facts.write_text(json.dumps(content))
    said = refused(capsys, folder)
    assert "model" in said
    assert not (folder / "evaluation.json").exists()


def test_a_path_without_a_model_is_refused(capsys, tmp_path):
    assert "does not exist" in refused(capsys, tmp_path / "nothing")
    assert "model.json" in refused(capsys, tmp_path)
