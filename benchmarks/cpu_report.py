"""Measures all CPU figures of ``docs/benchmarks.md``, draws its plots and fills in its tables.

Run it on a machine that does nothing else; it takes about five minutes.

Example:
    python benchmarks/cpu_report.py
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

from plot import draw_all
from tables import fill, losses_table, provenance, training_table

ROOT = Path(__file__).resolve().parents[1]
RESULTS = Path("benchmarks/results")
DOCUMENT = ROOT / "docs" / "benchmarks.md"

_PRESETS = ["cpu", "scaling", "positives"]
_MEMORY = ["ours", "loop", "dense", "bucketed", "focal", "sort"]

#: Result by name: script and its arguments.
RUNS = {
    "ranking_cpu": [
        *("ranking_losses.py", "--preset", *_PRESETS, "--threads", "1", "--seconds", "0.7"),
        *("--memory", *_MEMORY),
    ],
    "ranking_cpu_2_threads": [
        *("ranking_losses.py", "--preset", "cpu", "--threads", "2", "--seconds", "0.7"),
        "--no-memory",
    ],
    "training_cpu": ["training_step.py", "--set", "digits", "--threads", "2", "--seconds", "12"],
}


def measure(name):
    """Run one benchmark and return its report."""
    script, *arguments = RUNS[name]
    out = RESULTS / f"{name}.json"
    command = [sys.executable, f"benchmarks/{script}", *arguments, "--out", str(out)]
    threads = arguments[arguments.index("--threads") + 1]
    environment = {**os.environ, "OMP_NUM_THREADS": threads}
    subprocess.run(command, cwd=ROOT, check=True, env=environment)
    return json.loads((ROOT / out).read_text())


def growth(report):
    """How the time of the losses grows with N."""
    times = {
        result["preset"]: result["rows"]["ours"]["wall_s"]["median"] for result in report["results"]
    }
    return (
        f"From N = 1 M to 4 M the time of RS Loss grows {times['n-4m'] / times['n-1m']:.2f}-fold."
    )


def main():
    """Entry point; returns the exit code."""
    reports = {name: measure(name) for name in RUNS}
    cpu, two = reports["ranking_cpu"], reports["ranking_cpu_2_threads"]
    draw_all(cpu, ROOT / "docs" / "img" / "ranking_cpu")
    scaling = [f"n-{size}m" for size in (1, 4, 20)]
    positives = [f"p-{count}" for count in (100, 300, 1000, 3000, 10_000)]
    paths = {name: RESULTS / f"{name}.json" for name in RUNS}
    blocks = {
        "cpu": f"{losses_table(cpu, ['cpu'])}\n\n{provenance(cpu, paths['ranking_cpu'])}",
        "scaling": f"{losses_table(cpu, scaling)}\n\n{growth(cpu)}",
        "positives": losses_table(cpu, positives),
        "two threads": (
            f"{losses_table(two, ['cpu'])}\n\n{provenance(two, paths['ranking_cpu_2_threads'])}"
        ),
        "training": (
            f"{training_table(reports['training_cpu'])}\n\n"
            f"{provenance(reports['training_cpu'], paths['training_cpu'])}"
        ),
    }
    fill(DOCUMENT, blocks)
    return 0


if __name__ == "__main__":
    sys.exit(main())
