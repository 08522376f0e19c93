"""Make the digits data set: real handwriting in real photographs, in COCO's format.

Example:
    python tools/make_digits.py --out data/digits
"""

from __future__ import annotations

import argparse
import sys
import time

from mmdet_rank.datasets.digits import DigitsOptions, DigitsReport, build_digits


class _Parser(argparse.ArgumentParser):
    """An argument parser whose errors are one line and exit code 1."""

    def error(self, message: str) -> None:
        self.exit(1, f"error: {message} (see {self.prog} --help)\n")


def parse_args(argv: list[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    default = DigitsOptions()
    parser = _Parser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", required=True, metavar="DIR", help="folder of the data set")
    for name, kind, meaning in (
        ("train", int, "number of training images"),
        ("val", int, "number of validation images"),
        ("size", int, "height and width of the images in pixels"),
        ("seed", int, "seed of everything that is drawn"),
        ("imbalance", float, "how many times commoner the commonest class is than the rarest"),
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
    return parser.parse_args(argv)


def main(argv: list[str] | None = None) -> int:
    """Make the data set, or say that it is there; returns the exit code."""
    args = parse_args(argv)
    started = time.perf_counter()
    try:
        options = DigitsOptions(
            train=args.train,
            val=args.val,
            size=args.size,
            seed=args.seed,
            imbalance=args.imbalance,
        )
        report = build_digits(args.out, options, overwrite=args.overwrite)
    except (ValueError, TypeError, OSError, ImportError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    print(_summary(report, time.perf_counter() - started))
    return 0


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


if __name__ == "__main__":
    sys.exit(main())
