"""RS Loss of an earlier commit beside that of the working tree, on a CPU, in one run.

Forward and backward in turns, in processor time, so that other work on the machine does not
count. The earlier ``mmdet_rank/ops`` is read out of git and imported under another name. The table
in ``docs/benchmarks.md`` is written too.

Example:
    python benchmarks/before_after.py --before da6bd98 --out before_after.json
"""

from __future__ import annotations

import argparse
import importlib
import io
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path
from statistics import median

import ranking_losses
import torch
from measure import environment, time_in_turns, write_json
from presets import Preset, draw
from tables import fill, markdown, provenance

from mmdet_rank.ops.loops import compiled

ROOT = Path(__file__).resolve().parents[1]
PRESETS = [
    Preset("few", 200, 20_000, "trained", "late, few"),
    Preset("cpu", 1000, 200_000, "mixed", "mid"),
    Preset("n-1m", 2000, 1_000_000, "mixed", "mid"),
    Preset("p-10000", 10_000, 2_000_000, "mixed", "mid, many positives"),
    Preset("rs-atss", 1200, 21_400_000, "trained", "late, RS-ATSS"),
]


def import_earlier(commit, folder):
    """``rank_sort_loss`` of a commit."""
    archive = subprocess.run(
        ["git", "-C", str(ROOT), "archive", commit, "mmdet_rank/ops"],
        capture_output=True,
        check=True,
    ).stdout
    with tarfile.open(fileobj=io.BytesIO(archive)) as files:
        files.extractall(folder, filter="data")
    (Path(folder) / "mmdet_rank").rename(Path(folder) / "mmdet_rank_before")
    sys.path.insert(0, str(folder))
    return importlib.import_module("mmdet_rank_before.ops").rank_sort_loss


def measure(preset, earlier, seconds):
    """Median processor time of each, in milliseconds, and the greatest difference of gradients."""
    device = torch.device("cpu")
    logits, targets = draw(preset, device)
    leaf = logits.detach().requires_grad_()
    steps = {
        "before": lambda: torch.autograd.grad(sum(earlier(leaf, targets)), leaf)[0],
        "after": ranking_losses.make_step("ours", logits, targets),
        "after, places": ranking_losses.make_step("ours, places", logits, targets),
        "bucketed, filtered": ranking_losses.make_step("bucketed, filtered", logits, targets),
        "focal": ranking_losses.make_step("focal", logits, targets),
    }
    if preset.num_logits > 2_000_000 or preset.num_positives > 2000:
        del steps["bucketed, filtered"]
    if preset.name == "cpu":
        steps["loop"] = ranking_losses.make_step("loop", logits, targets)
    first, second = steps["before"](), steps["after"]()
    difference = (torch.linalg.vector_norm(first - second) / torch.linalg.vector_norm(first)).item()
    for step in steps.values():
        step()
    times = time_in_turns(steps, device, seconds)
    return {
        "preset": preset.name,
        "what": preset.what,
        "num_positives": preset.num_positives,
        "num_logits": preset.num_logits,
        "processor_ms": {name: 1000 * median(t["processor"]) for name, t in times.items()},
        "runs": {name: len(t["processor"]) for name, t in times.items()},
        "gradient_difference": difference,
    }


def table(report):
    """One preset a row."""
    rows = []
    for result in report["results"]:
        ms = result["processor_ms"]
        others = [ms.get(name) for name in ("bucketed, filtered", "loop", "focal")]
        cells = ["" if value is None else f"{value:.2f}" for value in others]
        rows.append(
            [
                f"{result['num_positives']:,} / {result['num_logits']:,}, {result['what']}",
                *(f"{ms[name]:.2f}" for name in ("before", "after", "after, places")),
                f"{ms['before'] / ms['after']:.2f}",
                f"{ms['after'] / ms['focal']:.2f}",
                *cells,
            ]
        )
    header = ["P / N, ms of processor", "before", "after", "after, places", "times faster"]
    return markdown([*header, "in focal losses", "bucketed, filtered", "loop", "focal"], rows)


def main(argv=None):
    """Entry point; returns the exit code."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--before", required=True, help="the earlier commit")
    parser.add_argument("--out", required=True, help="JSON file to write")
    parser.add_argument("--seconds", type=float, default=3.0, help="time budget of each")
    args = parser.parse_args(argv)
    torch.set_num_threads(1)
    report = {**environment(torch.device("cpu")), "numba": compiled() is not None, "results": []}
    with tempfile.TemporaryDirectory() as folder:
        earlier = import_earlier(args.before, folder)
        for preset in PRESETS:
            report["results"].append(measure(preset, earlier, args.seconds))
            print(report["results"][-1], flush=True)
    write_json(args.out, report)
    fill(
        ROOT / "docs" / "benchmarks.md",
        {"before and after": f"{table(report)}\n\n{provenance(report, args.out)}"},
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
