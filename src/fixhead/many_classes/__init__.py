"""The same mathematics for very many classes: nothing of the size N × K is ever held.

vectors = implicit(classes=1_000_000, features=512)
loss = linear_cross_entropy(features, vectors, labels, logits="cosine", scale=20.0)
"""

from .._errors import PerformanceWarning
from .chunkwise import ChunkwiseTrainer
from .codes import Codes, implicit
from .inference import Top, margins, predict_proba, topk
from .loss import (
    Sample,
    gram_matrix,
    linear_cross_entropy,
    log_sum_exp,
    sample_classes,
    sampled_cross_entropy,
    squared_error,
)
from .quantised import QuantisedVectors, quantise
from .sharded import ShardedVectors, class_range, gather_rows, part_of_code
from .staged import StagedVectors, in_stages
from .vectors import ClassVectors, DenseVectors, LazyVectors, prefers_chunking

__all__ = [
    "ChunkwiseTrainer",
    "ClassVectors",
    "Codes",
    "DenseVectors",
    "LazyVectors",
    "PerformanceWarning",
    "QuantisedVectors",
    "Sample",
    "ShardedVectors",
    "StagedVectors",
    "Top",
    "class_range",
    "gather_rows",
    "gram_matrix",
    "implicit",
    "in_stages",
    "linear_cross_entropy",
    "log_sum_exp",
    "margins",
    "part_of_code",
    "predict_proba",
    "prefers_chunking",
    "quantise",
    "sample_classes",
    "sampled_cross_entropy",
    "squared_error",
    "topk",
]
