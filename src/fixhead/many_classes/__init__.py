"""The same mathematics for very many classes: nothing of the size N × K is ever held.

vectors = implicit(classes=1_000_000, features=512)
loss = cross_entropy(features, vectors, labels, logits="cosine", scale=20.0)
"""

from .._errors import PerformanceWarning
from .anchoring import scale_auto
from .codes import implicit
from .entropy import cross_entropy, log_sum_exp, to_points, worth_it
from .inference import Top, margins, predict_proba, topk
from .operators import longest
from .recipes import codes_from, digest, grown, words_of
from .sampled import Sample, sample_classes, sampled_cross_entropy
from .squared import gram_matrix, squared_error
from .vectors import ClassVectors, Codes, Generated, Stored

__all__ = [
    "ClassVectors",
    "Codes",
    "Generated",
    "PerformanceWarning",
    "Sample",
    "Stored",
    "Top",
    "codes_from",
    "cross_entropy",
    "digest",
    "gram_matrix",
    "grown",
    "implicit",
    "log_sum_exp",
    "longest",
    "margins",
    "predict_proba",
    "sample_classes",
    "sampled_cross_entropy",
    "scale_auto",
    "squared_error",
    "to_points",
    "topk",
    "words_of",
    "worth_it",
]
