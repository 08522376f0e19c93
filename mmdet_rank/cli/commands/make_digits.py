"""Make the digits data set: real handwriting in real photographs, in COCO's format.

Example:
    mmdet-rank make-digits --out data/digits
"""

from __future__ import annotations

import argparse
import time
from typing import TYPE_CHECKING

from mmdet_rank.cli.errors import refused_input
from mmdet_rank.datasets.digits.options import DigitsOptions

if TYPE_CHECKING:
    from mmdet_rank.datasets.digits.build import DigitsReport


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments."""
    default = DigitsOptions()
    parser.add_argument("--out", required=True, metavar="DIR", help="folder of the data set")
    for name, kind, meaning in (
        ("train", int, "number of training images"),
        ("val", int, "number of validation images"),
        ("size", int, "height and width of the images in pixels"),
        ("seed", int, "seed of everything that is drawn"),
        ("imbalance", float, "how many times commoner the commonest class is than the rarest"),
        (
            "frames",
            int,
            "of more than 1, every image becomes a clip of so many, with moving digits",
        ),
    ):
        parser.add_argument(
            f"--{name}",
            type=kind,
            default=getattr(default, name),
            help=f"{meaning} (default: %(default)s)",
        )
    parser.add_argument(
        "--overwrite", action="store_true", help="replace a digits data set made with other options"
    )


def run(args: argparse.Namespace) -> None:
    """Make the data set, or say that it is there."""
    from mmdet_rank.datasets.digits.build import build_digits

    started = time.perf_counter()
    with refused_input():
        options = DigitsOptions(
            train=args.train,
            val=args.val,
            size=args.size,
            seed=args.seed,
            imbalance=args.imbalance,
            frames=args.frames,
        )
        report = build_digits(args.out, options, overwrite=args.overwrite)
    print(_summary(report, time.perf_counter() - started))


def _summary(report: DigitsReport, seconds: float) -> str:
    if report.made:
        lines = [f"Digits data set made in {report.folder} ({seconds:.0f} s):"]
    else:
        lines = [f"Digits data set found in {report.folder}, nothing to do:"]
    for split, counts in report.counts.items():
        per_class = ", ".join(f"{name} {count}" for name, count in counts["per_class"].items())
        lines.append(
            f"  {split}: {counts['images']} images, {counts['digits']} digits ({per_class})"
        )
    return "\n".join(lines)
