"""Draws what ``ranking_losses.py`` measured: time against N, time against P, memory against N.

Example:
    python benchmarks/plot.py benchmarks/results/ranking_cpu.json --out docs/img/ranking_cpu
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

import matplotlib.pyplot as plt

#: Curves in the order of the legend: row, label, colour.
CURVES = [
    ("ours", "RS Loss, this package", "#1b6ca8"),
    ("ours, places", "RS Loss, positives by places", "#6baed6"),
    ("loop", "RS Loss, loop over positives", "#d95f02"),
    ("dense", "RS Loss, dense P x N", "#7a5195"),
    ("bucketed", "RS Loss, bucketed (approximate)", "#e7298a"),
    ("focal", "sigmoid focal loss", "#4d9221"),
    ("focal, compiled", "sigmoid focal loss, compiled", "#a1d76a"),
    ("sort", "one torch.sort", "#777777"),
]
SIZES = {"num_logits": "logits N", "num_positives": "positives P"}


def draw_curves(results, size, figure, label, path, title):
    """One log-log plot.

    Args:
        results: Results of ``ranking_losses.run`` that differ in one size.
        size: ``num_logits`` or ``num_positives``, the horizontal axis.
        figure: Function from a row to the plotted number, or to None.
        label: Of the vertical axis.
        path: Where to write.
        title: Above the plot.
    """
    results = sorted(results, key=lambda result: result[size])
    fig, axes = plt.subplots(figsize=(6.4, 4.2), layout="constrained")
    for name, text, colour in CURVES:
        points = [
            (result[size], figure(result["rows"][name]))
            for result in results
            if name in result["rows"]
        ]
        points = [point for point in points if point[1] is not None]
        if points:
            style = {"linewidth": 2.4 if name == "ours" else 1.4, "color": colour}
            axes.loglog(*zip(*points, strict=True), marker="o", label=text, **style)
    axes.set(xlabel=SIZES[size], ylabel=label, title=title)
    axes.grid(alpha=0.3, which="both")
    axes.legend(fontsize=8)
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    fig.savefig(path, dpi=110)
    plt.close(fig)


def median_ms(row):
    """Median time of forward and backward in milliseconds."""
    return 1000 * row["wall_s"]["median"]


def processor_ms(row):
    """The same in processor time, of all threads together."""
    return 1000 * row["processor_s"]["median"]


def peak_mb(row):
    """Peak memory beyond the inputs in megabytes, or None."""
    peak = row.get("peak_bytes")
    return peak / 1e6 if peak else None


def draw_all(report, prefix):
    """All plots that a report has the figures for; returns their paths."""
    results = report["results"]
    by_n = [result for result in results if result["preset"].startswith("n-")]
    by_p = [result for result in results if result["preset"].startswith("p-")]
    machine = report["machine"].get("gpu") or report["machine"]["processor"]
    # Others use a processor too, and a GPU only by turns.
    on_gpu = "gpu" in report["machine"]
    time = median_ms if on_gpu else processor_ms
    label_of_time = "forward and backward, ms" + ("" if on_gpu else " of processor")
    paths = []
    for group, size, figure, label, name in (
        (by_n, "num_logits", time, label_of_time, "time_by_logits"),
        (by_p, "num_positives", time, label_of_time, "time_by_positives"),
        (by_n, "num_logits", peak_mb, "peak memory beyond the inputs, MB", "memory_by_logits"),
    ):
        if not any(figure(row) for result in group for row in result["rows"].values()):
            continue
        other = "num_positives" if size == "num_logits" else "num_logits"
        symbol = SIZES[other][-1]
        title = f"{symbol} = {group[0][other]:,}; {machine}, {report['commit']}"
        paths.append(f"{prefix}_{name}.png")
        draw_curves(group, size, figure, label, paths[-1], title)
    return paths


def main(argv=None):
    """Entry point; returns the exit code."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("report", help="JSON file of ranking_losses.py or gpu_report.py")
    parser.add_argument("--out", required=True, help="beginning of the pictures' paths")
    args = parser.parse_args(argv)
    try:
        report = json.loads(Path(args.report).read_text())
    except (OSError, ValueError) as error:
        print(f"Cannot read {args.report}: {error}", file=sys.stderr)
        return 1
    for path in draw_all(report, args.out):
        print(path)
    return 0


if __name__ == "__main__":
    sys.exit(main())
