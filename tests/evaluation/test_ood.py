"""Images of other classes: which of a folder are taken, and how they are told from known ones."""

import numpy as np
import pytest
import torch
from PIL import Image
from scipy.special import logsumexp
from sklearn import metrics

from fixhead import ClassificationHead, RequestError
from fixhead.evaluation.further_sets import detection, load_ood, scores

FACTS = {"channels": 1, "image_size": 8}


def pictures(folder, *names, size=(8, 8), mode="L"):
    for number, name in enumerate(names):
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new(mode, size, number + 1).save(path)
    return folder


def test_a_flat_folder_is_taken_with_all_its_images(tmp_path):
    folder = pictures(tmp_path / "birds", "a.png", "b.png", "c.bmp")
    (folder / "notes.txt").write_text("no image")
    found = load_ood(str(folder), FACTS, None)
    assert (found.title, len(found.split)) == ("birds", 3)
    assert [int(image.max()) for image in found.split.images[:]] == [1, 2, 3]


@pytest.mark.parametrize(
    "names",
    [("x/a.png", "y/b.png"), ("train/x/a.png", "test/x/b.png"), ("a.png", "deep/er/b.png")],
)
def test_folders_inside_are_walked_whatever_they_are_called(tmp_path, names):
    found = load_ood(str(pictures(tmp_path / "birds", *names)), FACTS, None)
    assert len(found.split) == 2


def test_images_are_brought_to_what_the_model_takes(tmp_path):
    folder = pictures(tmp_path / "birds", "a.png", size=(30, 20), mode="RGB")
    assert load_ood(str(folder), FACTS, None).split.images[:].shape == (1, 1, 8, 8)


def test_a_named_set_gives_its_test_part_and_only_in_the_models_size():
    assert load_ood("digits", FACTS, None).title
    with pytest.raises(RequestError, match="needs images of 3 channels and 32 pixels"):
        load_ood("digits", {"channels": 3, "image_size": 32}, None)


@pytest.mark.parametrize("name", ["no-such-set", "empty"])
def test_what_is_not_there_is_refused(tmp_path, monkeypatch, name):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "empty").mkdir()
    with pytest.raises(RequestError, match=name):
        load_ood(name, FACTS, None)


class Plain:
    """A model whose images are its features."""

    def __init__(self):
        self.head = ClassificationHead(4, 3, vectors="random", scale=5.0)
        self.training = False

    def features(self, images):
        return images

    def train(self, mode=True):
        self.training = mode


class Batched:
    def __init__(self, rows):
        self.rows = rows

    def epoch(self, number):
        return ((part, torch.zeros(len(part))) for part in self.rows.split(7))


def test_scores_are_the_largest_cosine_and_the_energy_of_the_logits():
    model, rows = Plain(), torch.randn(20, 4, generator=torch.Generator().manual_seed(0))
    found = scores(model, Batched(rows))
    W = model.head.vectors.double().numpy()
    x = rows.double().numpy()
    cosines = x @ W.T / np.linalg.norm(x, axis=1)[:, None] / np.linalg.norm(W, axis=1)
    np.testing.assert_allclose(found["largest_cosine"], cosines.max(1), atol=1e-6)
    np.testing.assert_allclose(found["energy"], logsumexp(5 * cosines, axis=1), rtol=1e-5)


def test_detection_is_scikit_learns():
    rng = np.random.default_rng(0)
    known, other = rng.normal(1, 1, 300), rng.normal(0, 1, 200)
    found = detection({"energy": torch.from_numpy(known)}, {"energy": torch.from_numpy(other)})[
        "energy"
    ]
    truth = np.repeat([1, 0], [300, 200])
    values = np.concatenate([known, other])
    assert found["auroc"] == pytest.approx(metrics.roc_auc_score(truth, values))
    rates, recalls, _ = metrics.roc_curve(truth, values, drop_intermediate=False)
    assert found["fpr_at_95"] == pytest.approx(rates[np.argmax(recalls >= 0.95)])
