"""The same mathematics for very many classes: nothing of the size N × K is ever held.

vectors = implicit(classes=1_000_000, features=512)
loss = cross_entropy(features, vectors, labels, logits="cosine", scale=20.0)
"""

from .codes import implicit
from .entropy import cross_entropy, log_sum_exp, worth_it
from .inference import Top, margins, predict_proba, topk
from .operators import longest
from .sampled import Sample, sample_classes, sampled_cross_entropy
from .squared import gram_matrix, squared_error
from .vectors import ClassVectors, Codes, Generated, Stored

__all__ = [
    "ClassVectors",
    "Codes",
    "Generated",
    "Sample",
    "Stored",
    "Top",
    "cross_entropy",
    "gram_matrix",
    "implicit",
    "log_sum_exp",
    "longest",
    "margins",
    "predict_proba",
    "sample_classes",
    "sampled_cross_entropy",
    "squared_error",
    "topk",
    "worth_it",
]
