"""Size and shape of the source, for the table in docs/architecture.md.

    python tools/measure.py .                  # this checkout
    python tools/measure.py ../before .        # two checkouts side by side

Nothing but the standard library reads the source; hops are counted in a run, with whatever Python calls this script.
Coverage is taken from the `coverage.xml` that `make cover` leaves in a checkout; without one it stays empty.
"""

from __future__ import annotations

import ast
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from xml.etree import ElementTree

LONGEST_FUNCTION = 60
BROAD = {"Exception", "BaseException"}

HOPS = """
import os, signal, time, traceback
from deeptrace.detectors import load_detector

FOLDER, CALLER = os.environ["HOPS_FOLDER"], int(os.environ["HOPS_CALLER"])
HERE = os.getpid() == CALLER
COMPREHENSIONS = ("<listcomp>", "<dictcomp>", "<setcomp>", "<genexpr>")

def note(process, stack, entry="/deeptrace/"):
    frames = [f.filename for f in stack if "/deeptrace/" in f.filename and f.name not in COMPREHENSIONS]
    first = next((at for at, filename in enumerate(frames) if entry in filename), len(frames))
    with open(os.path.join(FOLDER, process), "w") as file:
        file.write(str(len(frames) - first + (process == "worker" or detecting)))

def note_caller(*_):
    note("caller", traceback.extract_stack(), os.environ["HOPS_ENTRY"])

detecting = False

class Hops:
    def __init__(self):
        self._inner = load_detector("baseline:full-frame")
        self.info = self._inner.info

    def detect(self, video):
        global detecting
        detecting = HERE
        if HERE:
            note_caller()
        else:
            note("worker", traceback.extract_stack())
            os.kill(CALLER, signal.SIGUSR1)  # which then says how it waits for this
            time.sleep(0.5)
        return self._inner.detect(video)

def load(rest):
    return Hops()
"""
"""A detector that writes down how many frames of deeptrace it is called through, itself counted, comprehensions not:
those of its own process, and where that is a worker also those of the process that waits for it."""

PROBE = """
import os, signal, sys

os.environ["HOPS_CALLER"] = str(os.getpid())
import hops

signal.signal(signal.SIGUSR1, hops.note_caller)
door, clip = sys.argv[1:]
if door == "command":
    from deeptrace.cli.main import main
    sys.argv = ["deeptrace", "detect", clip, "--detector", "hops:"]
    main()
else:
    import deeptrace
    deeptrace.detect(clip, hops.load(""))
"""
ENTRIES = {"command": "/cli/detect", "function": "/deeptrace/"}
"""Where the counting begins: at a command's own function, as what reads the command line is not ours."""


def main(*checkouts: str) -> None:
    """Print a Markdown table with one column a checkout."""
    columns = [measured(Path(checkout)) for checkout in checkouts or (".",)]
    print("| | " + " | ".join(checkouts or (".",)) + " |")
    print("|---|" + "---:|" * len(columns))
    for name in columns[0]:
        print(f"| {name} | " + " | ".join(column[name] for column in columns) + " |")


def measured(checkout: Path) -> dict[str, str]:
    """Every figure of one checkout, as text; empty where it cannot be had."""
    source = checkout / "src" / "deeptrace"
    texts = {path: path.read_text(encoding="utf-8") for path in sorted(source.rglob("*.py"))}
    trees = {path: ast.parse(text) for path, text in texts.items()}
    long = [path for path, tree in trees.items() for _ in long_functions(tree)]
    commands = sum(path.relative_to(source).parts[0] == "cli" for path in long)
    circles = circles_of(parts_graph(source, trees))
    return {
        "files": str(len(texts)),
        "lines": f"{sum(len(text.splitlines()) for text in texts.values()):,}",
        "packages that import each other": "; ".join(" and ".join(circle) for circle in circles) or "none",
        "frames from `deeptrace detect CLIP` to the detector": hops(checkout, "command"),
        "frames from `deeptrace.detect(clip, detector)` to it": hops(checkout, "function"),
        f"functions over {LONGEST_FUNCTION} lines, commands' option lists apart": str(len(long) - commands),
        "`except Exception`": str(sum(broad(node) for tree in trees.values() for node in ast.walk(tree))),
        "lines and branches that the tests reach": coverage(checkout / "coverage.xml"),
    }


