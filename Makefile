# One word for each thing a person does here; CI uses the same words.
PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
READY  := $(VENV)/.ready
DEMO   ?= demo
# Tests wait for processes and browsers that they start, hence three of them for two cores.
WORKERS ?= $(shell expr 3 \* $$(nproc 2>/dev/null || echo 2) / 2)

# Python writes down what it has compiled, even where the user's settings forbid it: tests start many
# processes, and each would compile torch anew.
export PYTHONDONTWRITEBYTECODE :=

.PHONY: demo test test-all lint types check lock wheels clean

demo: $(READY)  ## compare six heads on real handwritten digits and write a page
	$(BIN)/fixhead compare --out $(DEMO)

test: $(READY)  ## the tests that CI runs
	$(BIN)/python -m pytest -n $(WORKERS) -m "not slow"

test-all: $(READY)  ## all tests, the long ones too
	$(BIN)/python -m pytest -n $(WORKERS)

lint: $(READY)
	$(BIN)/ruff check . && $(BIN)/ruff format --check .

types: $(READY)
	$(BIN)/mypy

check: lint types test

NATIVE := $(wildcard src/fixhead/many_classes/native/*.[ch])

# The environment is made anew when what it must hold has changed, and so is the compiled path.
# Python compiles what is imported when it is first imported, not all that was installed.
$(READY): pyproject.toml requirements/lock.txt setup.py $(NATIVE)
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --no-compile --constraint requirements/lock.txt --editable ".[dev]"
	touch $(READY)

# Pins every dependency, without addresses. The torch release is chosen here by hand.
lock: $(READY)
	$(BIN)/python -m pip install --quiet uv
	echo "torch==2.13.0" > $(VENV)/torch.txt
	$(BIN)/uv pip compile pyproject.toml --extra dev --universal --constraint $(VENV)/torch.txt \
	  --no-emit-index-url --no-annotate --no-header --upgrade --output-file requirements/lock.txt

# Zig's C compiler, which pip brings, builds for old Linux and for other processors too.
wheels: $(READY)  ## wheels with the compiled path for Linux on x86-64 and aarch64
	$(BIN)/python -m pip install --quiet ziglang build auditwheel
	$(BIN)/python wheels.py dist

clean:
	rm -rf $(VENV) build dist src/*.egg-info
