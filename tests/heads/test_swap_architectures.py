"""swap_head on real architectures: one of each head layout always, the whole list with `slow`."""

import pytest
import torch
from swap_catalogue import TIMM, TORCHVISION, TRANSFORMERS, Architecture
from swap_check import CLASSES, check
from torch import nn

from fixhead import ClassificationHead, RequestError
from fixhead._torchvision import import_torchvision
from fixhead.heads.swap import swap_head, swapped_heads, unswap

pytestmark = pytest.mark.filterwarnings("ignore::FutureWarning", "ignore::UserWarning")


def rows(fast):
    listed = [row for row in TIMM + TORCHVISION if row.fast == fast]
    return [pytest.param(row, id=str(row)) for row in listed]


@pytest.mark.parametrize("row", rows(fast=True))
def test_every_head_layout_survives_swap_forward_backward_unswap(row):
    check(row)


@pytest.mark.slow
@pytest.mark.parametrize("row", rows(fast=False))
def test_every_architecture_survives_swap_forward_backward_unswap(row):
    check(row)


@pytest.mark.slow
@pytest.mark.parametrize("row", [pytest.param(row, id=row.name) for row in TRANSFORMERS])
def test_every_hugging_face_classifier_survives_swap_forward_backward_unswap(row):
    import_torchvision()
    pytest.importorskip("transformers", reason="Hugging Face models need the hf extra")
    check(row)


def test_the_list_holds_all_of_torchvisions_classifiers():
    import_torchvision()
    from torchvision import models

    assert {row.name for row in TORCHVISION} == set(models.list_models(module=models))


def test_the_list_holds_at_least_forty_timm_architectures_without_repetition():
    names = [row.name for row in TIMM]
    assert len(set(names)) == len(names) >= 40


@pytest.fixture
def timm():
    import_torchvision()
    import timm

    return timm


@pytest.mark.parametrize("name", ["test_resnet", "test_convnext", "resnetv2_18"])
def test_reset_classifier_works_after_a_swap(timm, name):
    model = timm.create_model(name)
    swap_head(model, "simplex", classes=CLASSES)
    model.reset_classifier(3)
    assert model(torch.randn(2, 3, 64, 64)).shape == (2, 3)
    with pytest.raises(RequestError, match="since"):
        unswap(model)


def test_deits_two_heads_start_from_the_same_vectors_and_do_not_share_them(timm):
    model = timm.create_model("deit_tiny_distilled_patch16_224", img_size=64)
    swap_head(model, "random-cosine", classes=CLASSES)
    assert torch.equal(model.head.vectors, model.head_dist.vectors)
    assert model.head.vectors.data_ptr() != model.head_dist.vectors.data_ptr()
    model.set_distilled_training(True)
    first, second = model.train()(torch.randn(2, 3, 64, 64))
    assert first.shape == second.shape == (2, CLASSES)


def test_a_timm_model_without_a_classifier_says_what_to_do(timm):
    with pytest.raises(RequestError, match="num_classes"):
        swap_head(timm.create_model("test_resnet", num_classes=0), "simplex", classes=3)


def test_num_classes_follows_and_comes_back(timm):
    model = timm.create_model("repvit_m0_9", distillation=True)
    swap_head(model, "simplex", classes=CLASSES)
    assert (model.num_classes, model.head.num_classes) == (CLASSES, CLASSES)
    unswap(model)
    assert (model.num_classes, model.head.num_classes) == (1000, 1000)


def test_auxiliary_heads_are_swapped_or_kept():
    row = next(row for row in TORCHVISION if row.name == "googlenet")
    model, _ = row.build()
    report = swap_head(model, "simplex", classes=CLASSES)
    assert [place.auxiliary for place in report.places] == [False, True, True]
    assert len(swapped_heads(model)) == 3
    unswap(model)
    swap_head(model, "simplex", auxiliary="keep")
    assert isinstance(model.aux1.fc2, nn.Linear)
    unswap(model)
    with pytest.raises(RequestError, match="auxiliary"):
        swap_head(model, "simplex", classes=CLASSES, auxiliary="keep")


def test_an_auxiliary_head_that_is_too_narrow_is_named_with_the_way_out():
    model, _ = next(row for row in TORCHVISION if row.name == "inception_v3").build()
    with pytest.raises(RequestError, match=r"AuxLogits\.fc \(768 -> 1000\).*auxiliary='keep'"):
        swap_head(model, "simplex")
    assert isinstance(model.fc, nn.Linear)


@pytest.mark.slow
def test_a_hugging_face_config_follows_and_comes_back():
    import_torchvision()
    pytest.importorskip("transformers", reason="Hugging Face models need the hf extra")
    model, x = TRANSFORMERS[0].build()
    labels = dict(model.config.id2label)
    swap_head(model, "simplex", classes=CLASSES)
    assert (model.config.num_labels, model.num_labels) == (CLASSES, CLASSES)
    output = model(x, labels=torch.tensor([0, CLASSES - 1]))
    assert output.loss.isfinite()
    assert isinstance(model.classifier, ClassificationHead)
    unswap(model)
    assert (model.config.num_labels, model.num_labels) == (12, 12)
    assert dict(model.config.id2label) == labels


def test_a_row_builds_the_same_model_each_time():
    row = Architecture("torchvision", "resnet18", 64)
    (one, x), (two, y) = row.build(), row.build()
    assert torch.equal(one.fc.weight, two.fc.weight)
    assert torch.equal(x, y)
