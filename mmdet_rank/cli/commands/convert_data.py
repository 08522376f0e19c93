"""Write annotations in COCO, YOLO, Pascal VOC or LabelMe form, or masks, as COCO files.

The data itself stays as it is.

Example:
    mmdet-rank convert-data data/bccd/BCCD --out data/bccd
"""

from __future__ import annotations

import argparse

from mmdet_rank.cli.arguments import add_split_arguments
from mmdet_rank.cli.errors import refused_input


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments."""
    parser.add_argument(
        "data", metavar="DATA", help="folder of the data set, or its .json or data.yaml"
    )
    parser.add_argument(
        "--out", required=True, metavar="DIR", help="folder for annotations/{train,val}.json"
    )
    add_split_arguments(parser)


def run(args: argparse.Namespace) -> None:
    """Convert."""
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
