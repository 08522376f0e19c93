"""Measures all CPU figures of ``docs/benchmarks.md``, draws its plots and fills in its tables.

On a machine that does nothing else it takes about five minutes. Times are those of the processor,
which compare elsewhere too, but with two threads, where the clock alone tells what one gains.

Example:
    python benchmarks/cpu_report.py
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from pathlib import Path

from plot import draw_all
from tables import (
    errors_table,
    fill,
    memory_table,
    provenance,
    times_table,
    training_table,
)

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
        *("ranking_losses.py", "--preset", "cpu", "--threads", "2", "--seconds", "0.4"),
        "--no-memory",
    ],
    "training_cpu": ["training_step.py", "--set", "digits", "--threads", "1", "--seconds", "8"],
}


def measure(name):
    """Run one benchmark, which writes its report."""
    script, *arguments = RUNS[name]
    out = RESULTS / f"{name}.json"
    command = [sys.executable, f"benchmarks/{script}", *arguments, "--out", str(out)]
    threads = arguments[arguments.index("--threads") + 1]
    environment = {**os.environ, "OMP_NUM_THREADS": threads}
    subprocess.run(command, cwd=ROOT, check=True, env=environment)


def growth(report):
    """How the time of the losses grows with N."""
    times = {
        result["preset"]: result["rows"]["ours"]["processor_s"]["median"]
        for result in report["results"]
    }
    return (
        f"From N = 1 M to 4 M the time of RS Loss grows {times['n-4m'] / times['n-1m']:.2f}-fold."
    )


def by_logits(result):
    """Heading of the column of a kind of logits."""
    return result["logits"]


def by_number(result):
    """Heading of the column of a number of logits."""
    return f"N = {result['num_logits']:,}"


def by_positives(result):
    """Heading of the column of a number of positives."""
    return f"P = {result['num_positives']:,}"


def blocks_of(reports):
    """What stands between the marks of the document."""
    cpu, two = reports["ranking_cpu"], reports["ranking_cpu_2_threads"]
    scaling = [f"n-{size}m" for size in (1, 4, 20)]
    positives = [f"p-{count}" for count in (100, 300, 1000, 3000, 10_000)]
    source = {
        name: provenance(report, RESULTS / f"{name}.json") for name, report in reports.items()
    }
    tables = {
        "cpu": [
            times_table(cpu, ["cpu"], by_logits, clock="processor"),
            errors_table(cpu, ["cpu"], by_logits),
            memory_table(cpu, ["cpu"], by_logits),
            source["ranking_cpu"],
        ],
        "two threads": [
            times_table(two, ["cpu"], by_logits),
            source["ranking_cpu_2_threads"],
        ],
        "scaling": [
            times_table(cpu, scaling, by_number, clock="processor"),
            growth(cpu),
            memory_table(cpu, scaling, by_number),
        ],
        "positives": [
            times_table(cpu, positives, by_positives, with_ratios=False, clock="processor")
        ],
        "training": [training_table(reports["training_cpu"]), source["training_cpu"]],
    }
    return {name: "\n\n".join(parts) for name, parts in tables.items()}


def main(argv=None):
    """Entry point; returns the exit code."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--runs", nargs="*", choices=RUNS, default=list(RUNS), help="what to measure again"
    )
    args = parser.parse_args(argv)
    for name in args.runs:
        measure(name)
    reports = {name: json.loads((ROOT / RESULTS / f"{name}.json").read_text()) for name in RUNS}
    draw_all(reports["ranking_cpu"], ROOT / "docs" / "img" / "ranking_cpu")
    fill(DOCUMENT, blocks_of(reports))
    return 0


if __name__ == "__main__":
    sys.exit(main())
