"""Every file in ``examples/`` is run as a person would run it."""

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).parents[2] / "examples"

# Packages outside the development environment, and how an example that needs them starts: where
# torchvision's operators do not fit this torch, what imports torchvision needs help.
NEEDS = {
    "hf_trainer": ("transformers", "accelerate"),
    "lightning_module": ("lightning",),
    "onnx_export": ("onnx", "onnxscript", "onnxruntime"),
    "photos_to_onnx": ("onnx", "onnxscript", "onnxruntime"),
}
THROUGH_FIXHEAD = (
    "import runpy, sys; from fixhead._torchvision import import_torchvision; import_torchvision(); "
    "runpy.run_path(sys.argv[1], run_name='__main__')"
)
LONG = ["distributed_data_parallel", "fully_sharded", "metric_learning", *NEEDS]
SAYS = {
    "convert_a_trained_model": "folded into Linear",
    "distributed_data_parallel": "two processes agree with one",
    "fully_sharded": "two sharded processes agree with one",
    "hf_trainer": "the same logits after loading",
    "lightning_module": "test accuracy 0.",
    "metric_learning": "test accuracy 0.",
    "onnx_export": "largest difference",
    "photos_to_onnx": "no answer changes",
    "plain_pytorch": "epoch 4: test accuracy 0.9",
    "safetensors_file": "refused: the checkpoint's frozen class vectors",
}


def names():
    return sorted(path.stem for path in EXAMPLES.glob("*.py") if path.stem != "digits")


def cases():
    return [
        pytest.param(name, marks=[pytest.mark.slow] if name in LONG else []) for name in names()
    ]


@pytest.mark.parametrize("name", cases())
def test_the_example_runs_and_says_what_it_shows(name):
    for package in NEEDS.get(name, ()):
        if importlib.util.find_spec(package) is None:
            pytest.skip(f"examples/{name}.py needs {package}")
    path = str(EXAMPLES / f"{name}.py")
    through = name in ("hf_trainer", "lightning_module")
    command = ["-c", THROUGH_FIXHEAD, path] if through else [path]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(EXAMPLES)}
    done = subprocess.run(
        [sys.executable, *command],
        env=environment,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert SAYS[name] in done.stdout


def test_every_example_is_known_here():
    assert names() == sorted(SAYS)
    assert set(LONG) <= set(SAYS)
