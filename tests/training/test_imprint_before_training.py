"""The passes before the first step: what they look at, what they set, and that it is done once."""

import warnings

import pytest
import torch
from torch import nn
from training_toys import MemoryBatches, blobs, digits, small_cnn, tiny

from fixhead import RequestError
from fixhead._seeds import forked, stream
from fixhead.backbones import Backbone, build
from fixhead.heads import ClassificationHead, ImprintWarning
from fixhead.training import Classifier, Recipe, finetune_head, imprint_head, train

RECIPE = Recipe(epochs=2, batch_size=16, lr=0.05, warmup_epochs=0.0)


def with_neck(head: str, features: int = 16, seed: int = 0) -> Classifier:
    backbone = build("small-cnn", channels=1, image_size=8, features=features, seed=seed)
    layer = ClassificationHead.from_preset(head, features, 10, generator=stream(seed, "vectors"))
    return Classifier(backbone, layer)


def accuracy(model: Classifier, batches: MemoryBatches) -> float:
    model.eval()
    with torch.no_grad():
        return float((model(batches.images).argmax(dim=1) == batches.labels).float().mean())


@pytest.mark.parametrize(("make", "width"), [(small_cnn, None), (with_neck, 64)])
def test_an_untrained_network_imprinted_reads_most_digits(make, width):
    data, _, test = digits()
    model = make("learned-cosine:imprint@20")
    found = imprint_head(model, model.head, lambda: data.epoch(1))
    assert found.width == width
    assert found.classes == 10
    assert accuracy(model, test) > (0.6 if width is None else 0.75)


def test_means_are_those_of_the_first_images_of_each_class():
    data = blobs(shuffle=False)
    model = tiny(head="learned-cosine:imprint@20", dropout=0.5)
    before = {name: value.clone() for name, value in model.backbone.named_parameters()}
    found = imprint_head(model, model.head, lambda: data.epoch(1))
    count = 14  # ⌈5 · 8/3⌉
    assert found.images == 3 * count
    model.eval()
    with torch.no_grad():
        points = nn.functional.normalize(model.features(data.images)).double()
    means = torch.stack([points[data.labels == k][:count].mean(dim=0) for k in range(3)])
    true = means / means.norm(dim=1, keepdim=True)
    torch.testing.assert_close(model.head.vectors.detach().double(), true, rtol=0, atol=1e-5)
    for name, value in model.backbone.named_parameters():
        assert torch.equal(value, before[name])  # the linear layer is not the last before the head


def test_statistics_are_taken_where_there_are_none_and_kept_where_there_are():
    data = blobs(shuffle=False)
    model = tiny(head="learned-cosine:imprint@20")
    norm = model.backbone.body[2]
    imprint_head(model, model.head, lambda: data.epoch(1))
    hidden = [model.backbone.body[1](part.flatten(1)) for part, _ in data.epoch(1)]
    true = torch.stack([part.mean(dim=0) for part in hidden]).mean(dim=0).detach()
    torch.testing.assert_close(norm.running_mean, true, rtol=1e-4, atol=1e-5)
    assert norm.momentum == 0.1
    assert model.training
    held = norm.running_mean.clone()
    imprint_head(model, model.head, lambda: blobs(images=90).epoch(1))
    assert torch.equal(norm.running_mean, held)


def test_a_layer_that_is_not_trained_is_left_alone():
    data, _, _ = digits()
    model = with_neck("learned-cosine:imprint@20")
    model.backbone.neck_layer.requires_grad_(False)
    before = model.backbone.neck_layer.weight.clone()
    assert imprint_head(model, model.head, lambda: data.epoch(1)).width is None
    assert torch.equal(model.backbone.neck_layer.weight, before)


