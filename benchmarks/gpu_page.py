"""Writes the GPU figures of ``docs/benchmarks.md`` and draws its plot, from files of three runs.

One run is of the present code; two of older code, on another card, show what was gained.

Example:
    python benchmarks/gpu_page.py
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

from plot import draw_curves, median_ms
from tables import errors_table, fill, markdown, memory_table, provenance, times_table

ROOT = Path(__file__).resolve().parents[1]
RESULTS = Path("benchmarks/results")
BEFORE, AFTER, NOW = (RESULTS / f"{name}.json" for name in ("gpu_before", "gpu_h200", "gpu"))
PRESETS = ["rs-atss", "rpn", "r-cnn", "lvis", "stress"]


def by_preset(result):
    """Heading of a preset's column."""
    return f"{result['preset']}, N = {result['num_logits'] / 1e6:.3g} M"


def card(report):
    """Name of the GPU of a run, in short."""
    return report["machine"]["gpu"].split()[1]


def before_and_after(before, after, now):
    """Medians of all runs, one preset a row."""
    runs = [("before", before), ("after", after), ("now", now)]
    columns = [
        (what, report, name)
        for name in ("ours", "ours, places", "focal", "focal, compiled")
        for what, report in runs
        if any(name in result["rows"] for result in report["results"])
    ]
    rows = []
    for preset in PRESETS:
        cells = [
            next(r["rows"].get(name) for r in report["results"] if r["preset"] == preset)
            for _, report, name in columns
        ]
        rows.append([preset, *("" if c is None else f"{median_ms(c):.2f}" for c in cells)])
    header = [f"{name} {what} ({card(report)})" for what, report, name in columns]
    return markdown(["ms", *header], rows)


def where_time_goes(report):
    """Kernels of one step."""
    names = ["profile", "profile of rs-atss by places", "profile of rpn by places"]
    kernels = {row["kernel"]: None for name in names for row in report[name]}
    columns = [{row["kernel"]: row for row in report[name]} for name in names]
    rows = []
    for kernel in kernels:
        if kernel.startswith("_"):
            cells = [f"{column[kernel]['device_us']:.0f}" for column in columns]
            rows.append([f"`{kernel}`", *cells])
    for what, key in (("all, us", "device_us"), ("launches", "launches")):
        totals = [sum(row[key] for row in report[name]) for name in names]
        rows.append([what, *(f"{total:.0f}" for total in totals)])
    return markdown(["us on the device", "rs-atss", "rs-atss, places", "rpn, places"], rows)


def goals(report):
    """Each goal with its figure."""
    rows = [
        [row["preset"], row["goal"], f"{row['measured']:.3g}", "met" if row["met"] else "missed"]
        for row in report["goals"]
    ]
    return markdown(["preset", "goal", "measured", ""], rows)


def main(argv=None):
    """Entry point; returns the exit code."""
    argparse.ArgumentParser(description=__doc__.splitlines()[0]).parse_args(argv)
    before, after, now = (json.loads((ROOT / path).read_text()) for path in (BEFORE, AFTER, NOW))
    draw_curves(
        now["results"],
        "num_logits",
        median_ms,
        "forward and backward, ms",
        ROOT / "docs" / "img" / "ranking_gpu_time_by_logits.png",
        f"{now['machine']['gpu']}, P = 300 to 10,000, {now['commit']}",
    )
    host = "; ".join(f"{what} {value:.0f}" for what, value in now["host"].items())
    blocks = {
        "gpu": [
            times_table(now, PRESETS, by_preset),
            memory_table(now, PRESETS, by_preset),
            errors_table(now, PRESETS, by_preset),
            "In 16-bit dtypes, rs-atss (float16, then bfloat16):",
            times_table({"results": now["low_precisions"]}, PRESETS, lambda r: r["dtype"]),
            where_time_goes(now),
            f"Microseconds of the host, rpn: {host}.",
            goals(now),
            provenance(now, NOW),
        ],
        "gpu before and after": [
            before_and_after(before, after, now),
            "Before: " + provenance(before, BEFORE),
            "After: " + provenance(after, AFTER),
        ],
    }
    fill(ROOT / "docs" / "benchmarks.md", {n: "\n\n".join(parts) for n, parts in blocks.items()})
    return 0


if __name__ == "__main__":
    sys.exit(main())
