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


def losses_table(report, presets):
    """Time, ratio, memory and error of all losses on some presets."""
    rows = []
    for result in report["results"]:
        if result["preset"] not in presets:
            continue
        for name, row in result["rows"].items():
            wall, peak = row["wall_s"], row.get("peak_per_logits")
            low, high = wall["quartiles"]
            error = row["gradient_error"]
            rows.append(
                [
                    f"{result['preset']}, {result['logits']}",
                    f"{result['num_positives']:,}",
                    f"{result['num_logits']:,}",
                    name,
                    f"{1000 * wall['median']:.2f}",
                    f"{1000 * low:.2f} - {1000 * high:.2f}",
                    f"{row['times_ours']:.2f}",
                    "" if peak is None else f"{peak:.1f}",
                    "" if error is None else f"{error:.1e}",
                ]
            )
    header = ["preset, logits", "P", "N", "loss", "median ms", "quartiles", "x ours"]
    return markdown([*header, "peak / logits", "gradient error"], rows)


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
        pattern = re.compile(rf"(<!-- begin {name} -->\n).*?(<!-- end {name} -->)", re.DOTALL)
        if not pattern.search(text):
            raise ValueError(f"{document} has no block named {name}.")
        text = pattern.sub(lambda match, new=content: f"{match[1]}{new}\n{match[2]}", text)
    temporary = document.with_suffix(".tmp")
    temporary.write_text(text)
    os.replace(temporary, document)
