"""Draw a detector's detections on pictures.

Example:
    mmdet-rank demo-image pictures/ CONFIG CHECKPOINT --thresholds report.bbox.lrp.json
"""

from __future__ import annotations

import argparse

from mmdet_rank.cli.arguments import add_config_options


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments."""
    parser.add_argument("pictures", metavar="PICTURES", help="a picture or a folder of pictures")
    parser.add_argument("config", metavar="CONFIG", help="config file, or mmdet_rank::FOLDER/FILE")
    parser.add_argument("checkpoint", metavar="CHECKPOINT", help="checkpoint file")
    add_config_options(parser)
    parser.add_argument(
        "--thresholds",
        metavar="FILE",
        help="draw detections that reach the score threshold of their category: {name: score}, or "
        "an LRP report",
    )
    parser.add_argument(
        "--score-thr",
        type=float,
        default=0.3,
        help="draw detections of this score and above, where --thresholds has none for their "
        "category (default: %(default)s)",
    )
    parser.add_argument("--out-dir", default="outputs", help="where pictures and detections go")
    parser.add_argument("--device", help="such as cpu or cuda:0; the best there is by default")


def run(args: argparse.Namespace) -> None:
    """Draw."""
    from mmdet_rank.cli.demo_image import draw

    draw(args)
