"""Faults drawn by seed, put into the package one by one, to see whether the tests notice.

    python tests/helpers/mutants.py --number 60 --seed 0 --out work_dirs/mutants.json

The tracked files are copied to a temporary folder first, and only the copy is changed. Each mutant
meets the doctests of its file, the test files that name most of it, and its floor's own; at most
``--files`` of them, and a mutant that survives so many is tried again when more are allowed.
"""

from __future__ import annotations

import argparse
import ast
import contextlib
import copy
import importlib
import json
import multiprocessing
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
COMPARISONS = {
    ast.Lt: ast.LtE, ast.LtE: ast.Lt, ast.Gt: ast.GtE, ast.GtE: ast.Gt, ast.Eq: ast.NotEq,
    ast.NotEq: ast.Eq, ast.Is: ast.IsNot, ast.IsNot: ast.Is, ast.In: ast.NotIn, ast.NotIn: ast.In,
}  # fmt: skip
OPERATORS = {
    ast.Add: ast.Sub, ast.Sub: ast.Add, ast.Mult: ast.Div, ast.Div: ast.Mult, ast.Mod: ast.Mult,
    ast.FloorDiv: ast.Mult, ast.Pow: ast.Mult, ast.BitAnd: ast.BitOr,
}  # fmt: skip
#: Functions whose first two arguments may change places.
SYMMETRIC = {"min", "max", "minimum", "maximum", "isclose", "equal", "logical_and", "logical_or"}
#: Tests of a floor that are not in the folder of its name.
FOLDERS = {"cli": ["tools"], "engine": ["engine", "tools"], "convert": ["tools"]}
#: What costs seconds to import and is not the package's own, nor MMDetection's (which must come
#: after the package has looked for operators).
HEAVY = ("torch", "torchvision", "numpy", "scipy.stats", "matplotlib.pyplot", "pycocotools.mask",
         "cv2", "sklearn", "mmengine.runner", "hypothesis", "pytest")  # fmt: skip


def mutations(node: ast.AST) -> list[tuple[str, ast.AST | None]]:
    """Mutants of a node: a name for the kind, and what takes the node's place."""
    found: list[tuple[str, ast.AST | None]] = []

    def add(kind: str, **fields) -> None:
        changed = copy.copy(node)
        for name, value in fields.items():
            setattr(changed, name, value)
        found.append((kind, changed))

    if isinstance(node, ast.Compare) and type(node.ops[0]) in COMPARISONS:
        add("comparison", ops=[COMPARISONS[type(node.ops[0])](), *node.ops[1:]])
    elif isinstance(node, (ast.BinOp, ast.AugAssign)) and type(node.op) in OPERATORS:
        add("operator", op=OPERATORS[type(node.op)]())
    elif isinstance(node, ast.BoolOp):
        add("and/or", op=ast.Or() if isinstance(node.op, ast.And) else ast.And())
    elif isinstance(node, ast.UnaryOp) and isinstance(node.op, (ast.Not, ast.USub)):
        found.append(("negation", node.operand))
    elif isinstance(node, ast.Constant) and isinstance(node.value, bool):
        add("constant", value=not node.value)
    elif isinstance(node, ast.Constant) and isinstance(node.value, (int, float)):
        add("constant", value=node.value + 1)
    elif isinstance(node, (ast.If, ast.IfExp)) and "TYPE_CHECKING" not in ast.dump(node.test):
        add("condition", test=ast.UnaryOp(ast.Not(), node.test))
    elif (
        isinstance(node, ast.Call)
        and not any(isinstance(arg, ast.Starred) for arg in node.args[:2])
        and len(node.args) > 1
        and ast.dump(node.args[0]) != ast.dump(node.args[1])
        and getattr(node.func, "attr", getattr(node.func, "id", "")) not in SYMMETRIC
    ):
        add("arguments", args=[node.args[1], node.args[0], *node.args[2:]])
    if isinstance(node, ast.AugAssign) or (
        isinstance(node, ast.Expr) and isinstance(node.value, ast.Call)
    ):
        found.append(("statement", ast.Pass()))
    return found


