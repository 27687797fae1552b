"""The handwritten digits inside scikit-learn: 1,797 images of 8 × 8, grey levels 0..16."""

from __future__ import annotations

import numpy as np

from ..._errors import require
from ..cache import Entry
from ..dataset import Split, moments
from ..encoded import NO_TEST
from ..splits import holdout_split
from .request import Request


def load_digits(request: Request) -> Entry:
    """Read from the installed package, levels stretched to 0..255; nothing is cached."""
    digits = require("sklearn.datasets", extra="lab").load_digits()
    images = np.rint(digits.images * (255 / 16)).astype(np.uint8)[:, None]
    labels = digits.target.astype(np.int64)
    train, test = (Split(images[part], labels[part]) for part in holdout_split(labels))
    return Entry(tuple("0123456789"), train, test, (NO_TEST,), moments(train.images))
