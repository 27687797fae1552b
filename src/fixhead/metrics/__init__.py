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
from .accuracies import (  # noqa: E402
    BalancedAccuracy,
    CosineConfusion,
    MacroF1,
    TallyMetric,
    VanishedClasses,
)
from .agreement import NearestMeanAgreement, PreviousEpochAgreement  # noqa: E402
from .buffered import Buffered  # noqa: E402
from .bundle import last_layer_metrics  # noqa: E402
from .collapse import (  # noqa: E402
    CDNV,
    NC1,
    Alignment,
    Equiangularity,
    Equinorm,
    GramDistance,
    SelfDuality,
    Separability,
    TraceRatio,
)
from .confidences import CalibrationError, OutOfClassDetection  # noqa: E402
from .lengths import Compactness, FeatureNorm  # noqa: E402

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
