"""Geometry, collapse, accuracy and calibration as ``torchmetrics`` metrics for any training loop.

Each class is a thin twin of a function in ``fixhead.geometry``: states are sums or mergeable
statistics with declared reducers, so that batches and processes give what all images at once
would. Needs ``pip install "fixhead[lab]"``.
"""

from importlib.util import find_spec

from .._errors import require
from .._torchvision import import_torchvision

if find_spec("torchvision") is not None:
    import_torchvision()  # torchmetrics imports it too, and fails where its operators do not fit
require("torchmetrics", extra="lab")

from ._states import ClassStatisticsMetric, Per, Vectors  # noqa: E402
from .collapse import (  # noqa: E402  # noqa: E402
    CDNV,
    NC1,
    Alignment,
    Compactness,
    Equiangularity,
    Equinorm,
    FeatureNorm,
    GramDistance,
    NearestMeanAgreement,
    PreviousEpochAgreement,
    SelfDuality,
    Separability,
    TraceRatio,
)
from .collection import Buffered, last_layer_metrics  # noqa: E402
from .decisions import (  # noqa: E402
    BalancedAccuracy,
    CalibrationError,
    CosineConfusion,
    MacroF1,
    OutOfClassDetection,
    TallyMetric,
    VanishedClasses,
)

__all__ = [
    "CDNV",
    "NC1",
    "Alignment",
    "BalancedAccuracy",
    "Buffered",
    "CalibrationError",
    "ClassStatisticsMetric",
    "Compactness",
    "CosineConfusion",
    "Equiangularity",
    "Equinorm",
    "FeatureNorm",
    "GramDistance",
    "MacroF1",
    "NearestMeanAgreement",
    "OutOfClassDetection",
    "Per",
    "PreviousEpochAgreement",
    "SelfDuality",
    "Separability",
    "TallyMetric",
    "TraceRatio",
    "VanishedClasses",
    "Vectors",
    "last_layer_metrics",
]