def test_a_long_tail_with_classes_of_one_image_and_of_none_is_imprinted():
    data = blobs(images=90)
    kept = torch.cat([(data.labels == 0).nonzero()[:, 0], (data.labels == 1).nonzero()[:1, 0]])
    tail = MemoryBatches(data.images[kept], data.labels[kept], 16, shuffle=False)
    model = tiny(head="learned-cosine:imprint@20")
    own = model.head.vectors.detach().clone()
    with pytest.warns(ImprintWarning, match="class 2 had no image"):
        found = imprint_head(model, model.head, lambda: tail.epoch(1))
    assert found.classes == 2
    assert torch.equal(model.head.vectors[2], own[2])
    assert not torch.equal(model.head.vectors[1], own[1])


QUANTISED = "vectors=quantised:4,learn=yes,scale=8:rising,initial=imprint"


@pytest.mark.parametrize("head", ["learned-cosine:imprint@8:rising", QUANTISED])
def test_a_run_imprints_once_and_a_run_that_goes_on_ends_where_an_undisturbed_one_ends(
    head, tmp_path
):
    whole = tiny(head=head)
    done = train(whole, blobs(), None, RECIPE, seed=3, device="cpu")
    assert done.history[0]["imprint_seconds"] > 0
    assert "imprint_seconds" not in done.history[1]
    assert [row.get("reassigned", -1) >= 0 for row in done.history] == [False, head == QUANTISED]

    def stop(_):
        raise KeyboardInterrupt

    options = {"seed": 3, "device": "cpu", "run_dir": tmp_path, "checkpoint_every_s": 0.0}
    model = tiny(head=head)
    with pytest.raises(KeyboardInterrupt):
        train(model, blobs(), None, RECIPE, on_epoch=stop, **options)
    again, batches = tiny(head=head), blobs()
    gone_on = train(again, batches, None, RECIPE, **options)
    assert gone_on.resumed_from == 1
    passes = [2, 2] if head == QUANTISED else [2]  # none for a start; one for choosing bytes anew
    assert batches.asked == passes
    for name, value in done.last_state.items():
        assert torch.equal(value, gone_on.last_state[name]), name


def test_mixed_images_are_imprinted_unmixed():
    class Mixing(MemoryBatches):
        mixing = "mixup"

        def unmixed(self, number):
            return MemoryBatches.epoch(self, number)

        def epoch(self, number):
            raise AssertionError(number)

        def mixed(self, number):
            raise AssertionError(number)

    from fixhead.training.step import unmixed

    data = blobs()
    mixing = Mixing(data.images, data.labels, 16, shuffle=False)
    assert torch.equal(torch.cat([labels for _, labels in unmixed(mixing)]), data.labels)


def test_a_trained_network_gets_the_class_means_and_keeps_its_layers():
    with forked(0, "network"):
        model = nn.Sequential(nn.Flatten(), nn.Linear(16, 8), nn.Linear(8, 3))
    before = model[1].weight.detach().clone()
    data = blobs()
    batches = list(data.epoch(1))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        report = finetune_head(
            model, batches, "learned-cosine:imprint@20", validation=batches, epochs=0
        )
    assert torch.equal(model[1].weight, before)
    assert report.accuracy_swapped > 0.9


def test_discriminants_without_a_layer_to_set_are_refused():
    data = blobs()
    model = tiny(head="vectors=random,learn=yes,scale=8,initial=discriminant")
    with pytest.raises(RequestError, match="needs a linear layer right before"):
        imprint_head(model, model.head, lambda: data.epoch(1))


def test_a_body_that_ends_in_a_linear_layer_is_set_to_discriminants():
    with forked(0, "backbone"):
        body = nn.Sequential(nn.Flatten(), nn.Linear(16, 32), nn.ReLU(), nn.Linear(32, 2))
    backbone = Backbone("ends-linear", body, 2, nonnegative=False)
    head = ClassificationHead.from_preset("learned-cosine:imprint@20", 2, 3)
    model, data = Classifier(backbone, head), blobs()
    assert imprint_head(model, head, lambda: data.epoch(1)).width == 32
    assert accuracy(model, data) > 0.9
