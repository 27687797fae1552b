"""The architectures that swap_head is tried on: one row per head layout and family, no weights.

A row says how to build the model and which input it takes. ``fast`` rows run at every commit, one
for each layout; the whole list is for ``make test-all`` and ``benchmarks/swap.py``.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import nn

from fixhead import _seeds
from fixhead._torchvision import import_torchvision


@dataclass(frozen=True)
class Architecture:
    library: str
    name: str
    size: int | None = None
    options: dict[str, Any] = field(default_factory=dict)
    fast: bool = False

    def __str__(self) -> str:
        return f"{self.library}:{self.name}"

    def build(self) -> tuple[nn.Module, torch.Tensor]:
        """The model, with random weights, and two images for it."""
        with _seeds.forked(0, "backbone"):
            model, size = BUILDERS[self.library](self)
        return model, torch.randn(2, 3, size, size, generator=_seeds.stream(0, "order"))


def _timm(row: Architecture) -> tuple[nn.Module, int]:
    import_torchvision()
    import timm

    options = dict(row.options)
    model = timm.create_model(row.name, **options)
    return model, row.size or model.default_cfg["input_size"][-1]


def _torchvision(row: Architecture) -> tuple[nn.Module, int]:
    import_torchvision()
    from torchvision import models

    return models.get_model(row.name, weights=None, **row.options), row.size or 64


def _transformers(row: Architecture) -> tuple[nn.Module, int]:
    import_torchvision()
    import transformers

    stem = row.name.removesuffix("ForImageClassificationWithTeacher")
    stem = stem.removesuffix("ForImageClassification")
    config = getattr(transformers, f"{stem}Config")(num_labels=12, **row.options)
    return getattr(transformers, row.name)(config), row.size or 64


BUILDERS: dict[str, Callable[[Architecture], tuple[nn.Module, int]]] = {
    "timm": _timm,
    "torchvision": _torchvision,
    "transformers": _transformers,
}

_SMALL = {"img_size": 64}

TIMM = [
    # one of each layout, at sizes that take a second or less
    Architecture("timm", "test_resnet", 64, fast=True),  # fc
    Architecture("timm", "test_vit", fast=True),  # head
    Architecture("timm", "test_convnext", 64, fast=True),  # head.fc behind a norm
    Architecture("timm", "test_efficientnet", 64, fast=True),  # classifier
    Architecture("timm", "resnetv2_18", 64, fast=True),  # head.fc, a convolution
    Architecture("timm", "dla46_c", 64, fast=True),  # fc, a convolution
    Architecture("timm", "dpn48b", 64),  # classifier, a convolution
    Architecture("timm", "deit_tiny_distilled_patch16_224", 64, _SMALL, fast=True),  # two Linear
    Architecture("timm", "efficientformerv2_s0", 224),
    Architecture("timm", "levit_128s", 224, fast=True),  # two BatchNorm + Linear
    Architecture("timm", "repvit_m0_9", 64, {"distillation": True}, fast=True),  # a pair inside
    Architecture("timm", "shvit_s1", 64, fast=True),  # head.l
    Architecture("timm", "crossvit_tiny_240", fast=True),  # heads of two widths
    Architecture("timm", "efficientvim_m1", 64, fast=True),  # four heads
    Architecture("timm", "efficientvit_b0", 64, fast=True),  # head.classifier.4
    Architecture("timm", "efficientvit_m0", 224),
    Architecture("timm", "inception_next_atto", 64, fast=True),  # head.fc2
    Architecture("timm", "caformer_s18", 64, fast=True),  # head.fc.fc2
    Architecture("timm", "cpubone_b0_bfrobust", 64),  # head.classifier.linear
    Architecture("timm", "volo_d1_224", 224),  # head and aux_head
    Architecture("timm", "inception_v3", 299, {"aux_logits": True}),  # fc and AuxLogits.fc
    Architecture("timm", "resnet50_clip", 224),  # head.proj
    # and one of each family
    *(
        Architecture("timm", name)
        for name in """
        beit_base_patch16_224 halonet_h1 test_byobnet cait_xxs24_224 coat_lite_tiny convit_tiny
        convmixer_768_32 convnext_atto csatv2 darknet17 cspnext_l davit_tiny
        deit3_small_patch16_224 densenet121 edgenext_xx_small efficientformer_l1
        eva02_tiny_patch14_336
        fasternet_t0 fastvit_t8 focalnet_tiny_srf gcvit_xxtiny ghostnet_050 hardcorenas_a
        hgnetv2_b0 hiera_tiny_224 hieradet_small hrnet_w18_small iformer_t inception_resnet_v2
        inception_v4 lcnetv2_base lowformer_b0 test_mambaout test_coatnet poolformer_s12
        gmixer_12_224 lcnet_035 mobilevitv2_050 mvitv2_tiny naflexvit_base_patch16_gap nasnetalarge
        nest_tiny nextvit_small test_nfnet pit_ti_224 pit_ti_distilled_224 pnasnet5large pvt_v2_b0
        rdnet_tiny regnetx_002 repghostnet_050 res2next50 resnest14d resnet50 rexnet_100 selecsls42
        legacy_seresnet18 sequencer2d_s skresnet18 starnet_s1 swiftformer_xs
        swin_tiny_patch4_window7_224 swinv2_tiny_window8_256 swinv2_cr_tiny_224 tiny_vit_5m_224
        tnt_s_legacy_patch16_224 tresnet_m twins_svt_small vgg11 visformer_tiny
        vit_base_patch16_224 vit_base_mci_224 test_vit_relpos vitamin_small_224 ese_vovnet19b_dw
        legacy_xception xception41p xcit_nano_12_p16_224
        """.split()
    ),
]

_SIZES = {"inception_v3": 299, "maxvit_t": 224, "vit_h_14": 28}
_FAST = {"resnet18", "squeezenet1_1", "mobilenet_v3_small", "swin_t", "googlenet", "vit_b_32"}


def _torchvision_row(name: str) -> Architecture:
    options: dict[str, Any] = {}
    if name in ("inception_v3", "googlenet"):
        options["init_weights"] = False
    size = _SIZES.get(name, 64)
    if name.startswith("vit_"):
        options["image_size"] = size
    return Architecture("torchvision", name, size, options, name in _FAST)


TORCHVISION = [
    _torchvision_row(name)
    for name in """
    alexnet convnext_base convnext_large convnext_small convnext_tiny densenet121 densenet161
    densenet169 densenet201 efficientnet_b0 efficientnet_b1 efficientnet_b2 efficientnet_b3
    efficientnet_b4 efficientnet_b5 efficientnet_b6 efficientnet_b7 efficientnet_v2_l
    efficientnet_v2_m efficientnet_v2_s googlenet inception_v3 maxvit_t mnasnet0_5 mnasnet0_75
    mnasnet1_0 mnasnet1_3 mobilenet_v2 mobilenet_v3_large mobilenet_v3_small regnet_x_16gf
    regnet_x_1_6gf regnet_x_32gf regnet_x_3_2gf regnet_x_400mf regnet_x_800mf regnet_x_8gf
    regnet_y_128gf regnet_y_16gf regnet_y_1_6gf regnet_y_32gf regnet_y_3_2gf regnet_y_400mf
    regnet_y_800mf regnet_y_8gf resnet101 resnet152 resnet18 resnet34 resnet50 resnext101_32x8d
    resnext101_64x4d resnext50_32x4d shufflenet_v2_x0_5 shufflenet_v2_x1_0 shufflenet_v2_x1_5
    shufflenet_v2_x2_0 squeezenet1_0 squeezenet1_1 swin_b swin_s swin_t swin_v2_b swin_v2_s
    swin_v2_t vgg11 vgg11_bn vgg13 vgg13_bn vgg16 vgg16_bn vgg19 vgg19_bn vit_b_16 vit_b_32
    vit_h_14 vit_l_16 vit_l_32 wide_resnet101_2 wide_resnet50_2
    """.split()
]

_VIT = {
    "hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 64,
    "image_size": 64, "patch_size": 16,
}  # fmt: skip
_STAGES = {"hidden_sizes": [16, 32, 48, 64], "depths": [1, 1, 1, 1]}

TRANSFORMERS = [
    Architecture("transformers", "ViTForImageClassification", options=_VIT),
    Architecture("transformers", "DeiTForImageClassification", options=_VIT),
    Architecture("transformers", "DeiTForImageClassificationWithTeacher", options=_VIT),
    Architecture("transformers", "BeitForImageClassification", options=_VIT),
    Architecture("transformers", "Dinov2ForImageClassification", options=_VIT),
    Architecture("transformers", "ConvNextForImageClassification", options=_STAGES),
    Architecture("transformers", "ResNetForImageClassification", options=_STAGES),
    Architecture(
        "transformers",
        "SwinForImageClassification",
        options={
            "image_size": 64,
            "embed_dim": 16,
            "depths": [1, 1],
            "num_heads": [2, 2],
            "window_size": 4,
        },
    ),
    Architecture("transformers", "LevitForImageClassification", 224),
    Architecture("transformers", "LevitForImageClassificationWithTeacher", 224),
    Architecture("transformers", "MobileNetV2ForImageClassification"),
    Architecture("transformers", "PoolFormerForImageClassification"),
    Architecture("transformers", "SwiftFormerForImageClassification", 224),
    Architecture("transformers", "SegformerForImageClassification"),
    Architecture("transformers", "PvtV2ForImageClassification", 224),
]
