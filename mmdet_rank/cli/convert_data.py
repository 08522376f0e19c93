"""Any data set as COCO files: `mmdet-rank convert-data DATA --out DIR`."""

from __future__ import annotations

import argparse

from mmdet_rank.cli.errors import refused_input, run_tool


def main(argv: list[str] | None = None) -> int:
    """Run the tool.

    Args:
        argv: Arguments, those of the command line by default.

    Returns:
        The exit code.
    """
    return run_tool(lambda: convert(argv))


def convert(argv: list[str] | None = None) -> None:
    """Convert as `main` does.

    Raises:
        UserError: The data is missing, is not recognised, or cannot be used.
    """
    args = make_parser().parse_args(argv)
    from mmdet_rank.annotations.conversion import convert_data

    with refused_input():
        conversion = convert_data(
            args.data,
            args.out,
            seed=args.seed,
            val_share=args.val_share,
            test_share=args.test_share,
        )
    print(conversion.describe())
    print(f"Wrote {', '.join(map(str, conversion.files.values()))}")


def add_split_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of a split that has to be drawn."""
    parser.add_argument(
        "--val-share",
        type=float,
        default=0.2,
        metavar="SHARE",
        help="of the pictures, for validation, where the data has no such split (default: 0.2)",
    )
    parser.add_argument(
        "--test-share",
        type=float,
        default=0.0,
        metavar="SHARE",
        help="of the pictures, for a test set, where the data has none (default: no test set)",
    )
    parser.add_argument(
        "--seed", type=int, default=0, help="of everything that is drawn (default: 0)"
    )


def make_parser() -> argparse.ArgumentParser:
    """Make the parser of the command line."""
    parser = argparse.ArgumentParser(
        prog="mmdet-rank convert-data",
        description="Write the annotations of a data set in COCO, Pascal VOC or YOLO form, or of "
        "pictures with masks, as COCO files; the data itself stays as it is.",
        epilog="Example: mmdet-rank convert-data data/bccd/BCCD --out data/bccd",
    )
    parser.add_argument("data", help="folder of the data set, or its .json or data.yaml")
    parser.add_argument("--out", required=True, help="folder for annotations/{train,val}.json")
    add_split_arguments(parser)
    return parser
