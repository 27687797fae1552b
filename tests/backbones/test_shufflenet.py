"""ShuffleNet v1, against its paper's table and a reference for the shuffle."""

import torch
from torch.nn.functional import channel_shuffle

from fixhead.backbones import build
from fixhead.backbones.compact import ShuffleUnit, shuffle


def test_the_shuffle_is_torchs_own():
    x = torch.randn(2, 12, 3, 3, generator=torch.Generator().manual_seed(0))
    assert torch.equal(shuffle(x, 3), channel_shuffle(x, 3))
    assert not torch.equal(shuffle(x, 3), x)


def test_a_unit_of_stride_two_keeps_the_pooled_input_beside_what_it_makes():
    x = torch.rand(2, 240, 8, 8, generator=torch.Generator().manual_seed(0))
    unit = ShuffleUnit(240, 480, 3, 3).eval()
    y = unit(x)
    assert y.shape == (2, 480, 4, 4)
    pooled = torch.nn.functional.avg_pool2d(x, 3, stride=2, padding=1)
    torch.testing.assert_close(y[:, :240], pooled)


def test_stages_have_the_papers_sizes():
    body = build("shufflenet", channels=3, image_size=224, seed=0).body.eval()
    seen = {}
    for name, layer in body.named_children():
        layer.register_forward_hook(lambda _, __, out, name=name: seen.update({name: out.shape}))
    with torch.no_grad():
        assert body(torch.zeros(1, 3, 224, 224)).shape == (1, 960)
    assert seen["stage2_4"] == (1, 240, 28, 28)
    assert seen["stage3_8"] == (1, 480, 14, 14)
    assert seen["stage4_4"] == (1, 960, 7, 7)
