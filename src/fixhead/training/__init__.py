"""Training on Lightning Fabric: a recipe, a loop that can be stopped, saved models."""

from .._errors import require

require("lightning_fabric", extra="lab")  # says how to install it, before the imports below fail

from .checkpoint import load_model_state, read_description, save_model  # noqa: E402
from .engine import resolve_device  # noqa: E402
from .loop import TrainingResult, train  # noqa: E402
from .mixing import Batches, check_mixing, labelled  # noqa: E402
from .model import Classifier  # noqa: E402
from .progress import Progress, SilentProgress, progress_for  # noqa: E402
from .rebuild import classifier, load_classifier  # noqa: E402
from .recipe import Recipe  # noqa: E402
from .resume import remove_checkpoint  # noqa: E402
from .tally import NonFiniteLossError  # noqa: E402

__all__ = [
    "Batches",
    "Classifier",
    "NonFiniteLossError",
    "Progress",
    "Recipe",
    "SilentProgress",
    "TrainingResult",
    "check_mixing",
    "classifier",
    "labelled",
    "load_classifier",
    "load_model_state",
    "progress_for",
    "read_description",
    "remove_checkpoint",
    "resolve_device",
    "save_model",
    "train",
]
