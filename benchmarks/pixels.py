"""Speed and memory of losses on pixels: ranking losses beside BCE, Dice and Lovász.

Forward and backward on the logits of a batch of masks, in turns, with few and with many foreground
pixels: their number is what a ranking loss could suffer from.

Example:
    python benchmarks/pixels.py --out benchmarks/results/pixels_cpu.json
    python benchmarks/pixels.py --device cuda --out pixels_gpu.json
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys

import mmdet_rank.register  # noqa: F401  isort: skip
import torch
from measure import (
    environment,
    first_runs,
    median_ratio,
    peak_memory,
    summarize,
    time_in_turns,
    write_json,
)
from mmengine.registry import init_default_scope
from mmseg.registry import MODELS

LOSSES = {
    "BCE": dict(type="FocalMarginLoss", margin=0.0, gamma=0.0),
    "Dice": dict(type="BinaryDiceLoss"),
    "BCE + Dice": dict(type="BCEDiceLoss"),
    "hybrid focal margin": dict(type="HybridFocalMarginLoss"),
    "unified focal": dict(type="UnifiedFocalLoss"),
    "Lovász": dict(type="LovaszLoss", loss_type="binary", reduction="none"),
    "AP": dict(type="APLoss"),
    "aLRP": dict(type="aLRPLoss"),
    "aLRP, overlap": dict(type="aLRPLoss", labels="overlap"),
    "RS": dict(type="RankSortLoss"),
    "RS, depth": dict(type="RankSortLoss", labels="depth"),
    "RS, per image": dict(type="RankSortLoss", per_image=True),
    "RS, 10,000 positives": dict(type="RankSortLoss", max_positives=10_000),
}
#: Share of foreground pixels.
SHARES = (0.005, 0.05)


def draw(
    batch: int, size: int, share: float, device: torch.device
) -> tuple[torch.Tensor, torch.Tensor]:
    """Logits of a model half trained, and masks of vertical bands."""
    generator = torch.Generator().manual_seed(0)
    target = torch.zeros(batch, size, size, dtype=torch.long)
    width = max(round(share * size), 1)
    for image in range(batch):
        left = (37 * image) % (size - width)
        target[image, :, left : left + width] = 1
    logits = torch.randn(batch, 1, size, size, generator=generator) * 2 - 4 + 6 * target[:, None]
    return logits.to(device), target.to(device)


def make_step(name: str, logits: torch.Tensor, target: torch.Tensor):
    """Forward and backward as a function without arguments."""
    loss = MODELS.build(LOSSES[name])
    leaf = logits.detach().requires_grad_()

    def step():
        value = loss(leaf, target, ignore_index=255)
        return torch.autograd.grad(value, leaf)[0]

    return step


def measure_memory(name: str, args: argparse.Namespace, share: float) -> int | None:
    """Peak memory of one loss; on a CPU in a fresh process of its own."""
    if args.device != "cpu":
        device = torch.device(args.device)
        return peak_memory(make_step(name, *draw(args.batch, args.size, share, device)), device)
    command = [sys.executable, __file__, "--memory-of", name, "--shares", str(share)]
    command += ["--batch", str(args.batch), "--size", str(args.size)]
    command += ["--threads", str(torch.get_num_threads())]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    return json.loads(done.stdout.splitlines()[-1])


def run_share(args: argparse.Namespace, share: float) -> dict:
    """All figures of one share of foreground."""
    device = torch.device(args.device)
    logits, target = draw(args.batch, args.size, share, device)
    steps = {name: make_step(name, logits, target) for name in args.losses}
    failures = first_runs(steps)
    steps = {name: step for name, step in steps.items() if name not in failures}
    times = time_in_turns(steps, device, args.seconds, args.rounds)
    rows = {
        name: {
            "wall_s": summarize(own["wall"]),
            "processor_s": summarize(own["processor"]),
            "times_bce": median_ratio(own["processor"], times["BCE"]["processor"])
            if "BCE" in times and device.type == "cpu"
            else None,
        }
        for name, own in times.items()
    }
    if args.memory:
        for name, row in rows.items():
            row["peak_bytes"] = measure_memory(name, args, share)
    return {
        "share": share,
        "num_positives": int(target.sum()),
        "num_logits": target.numel(),
        "logits_bytes": logits.numel() * logits.element_size(),
        "rows": rows,
        "failures": failures,
    }


def print_table(result: dict) -> None:
    """One share for the eye."""
    print(f"\n{result['num_positives']:,} foreground pixels of {result['num_logits']:,}")
    print(f"{'':22}{'median ms':>10}{'processor ms':>14}{'peak MB':>9}{'/logits':>9}")
    for name, row in result["rows"].items():
        peak = row.get("peak_bytes")
        print(
            f"{name:22}{1000 * row['wall_s']['median']:10.1f}"
            f"{1000 * row['processor_s']['median']:14.1f}"
            f"{'' if peak is None else f'{peak / 1e6:.0f}':>9}"
            f"{'' if peak is None else format(peak / result['logits_bytes'], '.1f'):>9}"
        )
    for name, error in result["failures"].items():
        print(f"{name} failed: {error}")


def main(argv: list[str] | None = None) -> int:
    """Entry point; returns the exit code."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--out", help="JSON file to write")
    parser.add_argument("--device", default="cpu", help="cpu or cuda")
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--size", type=int, default=512)
    parser.add_argument("--shares", nargs="+", type=float, default=SHARES)
    parser.add_argument("--losses", nargs="+", default=[*LOSSES], choices=LOSSES, metavar="LOSS")
    parser.add_argument("--seconds", type=float, default=3.0, help="time budget of each loss")
    parser.add_argument("--rounds", type=int, default=50, help="runs of each loss at most")
    parser.add_argument("--threads", type=int, help="threads that torch may use on a CPU")
    parser.add_argument("--no-memory", dest="memory", action="store_false")
    parser.add_argument("--memory-of", help=argparse.SUPPRESS)
    args = parser.parse_args(argv)
    init_default_scope("mmseg")
    if args.threads:
        torch.set_num_threads(args.threads)
    if args.memory_of:
        device = torch.device("cpu")
        make_step(args.memory_of, *draw(1, 64, 0.05, device))()
        step = make_step(args.memory_of, *draw(args.batch, args.size, args.shares[0], device))
        print(json.dumps(peak_memory(step, device)))
        return 0
    report = {**environment(torch.device(args.device)), "results": []}
    for share in args.shares:
        report["results"].append(run_share(args, share))
        print_table(report["results"][-1])
    if args.out:
        write_json(args.out, report)
        print(f"\nwritten to {args.out}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