def children(node: ast.AST) -> list[tuple[str, int | None, ast.AST]]:
    """Field, place and node of what may be mutated below: no annotations, messages, types.

    Nor ``zip(..., strict=True)``, which guards against what the code before it has ruled out.
    """
    if isinstance(node, ast.keyword) and node.arg == "strict":
        return []
    if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.dump(node.test):
        return []
    skipped = {"annotation", "returns"} | ({"exc", "msg"} if isinstance(node, ast.Raise) else set())
    return [
        (field, place, child)
        for field, value in ast.iter_fields(node)
        if field not in skipped
        for place, child in (enumerate(value) if isinstance(value, list) else [(None, value)])
        if isinstance(child, ast.AST)
    ]


def sites(tree: ast.AST) -> list[tuple[ast.AST, str, int | None, str, ast.AST]]:
    """All mutants of a module: parent, field, place, kind, replacement."""
    found, waiting = [], [tree]
    while waiting:
        parent = waiting.pop()
        for field, place, child in children(parent):
            found += [(parent, field, place, *mutation) for mutation in mutations(child)]
            waiting.append(child)
    return found


def mutate(source: str, number: int) -> tuple[str, str]:
    """The source with its mutant of that number, and a line that describes it."""
    tree = ast.parse(source)
    parent, field, place, kind, new = sites(tree)[number]
    old = getattr(parent, field) if place is None else getattr(parent, field)[place]
    line, before = old.lineno, ast.unparse(old).split("\n")[0]
    if place is None:
        setattr(parent, field, new)
    else:
        getattr(parent, field)[place] = new
    after = ast.unparse(ast.fix_missing_locations(tree))
    shown = ast.unparse(new).split("\n")[0]
    return after, f"line {line}, {kind}: {before}  ->  {shown}"


def draw(root: Path, number: int, seed: int, only: str) -> list[tuple[str, int]]:
    """Files and numbers of mutants, all alike probable."""
    paths = sorted((root / "mmdet_rank").rglob("*.py"))
    names = [str(path.relative_to(root)) for path in paths]
    every = [
        (name, place)
        for name in names
        if re.search(only, name)
        for place in range(len(sites(ast.parse((root / name).read_text()))))
    ]
    return random.Random(seed).sample(every, min(number, len(every)))


def defined_in(path: Path) -> set[str]:
    """Names of the classes and functions of a module."""
    kinds = (ast.ClassDef, ast.FunctionDef)
    return {node.name for node in ast.parse(path.read_text()).body if isinstance(node, kinds)}


def covering_tests(root: Path, name: str, number: int) -> list[str]:
    """The file itself, the test files that name most of it first, and its floor's.

    What is defined in a file that imports this one is named as well.
    """
    path = Path(name)
    importing = re.compile(
        rf"^(?:from \S*\b{path.stem} import|from \S+ import .*\b{path.stem}\b)", re.M
    )
    others = [p for p in root.glob("mmdet_rank/**/*.py") if importing.search(p.read_text())]
    names = {path.stem}.union(*(defined_in(p) for p in [root / name, *others]))
    pattern = re.compile(r"\b(" + "|".join(map(re.escape, sorted(names))) + r")\b")
    floor = path.parts[1].removesuffix(".py")
    folders = {f"test_{folder}" for folder in FOLDERS.get(floor, [floor])}
    helpers = {helper.stem: helper.read_text() for helper in root.glob("tests/helpers/*.py")}
    hits = {}
    for test in sorted(root.glob("tests/*/test_*.py")):
        text = test.read_text()
        imported = re.findall(r"^(?:from|import) (\w+)", text, re.MULTILINE)
        hits[test] = len(set(pattern.findall(text))) + sum(
            len(set(pattern.findall(helpers.get(helper, "")))) for helper in imported
        )
        if path.stem in test.name or path.parent.name in test.name:
            hits[test] += 100
        elif test.parent.name in folders:
            hits[test] += 2 if hits[test] else 1
    chosen = sorted((test for test in hits if hits[test]), key=lambda test: -hits[test])
    return [name, *(str(test.relative_to(root)) for test in chosen[:number])]


