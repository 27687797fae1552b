"""How features lie to the class vectors and to one another."""

from __future__ import annotations

import torch
from torch import Tensor

from ..logits import unit


def cosine_matrix(vectors: Tensor) -> Tensor:
    """C_ij = ⟨w_i, w_j⟩ / (‖w_i‖ ‖w_j‖) of vectors (K, d) → (K, K), in float64, within [−1, 1].

    Source: Shalev et al. 2020, Figure 2.
    """
    rows = unit(vectors.double())
    return (rows @ rows.T).clamp(-1.0, 1.0)


def own_cosines(features: Tensor, vectors: Tensor, labels: Tensor) -> Tensor:
    """cos(x_n, w_{y_n}) of features (N, d), vectors (K, d) and labels (N,) → (N,).

    Intra-class compactness is its mean. Source: Shalev et al. 2020, section 3 and Figure 4.
    """
    return (unit(features) * unit(vectors[labels])).sum(dim=-1).clamp(-1.0, 1.0)


def mean_cosines(class_means: Tensor) -> Tensor:
    """Cosines between the mean features of different classes: (K, d) → (K(K−1)/2,).

    Inter-class separability is the mean of 1 − cosine. Source: Shalev et al. 2020, section 2.
    """
    classes = class_means.shape[0]
    first, second = torch.triu_indices(classes, classes, offset=1)
    return cosine_matrix(class_means)[first, second]
