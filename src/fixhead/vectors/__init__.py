"""Class vectors: constructions → (K, d) tensors of unit rows, from an explicit generator."""

from .gaussian import random
from .orthogonal import orthonormal
from .registry import CONSTRUCTIONS, Construction, build
from .simplices import simplex
from .sylvester import hadamard

__all__ = [
    "CONSTRUCTIONS",
    "Construction",
    "build",
    "hadamard",
    "orthonormal",
    "random",
    "simplex",
]