def long_functions(tree: ast.AST) -> Iterator[str]:
    """Names of the functions that are longer than a screen."""
    for node in ast.walk(tree):
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)) and lines_of(node) > LONGEST_FUNCTION:
            yield node.name


def lines_of(node: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    """How many lines a function takes, without its decorators and what its docstring says."""
    said = ast.get_docstring(node, clean=False)
    return (node.end_lineno or node.lineno) - node.lineno + 1 - (said.count("\n") if said else 0)


def broad(node: ast.AST) -> bool:
    """Whether this is an `except` that catches nearly everything."""
    if not isinstance(node, ast.ExceptHandler):
        return False
    kinds = node.type.elts if isinstance(node.type, ast.Tuple) else [node.type]
    return any(kind is None or (isinstance(kind, ast.Name) and kind.id in BROAD) for kind in kinds)


def parts_graph(source: Path, trees: dict[Path, ast.Module]) -> dict[str, set[str]]:
    """What each top-level part imports of the others, inside functions too."""
    graph: dict[str, set[str]] = {}
    for path, tree in trees.items():
        part = path.relative_to(source).parts[0].removesuffix(".py")
        if part == "__init__":
            continue
        names = [node.module for node in ast.walk(tree) if isinstance(node, ast.ImportFrom) and node.module]
        names += [alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names]
        wanted = {name.split(".")[1] for name in names if name.startswith("deeptrace.")}
        graph.setdefault(part, set()).update(wanted - {part})
    return graph


def circles_of(graph: dict[str, set[str]]) -> list[list[str]]:
    """Groups of parts of which each reaches each other."""
    reach = {part: set(wanted) for part, wanted in graph.items()}
    for middle in reach:
        for wanted in reach.values():
            if middle in wanted:
                wanted |= reach[middle]
    groups = {frozenset(b for b in reach if b in reach[a] and a in reach[b]) for a in reach}
    return sorted(sorted(group) for group in groups if len(group) > 1)


def hops(checkout: Path, door: str) -> str:
    """Frames of deeptrace on the stack when a detector is called, those of the door and the detector counted.

    Of a detector in a worker process, those of the process that waits for it, and those in the worker.
    """
    clip = (checkout / "examples" / "coffee.mp4").resolve()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "hops.py").write_text(HOPS)
        about = folder / "hops-1.dist-info"
        about.mkdir()
        (about / "METADATA").write_text("Metadata-Version: 2.1\nName: hops\nVersion: 1\n")
        (about / "entry_points.txt").write_text("[deeptrace.detectors]\nhops = hops:load\n")
        path = os.pathsep.join([str((checkout / "src").resolve()), name])
        environment = {**os.environ, "PYTHONPATH": path, "HOPS_FOLDER": name, "HOPS_ENTRY": ENTRIES[door]}
        subprocess.run(
            [sys.executable, "-c", PROBE, door, str(clip)], env=environment, capture_output=True, check=False
        )
        found = [file.read_text() for file in (folder / "caller", folder / "worker") if file.is_file()]
    return " + ".join(found)


def coverage(report: Path) -> str:
    """The share of lines and branches in a coverage.xml; empty where there is none."""
    if not report.is_file():
        return ""
    of = ElementTree.parse(report).getroot().attrib
    reached = int(of["lines-covered"]) + int(of["branches-covered"])
    return f"{100 * reached / (int(of['lines-valid']) + int(of['branches-valid'])):.1f} %"


if __name__ == "__main__":
    main(*sys.argv[1:])
