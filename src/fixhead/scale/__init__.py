"""The same mathematics for very many classes: nothing of the size N × K is ever held.

vectors = implicit(classes=1_000_000, features=512)
loss = cross_entropy(features, vectors, labels, logits="cosine", scale=20.0)
"""

from .codes import implicit
from .entropy import cross_entropy, log_sum_exp
from .vectors import ClassVectors, Codes, Generated, Stored

__all__ = [
    "ClassVectors",
    "Codes",
    "Generated",
    "Stored",
    "cross_entropy",
    "implicit",
    "log_sum_exp",
]
