"""Resized crops, jitter, cutout, mixing and torchvision's policies, each against a reference."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from fixhead._errors import RequestError
from fixhead._seeds import forked
from fixhead._torchvision import import_torchvision
from fixhead.data import Batches, Split, augmentation
from fixhead.data.augment import (
    ColourJitter,
    CutMix,
    Cutout,
    Mixup,
    RandAugment,
    RandomResizedCrop,
    TrivialAugment,
    resized_crop,
)
from fixhead.data.augment.pixels import draw_boxes, jitter

import_torchvision()
from torchvision.transforms import v2  # noqa: E402
from torchvision.transforms.v2 import functional as reference  # noqa: E402


def images(number: int = 6, channels: int = 3, size: int = 12) -> torch.Tensor:
    generator = torch.Generator().manual_seed(number)
    return torch.randint(
        0, 256, (number, channels, size, size), generator=generator, dtype=torch.uint8
    )


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@settings(deadline=None, max_examples=30)
@given(height=st.integers(2, 14), width=st.integers(2, 14), seed=st.integers(0, 1000))
def test_resized_crops_agree_with_torchvision(height: int, width: int, seed: int) -> None:
    batch = torch.randint(0, 256, (5, 3, height, width), generator=seeded(seed), dtype=torch.uint8)
    boxes = draw_boxes(5, (height, width), 0.08, seeded(seed))
    out = resized_crop(batch, boxes)
    for image, box, cut in zip(batch, boxes.tolist(), out, strict=True):
        expected = reference.resized_crop(image, *box, [height, width], antialias=False)
        # both round; their float32 sums may fall on either side of a half
        assert (cut.int() - expected.int()).abs().max() <= 1


def test_boxes_are_spread_as_torchvision_spreads_them() -> None:
    boxes = draw_boxes(4000, (48, 64), 0.25, seeded()).double()
    top, left, high, wide = boxes.unbind(1)
    assert bool(((top >= 0) & (left >= 0) & (top + high <= 48) & (left + wide <= 64)).all())
    transform = v2.RandomResizedCrop(48, scale=(0.25, 1.0))
    flat = torch.zeros(3, 48, 64)
    with forked(0, "reference"):
        drawn = [transform.make_params([flat]) for _ in range(4000)]
    names = ("top", "left", "height", "width")
    others = torch.tensor([[params[name] for name in names] for params in drawn]).double()
    for ours, theirs in ((boxes, others), (high * wide, others[:, 2] * others[:, 3])):
        # five standard errors of a difference of two means
        error = 5 * (ours.std(0) ** 2 / 4000 + theirs.std(0) ** 2 / 4000).sqrt()
        assert bool(((ours.mean(0) - theirs.mean(0)).abs() < error).all())
        torch.testing.assert_close(ours.std(0), theirs.std(0), rtol=0.06, atol=0)


def test_very_flat_images_fall_back_to_their_middle() -> None:
    _, left, high, wide = draw_boxes(9, (3, 300), 1.0, seeded()).unbind(1)
    assert set(high.tolist()) == {3}
    assert set(wide.tolist()) == {4}
    assert set(left.tolist()) == {148}


@pytest.mark.parametrize("channels", [1, 3])
def test_jitter_agrees_with_torchvision(channels: int) -> None:
    batch = images(8, channels)
    factors = 1 + 0.8 * (torch.rand((8, 3), generator=seeded()) - 0.5)
    functions = (
        reference.adjust_brightness,
        reference.adjust_contrast,
        reference.adjust_saturation,
    )
    for which, function in enumerate(functions):
        out = jitter(batch, factors, [which])
        for image, factor, changed in zip(batch, factors[:, which].tolist(), out, strict=True):
            expected = function(image, factor)
            assert (changed.int() - expected.int()).abs().max() <= 1


def test_jitter_of_no_strength_changes_nothing() -> None:
    batch = images()
    assert torch.equal(ColourJitter(0, 0, 0)(batch, seeded()), batch)


def test_jitter_gives_every_image_its_own_factors() -> None:
    batch = torch.full((50, 3, 2, 2), 100, dtype=torch.uint8)
    levels = ColourJitter(0.5, 0, 0)(batch, seeded())[:, 0, 0, 0]
    assert len(set(levels.tolist())) > 25
    assert int(levels.min()) >= 50
    assert int(levels.max()) <= 150


def test_cutout_hides_one_square_that_may_reach_over_the_edge() -> None:
    out = Cutout(4)(torch.ones(300, 2, 10, 10), seeded())
    hidden = out == 0
    assert bool((hidden[:, 0] == hidden[:, 1]).all())
    area = hidden[:, 0].sum(dim=(1, 2))
    assert int(area.max()) == 16
    assert int(area.min()) < 16
    assert bool(hidden[:, 0].any(dim=0).all())  # every pixel is hidden at times


def test_mixup_is_the_weighted_sum_of_two_images() -> None:
    batch = torch.randn(7, 3, 4, 4, generator=seeded())
    labels = torch.arange(7)
    mixed = Mixup(0.4)(batch, labels, seeded(3))
    expected = mixed.weight * batch + (1 - mixed.weight) * batch[mixed.others]
    torch.testing.assert_close(mixed.images, expected)
    assert sorted(mixed.others.tolist()) == labels.tolist()


def test_mixing_weights_follow_the_beta_distribution() -> None:
    weights = np.array(
        [Mixup(0.2)(images(2).float(), torch.arange(2), seeded(n)).weight for n in range(600)]
    )
    assert abs(weights.mean() - 0.5) < 0.1
    assert weights.var() == pytest.approx(0.25 / (2 * 0.2 + 1), rel=0.15)


def test_cutmix_weighs_by_what_is_left_of_the_image() -> None:
    batch = torch.arange(5.0)[:, None, None, None].expand(5, 1, 8, 8).contiguous()
    for seed in range(30):
        mixed = CutMix()(batch, torch.arange(5), seeded(seed))
        for image, own, other in zip(mixed.images, mixed.labels, mixed.others, strict=True):
            if own != other:
                assert float((image == own).float().mean()) == pytest.approx(mixed.weight)
                assert bool(((image == own) | (image == other)).all())
    assert torch.equal(batch[:, 0, 0, 0], torch.arange(5.0))


def test_the_mixed_loss_weighs_both_labels() -> None:
    mixed = Mixup()(torch.randn(4, 1, 2, 2), torch.arange(4), seeded())
    loss = mixed.loss(lambda labels: labels.float().square().mean())
    own, other = (labels.float().square().mean() for labels in (mixed.labels, mixed.others))
    torch.testing.assert_close(loss, mixed.weight * own + (1 - mixed.weight) * other)


@pytest.mark.parametrize("step", [TrivialAugment(), RandAugment(2, 9)])
@pytest.mark.parametrize("channels", [1, 3])
def test_policies_draw_from_their_generator_and_spare_the_global_one(step, channels: int) -> None:
    batch = images(40, channels)
    torch.manual_seed(7)
    before = torch.get_rng_state()
    first, again, other = (step(batch, seeded(seed)) for seed in (1, 1, 2))
    assert torch.equal(torch.get_rng_state(), before)
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
    assert first.shape == batch.shape
    assert first.dtype == torch.uint8


def test_policies_change_groups_of_a_batch_differently() -> None:
    batch = images(1).repeat(64, 1, 1, 1)
    out = TrivialAugment()(batch, seeded(5))
    kinds = torch.unique(out.view(64, -1), dim=0)
    assert len(kinds) >= 5
    groups = out.view(8, 8, -1)
    assert bool((groups == groups[:, :1]).all())


@pytest.mark.parametrize("step", [RandomResizedCrop(), ColourJitter()])
def test_one_seed_gives_one_result(step) -> None:
    first, again, other = (step(images(9), seeded(seed)) for seed in (1, 1, 2))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


def batches(words: str, number: int = 12) -> Batches:
    split = Split(images(number).numpy(), np.arange(number))
    return Batches(
        split,
        4,
        device="cpu",
        mean=[0.5] * 3,
        std=[0.2] * 3,
        augmentation=augmentation(words),
        seed=0,
        shuffle=True,
    )


def test_cutout_acts_after_normalisation() -> None:
    (plain, _), *_ = batches("none").epoch(0)
    (hidden, _), *_ = batches("cutout:6").epoch(0)
    changed = plain != hidden
    assert bool(changed.any())
    assert bool((hidden[changed] == 0).all())


def test_batches_that_mix_say_both_labels_and_refuse_to_say_one() -> None:
    made = batches("flip,mixup:1")
    mixed = list(made.mixed(0))
    assert sorted(torch.cat([batch.labels for batch in mixed]).tolist()) == list(range(12))
    assert any(batch.weight != 1 for batch in mixed)
    with pytest.raises(RequestError, match="mixup:1 mixes labels"):
        next(made.epoch(0))


def test_batches_without_mixing_come_whole_through_the_same_door() -> None:
    made = batches("flip")
    for (images, labels), mixed in zip(made.epoch(1), made.mixed(1), strict=True):
        assert torch.equal(images, mixed.images)
        assert torch.equal(labels, mixed.labels)
        assert mixed.weight == 1