def run_tests(tree: Path, tests: list[str], log: Path, limit: int) -> None:
    """In a process of its own: end with pytest's exit code."""
    os.setsid()
    os.chdir(tree)
    os.environ["PYTHONPATH"] = str(tree)
    with log.open("w") as stream:
        os.dup2(stream.fileno(), 1)
        os.dup2(stream.fileno(), 2)
    import pytest

    options = ["-x", "-q", "-p", "no:cacheprovider", "-m", "not cuda", f"--timeout={limit}"]
    sys.stdout.flush()
    code = pytest.main([*options, *tests])
    os._exit(int(code))


def try_mutant(tree: Path, name: str, number: int, files: int, limit: int) -> dict:
    """Run the tests on one mutant; the copy is whole again afterwards."""
    source = (tree / name).read_text()
    changed, what = mutate(source, number)
    log, start = tree / "mutant.log", time.monotonic()
    process = multiprocessing.get_context("fork").Process(
        target=run_tests, args=(tree, covering_tests(tree, name, files), log, limit)
    )
    (tree / name).write_text(changed)
    try:
        process.start()
        process.join(20 * limit)
        in_time = process.exitcode is not None
        with contextlib.suppress(ProcessLookupError):  # what the tests have started, too
            os.killpg(process.pid, signal.SIGKILL)
        process.join()
    finally:
        (tree / name).write_text(source)
    failed = re.search(r"^(?:FAILED|ERROR) (.*)", log.read_text(errors="replace"), re.MULTILINE)
    return dict(
        file=name, mutant=what, files=files, caught=process.exitcode != 0, in_time=in_time,
        by=failed.group(1)[:200] if failed else "", seconds=round(time.monotonic() - start, 1),
    )  # fmt: skip


def work(mutants: list[tuple[str, int]], files: int, limit: int, results: Any) -> None:
    """Try mutants one after the other in a copy of the tracked files."""
    tracked = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True).stdout
    with tempfile.TemporaryDirectory(prefix="mutants-", ignore_cleanup_errors=True) as folder:
        for path in filter(None, tracked.split("\n")):
            if (ROOT / path).is_file():
                (Path(folder) / path).parent.mkdir(parents=True, exist_ok=True)
                shutil.copy2(ROOT / path, Path(folder) / path)
        for name, number in mutants:
            results.put(try_mutant(Path(folder), name, number, files, limit))


def main() -> int:
    """Draw, run, report."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--number", type=int, default=200, help="mutants to draw")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--jobs", type=int, default=1, help="mutants at a time")
    parser.add_argument("--only", default="", help="expression that the file names must match")
    parser.add_argument("--files", type=int, default=8, help="test files a mutant meets at most")
    parser.add_argument("--limit", type=int, default=120, help="seconds of a single test")
    parser.add_argument("--out", type=Path, help="JSON file; mutants that it has are not run again")
    args = parser.parse_args()
    found = json.loads(args.out.read_text()) if args.out and args.out.exists() else []
    found = [result for result in found if result["caught"] or result["files"] >= args.files]
    done = {(result["file"], result["mutant"]) for result in found}
    mutants = [
        (name, number)
        for name, number in draw(ROOT, args.number, args.seed, args.only)
        if (name, mutate((ROOT / name).read_text(), number)[1]) not in done
    ]
    for module in HEAVY:
        importlib.import_module(module)
    fork = multiprocessing.get_context("fork")
    results = fork.Queue()
    workers = [
        fork.Process(target=work, args=(mutants[job :: args.jobs], args.files, args.limit, results))
        for job in range(args.jobs)
    ]
    for worker in workers:
        worker.start()
    for _ in mutants:
        result = results.get()
        found.append(result)
        verdict = "caught  " if result["caught"] else "SURVIVED"
        print(f"{verdict} {result['seconds']:6.1f} s", result["file"], result["mutant"], flush=True)
        if args.out:
            args.out.parent.mkdir(parents=True, exist_ok=True)
            args.out.write_text(json.dumps(found, indent=1))
    for worker in workers:
        worker.join()
    caught = sum(result["caught"] for result in found)
    print(f"{caught} of {len(found)} mutants caught ({caught / max(len(found), 1):.0%})")
    return 0


if __name__ == "__main__":
    sys.exit(main())
