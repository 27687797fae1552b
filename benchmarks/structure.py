"""Figures of the package's structure: python benchmarks/structure.py [--list] [--no-runs]

Static figures are read from the sources: files, lines, the longest chain of imports, circles, and
modules that exactly one other module imports (a package's ``__init__`` counts as no importer).
Imports inside functions are left out of chains and circles: they are made when a command runs. Two
figures come from running: how many of our files ``fixhead compare`` on digits enters (one head, one
seed, one epoch), and how many the loss of a head over an implicit code, with its gradient.
"""

from __future__ import annotations

import argparse
import ast
import json
import statistics
import subprocess
import sys
import tempfile
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

SOURCE = Path(__file__).parent.parent / "src" / "fixhead"
Graph = dict[str, set[str]]

COMPARE = """
from fixhead.cli import run
def compare(folder):
    assert run(["compare", "--heads", "random-cosine@1", "--seeds", "1", "--epochs", "1",
                "--threads", "1", "--out", folder]) == 0
compare({first!r})
count()
compare({second!r})
"""
IMPLICIT_LOSS = """
import torch, fixhead
head = fixhead.ClassificationHead(64, 10_000, vectors="implicit")
x = torch.randn(8, 64, requires_grad=True)
head.loss(x, torch.arange(8)).backward()
count()
head.loss(x, torch.arange(8)).backward()
"""
COUNTED = """
import json, sys, threading
files, changes, last = set(), 0, None
def enter(frame, event, _argument):
    global changes, last
    name = frame.f_code.co_filename
    if event == "call" and name.startswith({source!r}):
        files.add(name)
        changes += name != last
        last = name
def count():
    threading.setprofile(enter)
    sys.setprofile(enter)
{code}
sys.setprofile(None)
print(json.dumps([len(files), changes]), file=sys.stderr)
"""


def module_name(file: Path) -> str:
    parts = file.relative_to(SOURCE.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def import_nodes(node: ast.AST, *, typing: bool, functions: bool) -> Iterator[ast.AST]:
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.Import | ast.ImportFrom):
            yield child
        elif isinstance(child, ast.If) and "TYPE_CHECKING" in ast.dump(child.test) and not typing:
            continue
        elif functions or not isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef):
            yield from import_nodes(child, typing=typing, functions=functions)


def targets(node: ast.AST, module: str, *, package: bool) -> Iterator[str]:
    """The dotted names that an import may mean, the longest first."""
    if isinstance(node, ast.Import):
        yield from (alias.name for alias in node.names)
    elif isinstance(node, ast.ImportFrom):
        base = node.module or ""
        if node.level:
            above = module.split(".") if package else module.split(".")[:-1]
            above = above[: len(above) - node.level + 1]
            base = ".".join(above + ([node.module] if node.module else []))
        yield from (f"{base}.{alias.name}" for alias in node.names)


def imports(modules: dict[str, Path], *, typing: bool, functions: bool) -> Graph:
    """Module → the modules of ours that it imports."""
    graph: Graph = {module: set() for module in modules}
    for module, file in modules.items():
        tree = ast.parse(file.read_text(encoding="utf-8"))
        for node in import_nodes(tree, typing=typing, functions=functions):
            for name in targets(node, module, package=file.name == "__init__.py"):
                meant = name if name in modules else name.rpartition(".")[0]
                if meant in modules and meant != module:
                    graph[module].add(meant)
    return graph


def longest_chain(graph: Graph) -> list[str]:
    """The longest path from module to module; circles are not followed twice."""
    known: dict[str, list[str]] = {}

    def below(module: str, above: frozenset[str]) -> list[str]:
        if module in above:
            return []
        if module not in known:
            chains = [below(target, above | {module}) for target in sorted(graph[module])]
            known[module] = [module, *max(chains, key=len, default=[])]
        return known[module]

    return max((below(module, frozenset()) for module in graph), key=len)


def circles(graph: Graph) -> list[list[str]]:
    """Groups of modules that reach one another."""

    def reached(start: str) -> set[str]:
        seen: set[str] = set()
        waiting = [start]
        while waiting:
            for target in graph[waiting.pop()] - seen:
                seen.add(target)
                waiting.append(target)
        return seen

    reach = {module: reached(module) for module in graph}
    groups = {
        tuple(sorted(other for other in reach[module] if module in reach[other]))
        for module in graph
        if module in reach[module]
    }
    return [list(group) for group in sorted(groups)]


def entered(code: str) -> tuple[int, int]:
    """How many of our files ``code`` enters after ``count()``, and how often it changes file.

    What is counted has run once before, so that imports are none of it.
    """
    text = COUNTED.format(source=str(SOURCE), code=code)
    done = subprocess.run(
        [sys.executable, "-c", text], check=True, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL
    )
    files, changes = json.loads(done.stderr.decode().strip().splitlines()[-1])
    return files, changes


def figures(*, runs: bool) -> dict[str, object]:
    modules = {module_name(file): file for file in sorted(SOURCE.rglob("*.py"))}
    lengths = [file.read_text(encoding="utf-8").count("\n") for file in modules.values()]
    at_import = imports(modules, typing=False, functions=False)
    importers: dict[str, set[str]] = defaultdict(set)
    for module, found in imports(modules, typing=True, functions=True).items():
        if modules[module].name != "__init__.py":
            for target in found:
                importers[target].add(module)
    plain = [module for module, file in modules.items() if file.name != "__init__.py"]
    single = sorted(module for module in plain if len(importers[module]) == 1)
    chain = longest_chain(at_import)
    facts: dict[str, object] = {
        "files": len(modules),
        "lines": sum(lengths),
        "median_lines": statistics.median(lengths),
        "largest_file": max(lengths),
        "longest_chain": len(chain),
        "chain": chain,
        "one_importer_percent": round(100 * len(single) / len(plain), 1),
        "one_importer": single,
        "circles": circles(imports(modules, typing=True, functions=False)),
    }
    if runs:
        with tempfile.TemporaryDirectory() as folder:
            code = COMPARE.format(first=f"{folder}/first", second=f"{folder}/second")
            facts["files_entered_by_compare"] = entered(code)[0]
        files, changes = entered(IMPLICIT_LOSS)
        facts["files_entered_by_an_implicit_loss"] = files
        facts["changes_of_file_in_an_implicit_loss"] = changes
    return facts


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--list", action="store_true", help="Name the chain and the modules, too.")
    parser.add_argument("--no-runs", action="store_true", help="Read the sources only.")
    asked = parser.parse_args()
    facts = figures(runs=not asked.no_runs)
    if not asked.list:
        facts = {name: v for name, v in facts.items() if name not in ("chain", "one_importer")}
    print(json.dumps(facts, indent=1))


if __name__ == "__main__":
    main()
