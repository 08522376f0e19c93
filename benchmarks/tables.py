"""Writes the figures of JSON reports into the tables of ``docs/benchmarks.md``.

A table stands between ``<!-- begin NAME -->`` and ``<!-- end NAME -->``, so that no figure in the
document is typed by hand.
"""

from __future__ import annotations

import os
import re
from pathlib import Path


def markdown(header, rows):
    """A Markdown table."""
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join("| " + " | ".join(str(cell) for cell in line) + " |" for line in lines)


def provenance(report, path):
    """One sentence: command, machine, versions, commit, date."""
    machine, versions = report["machine"], report["versions"]
    device = machine.get("gpu") or f"{machine['processor']}, {machine['cores']} cores"
    threads = "" if machine.get("gpu") else f", {machine['threads']} thread(s)"
    load = machine["load_average"]
    busy = f", load average {load[0]:.1f} at the start" if load else ""
    return (
        f"`{report['command']}` on {device}{threads}{busy}; Python {versions['python']}, torch "
        f"{versions['torch']}, torchvision {versions['torchvision']}; commit {report['commit']}, "
        f"{report['date'][:10]}; `{path}`."
    )


def times_table(report, presets, heading, with_ratios=True, clock="wall"):
    """Median milliseconds (and quartiles), one row per loss, one column per problem.

    Args:
        report: Of ``ranking_losses.run``.
        presets: Names of the presets that make the columns.
        heading: Function from a result to its column's heading.
        with_ratios: Whether to say how many times ours each is.
        clock: "wall", or "processor" for the time of all threads together, which compares where
            others use the machine too.
    """
    results = [result for result in report["results"] if result["preset"] in presets]
    names = [name for result in results for name in result["rows"]]
    rows = []
    for name in dict.fromkeys(names):
        cells = [_time_cell(result["rows"].get(name), with_ratios, clock) for result in results]
        rows.append([name, *cells])
    unit = "ms" if clock == "wall" else "ms of processor"
    return markdown([f"loss, {unit}", *(heading(result) for result in results)], rows)


def _time_cell(row, with_ratio, clock):
    if row is None:
        return "not run"
    times = row[f"{clock}_s"]
    times_ours = row["times_ours" + ("_processor" if clock == "processor" else "")]
    low, middle, high = (
        _three_digits(1000 * value)
        for value in (
            times["quartiles"][0],
            times["median"],
            times["quartiles"][1],
        )
    )
    ratio = f", {times_ours:.2f} x" if with_ratio and times_ours != 1 else ""
    return f"{middle} ({low} - {high}){ratio}"


def _three_digits(value):
    return f"{value:.0f}" if value >= 100 else f"{value:.3g}"


def memory_table(report, presets, heading):
    """Peak memory beyond the inputs as a multiple of the logits' bytes, likewise."""
    results = [result for result in report["results"] if result["preset"] in presets]
    names = [
        name
        for result in results
        for name, row in result["rows"].items()
        if row.get("peak_per_logits") is not None
    ]
    rows = []
    for name in dict.fromkeys(names):
        values = [result["rows"].get(name, {}).get("peak_per_logits") for result in results]
        rows.append([name, *("" if value is None else f"{value:.1f}" for value in values)])
    return markdown(["peak memory / logits", *(heading(result) for result in results)], rows)


def errors_table(report, presets, heading):
    """Relative error of the gradient, likewise."""
    results = [
        result
        for result in report["results"]
        if result["preset"] in presets and result["rows"]["ours"]["gradient_error"] is not None
    ]
    names = [name for name, row in results[0]["rows"].items() if row["gradient_error"] is not None]
    rows = [
        [name, *(f"{result['rows'][name]['gradient_error']:.1e}" for result in results)]
        for name in names
    ]
    return markdown(["gradient error", *(heading(result) for result in results)], rows)


def training_table(report):
    """Parts of the training steps."""
    rows = []
    for result in report["results"]:
        for name, row in result["rows"].items():
            config = result["stock"] if name == "stock" else result["rank"]
            peak = row["peak_bytes"]
            rows.append(
                [
                    Path(config).stem + (", stock samplers" if "sampled" in name else ""),
                    f"{1000 * row['step_s']['median']:.0f}",
                    f"{row['times_stock']:.2f}",
                    *(f"{1000 * row[p + '_s']['median']:.0f}" for p in _PARTS),
                    f"{1000 * row['classification_s']:.1f}",
                    f"{100 * row['classification_share']:.1f} %",
                    "" if peak is None else f"{peak / 1e6:.0f}",
                ]
            )
    header = ["config", "step ms", "x stock", *_PARTS, "classification loss ms", "its share"]
    return markdown([*header, "peak MB"], rows)


_PARTS = ("forward", "loss", "backward")


def fill(document, blocks):
    """Replace the blocks of a document, by name.

    Raises:
        ValueError: If the document has no such block.
    """
    document = Path(document)
    text = document.read_text()
    for name, content in blocks.items():
        name = re.escape(name)
        pattern = re.compile(rf"(<!-- begin {name} -->\n).*?(<!-- end {name} -->)", re.DOTALL)
        if not pattern.search(text):
            raise ValueError(f"{document} has no block named {name}.")
        text = pattern.sub(lambda match, new=content: f"{match[1]}{new}\n{match[2]}", text)
    temporary = document.with_suffix(".tmp")
    temporary.write_text(text)
    os.replace(temporary, document)
