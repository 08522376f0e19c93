"""Writes the GPU figures of ``docs/benchmarks.md`` and draws its plot, from the files of two runs.

Example:
    python benchmarks/gpu_page.py
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

from plot import draw_curves, median_ms
from tables import errors_table, fill, markdown, memory_table, provenance, times_table

ROOT = Path(__file__).resolve().parents[1]
RESULTS = Path("benchmarks/results")
BEFORE, AFTER = RESULTS / "gpu_before.json", RESULTS / "gpu.json"
PRESETS = ["rs-atss", "rpn", "r-cnn", "lvis", "stress"]


def by_preset(result):
    """Heading of a preset's column."""
    return f"{result['preset']}, N = {result['num_logits'] / 1e6:.3g} M"


def before_and_after(before, after):
    """Medians of both runs, one preset a row."""
    old, new = ({r["preset"]: r["rows"] for r in report["results"]} for report in (before, after))
    rows = []
    for preset in PRESETS:
        columns = [(old, "ours"), (new, "ours"), (new, "ours, places")]
        columns += [(old, "focal"), (new, "focal"), (new, "focal, compiled")]
        cells = [run[preset].get(name) for run, name in columns]
        rows.append([preset, *("" if c is None else f"{median_ms(c):.2f}" for c in cells)])
    header = ["ms", "before", "after", "after, places", "focal before", "focal after"]
    return markdown([*header, "focal, compiled"], rows)


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


def main():
    """Entry point; returns the exit code."""
    before, after = (json.loads((ROOT / path).read_text()) for path in (BEFORE, AFTER))
    rows = [{**r, "rows": {**r["rows"]}} for r in after["results"]]
    old = {r["preset"]: r["rows"]["ours"] for r in before["results"]}
    for result in rows:
        result["rows"]["before"] = old[result["preset"]]
    draw_curves(
        rows,
        "num_logits",
        median_ms,
        "forward and backward, ms",
        ROOT / "docs" / "img" / "ranking_gpu_time_by_logits.png",
        f"{after['machine']['gpu']}, P = 300 to 10,000, {after['commit']}",
    )
    host = "; ".join(f"{what} {value:.0f}" for what, value in after["host"].items())
    blocks = {
        "gpu": [
            before_and_after(before, after),
            times_table(after, PRESETS, by_preset),
            memory_table(after, PRESETS, by_preset),
            errors_table(after, PRESETS, by_preset),
            "In 16-bit dtypes, rs-atss (float16, then bfloat16):",
            times_table({"results": after["low_precisions"]}, PRESETS, lambda r: r["dtype"]),
            where_time_goes(after),
            f"Microseconds of the host, rpn: {host}.",
            goals(after),
            "Before: " + provenance(before, BEFORE),
            "After: " + provenance(after, AFTER),
        ]
    }
    fill(ROOT / "docs" / "benchmarks.md", {n: "\n\n".join(parts) for n, parts in blocks.items()})
    return 0


if __name__ == "__main__":
    sys.exit(main())
