"""The package's door: what it shows, what it costs to open, and which rooms need no extra."""

import ast
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

import fixhead

SOURCE = Path(fixhead.__file__).parent
CORE = (
    *("vectors", "logits.py", "heads", "losses", "geometry", "many_classes"),
    *("_seeds.py", "_errors.py", "_files.py", "_version.py"),
    *("training/__init__.py", "training/finetune.py", "training/step.py", "training/recipe.py"),
)


def test_everything_in_all_can_be_had():
    for name in fixhead.__all__:
        assert getattr(fixhead, name) is not None
    assert sorted(fixhead.__all__) == fixhead.__all__


def test_the_version_is_that_of_the_distribution():
    project = tomllib.loads(
        (Path(__file__).parents[1] / "pyproject.toml").read_text(encoding="utf-8")
    )
    assert fixhead.__version__ == project["project"]["version"]


def test_an_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="wobble"):
        fixhead.wobble  # noqa: B018


def test_importing_fixhead_imports_no_torch():
    code = "import sys, fixhead; assert 'torch' not in sys.modules; fixhead.RequestError"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_asking_for_help_imports_no_torch():
    code = (
        "import sys, fixhead.cli as c; assert c.run(['--help']) == 0;"
        "assert 'torch' not in sys.modules and 'numpy' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True, stdout=subprocess.DEVNULL)


def test_refusing_an_option_imports_no_torch():
    code = (
        "import sys, fixhead.cli as c\n"
        "for bad in (['compare', '--epochs', '0'], ['compare', '--optimizer', 'magic'],\n"
        "            ['compare', '--tune', 'wd=1'], ['train', '--lr', '-1'],\n"
        "            ['vectors', 'simplex', '--classes', '5'], ['compare', '--seeds', 'many'],\n"
        "            ['compare', '--keep-together', '('], ['train', '--max-pixels', '0'],\n"
        "            ['compare', '--imbalance', 'exp:2'], ['train', '--imbalance', 'line:1']):\n"
        "    assert c.run(bad) == 2, bad\n"
        "assert 'torch' not in sys.modules and 'numpy' not in sys.modules\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True, stderr=subprocess.DEVNULL)


def core_files():
    for room in CORE:
        path = SOURCE / room
        yield from [path] if path.is_file() else sorted(path.rglob("*.py"))


@pytest.mark.parametrize("path", [*core_files()], ids=lambda path: str(path.relative_to(SOURCE)))
def test_the_core_needs_torch_and_safetensors_only(path):
    allowed = {*sys.stdlib_module_names, "torch", "safetensors", "fixhead"}
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.level == 0:
            names = [node.module or ""]
        else:
            continue
        assert {name.split(".")[0] for name in names} <= allowed, names


# A room may import the rooms of its own row and below, never one above.
ROWS = (
    {"cli"},
    {"papers"},
    {"comparison"},
    {"hub"},
    {"bench", "evaluation", "sklearn"},
    {"report", "training"},
    {"metrics"},
    {"data", "backbones"},
    {"runs"},
    {"heads"},
    {"many_classes"},
    {"geometry"},
    {"vectors", "losses"},
    {"logits"},
    {"_torchvision"},
    {"measures"},  # names functions of geometry, and imports them when they are called
    {"_seeds", "_errors", "_files", "_version"},
)
HEIGHT = {room: -row for row, rooms in enumerate(ROWS) for room in rooms}


def arrows():
    for path in sorted(SOURCE.rglob("*.py")):
        parts = path.relative_to(SOURCE).with_suffix("").parts
        if parts[0] in ("__init__", "__main__"):
            continue
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ImportFrom) and node.level == len(parts):
                targets = [node.module] if node.module else [alias.name for alias in node.names]
                for target in targets:
                    yield parts[0], target.split(".")[0]


def test_arrows_between_rooms_point_down():
    upward = {(a, b) for a, b in arrows() if a != b and b in HEIGHT and HEIGHT[b] >= HEIGHT[a]}
    assert not upward


def test_the_report_knows_records_only():
    assert {b for a, b in arrows() if a == "report"} <= {
        *("report", "runs", "measures", "_errors", "_files", "_lazy")
    }


def test_heads_are_saved_and_loaded_without_numpy():
    code = (
        "import sys; sys.modules['numpy'] = None\n"
        "import warnings; warnings.simplefilter('ignore')\n"
        "import torch, fixhead\n"
        "head = fixhead.ClassificationHead(16, 10)\n"
        "head.load_state_dict(head.state_dict())\n"
        "print(fixhead.certify(head.vectors).classes)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert done.stdout.strip() == "10"


def test_fine_tuning_needs_neither_numpy_nor_lightning():
    code = (
        "import sys\n"
        "for name in ('numpy', 'lightning_fabric', 'torchvision', 'timm', 'rich'):\n"
        "    sys.modules[name] = None\n"
        "import warnings; warnings.simplefilter('ignore')\n"
        "import torch, fixhead\n"
        "nn = torch.nn\n"
        "model = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 3))\n"
        "batches = [(torch.randn(6, 4), torch.arange(6) % 3)]\n"
        "print(len(fixhead.finetune_head(model, batches, epochs=2).epochs))\n"
        "try: fixhead.training.train\n"
        "except fixhead.MissingExtraError as error: print(error)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert done.stdout.splitlines() == [
        "2",
        'lightning_fabric is needed here and is not installed; try: pip install "fixhead[lab]"',
    ]
