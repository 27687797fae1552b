"""Every kind of class vectors against the plain formulae, by one inherited suite."""

import pytest
import torch
from agreement import Agreement

from fixhead import many_classes as scale
from fixhead.many_classes import blockwise
from fixhead.many_classes.native import library as native
from fixhead.many_classes.tiles import ChunkTiles
from fixhead.vectors.coding import find_code


def gaussian(classes, features):
    rows = torch.randn(classes, features, generator=torch.Generator().manual_seed(0))
    return rows / rows.norm(dim=1, keepdim=True)


class TestFixedMatrix(Agreement):
    def make(self, classes, features):
        return gaussian(classes, features)

    def matrix(self, made):
        return made


class TestFixedMatrixOfUnequalRows(TestFixedMatrix):
    def make(self, classes, features):
        return gaussian(classes, features) * torch.linspace(0.1, 2.0, classes).unsqueeze(1)


class TestLearnedMatrix(TestFixedMatrixOfUnequalRows):
    learned = True


class NoMax:
    """As on a device: points first, many tiles, and no maximum where a bound allows it."""

    @pytest.fixture(autouse=True)
    def _as_on_a_device(self, monkeypatch):
        def suits(tiles, points):
            return isinstance(tiles, ChunkTiles) and len(points) > 0

        monkeypatch.setattr(blockwise, "suits_no_max", suits)
        monkeypatch.setattr(blockwise, "NO_MAX_CLASSES", (50, 150))
        monkeypatch.setattr(blockwise, "NO_MAX_STEP", 8)


class TestFixedMatrixNoMax(NoMax, TestFixedMatrixOfUnequalRows):
    pass


class TestLearnedMatrixNoMax(NoMax, TestLearnedMatrix):
    pass


class Implicit(Agreement):
    family = "auto"
    path = "torch"

    @pytest.fixture(autouse=True)
    def _path(self, monkeypatch):
        monkeypatch.setenv(native.VARIABLE, self.path)

    def make(self, classes, features):
        generator = torch.Generator().manual_seed(1)
        return scale.implicit(classes, features, family=self.family, generator=generator)

    def matrix(self, made):
        return made.dense()


class Chosen(Implicit):
    def test_the_one_hot_block_of_kerdock_agrees(self):
        self.agree(141, 16, 40)  # 128 coded and 13 of the 16 one-hot vectors
        self.agree(2109, 64, 40, logits="cosine", scale=20.0, arcface=0.3)
        bias = torch.randn(2109, generator=torch.Generator().manual_seed(3)).requires_grad_()
        self.agree(2109, 64, 40, bias=bias, length=100.0, label_smoothing=0.1)


class TestChosenCodes(Chosen):
    pass


class TestRandomSigns(Implicit):
    family = "random"


class TestRowsMadeOnDemand(Implicit):
    def make(self, classes, features):
        generator = torch.Generator().manual_seed(1)
        code = find_code(classes, features, max_cosine=1.0, generator=generator)
        return scale.LazyVectors(code.vectors, norm=1.0, unit_rows=True, construction=code.name)


class TestRowsMadeOnDemandNoMax(NoMax, TestRowsMadeOnDemand):
    pass
