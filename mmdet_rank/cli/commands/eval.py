r"""Evaluate detection results by LRP Error and AP, from files alone.

Examples:
    mmdet-rank eval --annotations instances_val2017.json --results dt.bbox.json \
        --iou-type bbox --out report.json --plots plots/
    mmdet-rank eval --annotations gt.json --results dt.json --confusion confusion.png
    mmdet-rank eval --dataset panoptic --annotations panoptic_val2017.json \
        --results pred.json --out report.json
    mmdet-rank eval --compare faster-rcnn.json rs-rcnn.json
"""

from __future__ import annotations

import argparse
from pathlib import Path

from mmdet_rank.annotations import IOU_TYPES
from mmdet_rank.evaluation.lrp import EQUAL_IMPORTANCE


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments."""
    parser.add_argument("--annotations", type=Path, metavar="GT.json", help="ground truth")
    parser.add_argument(
        "--results",
        type=Path,
        nargs="+",
        metavar="DT.json",
        help="results of a detector; of several, they are put side by side, --out is a folder, and "
        "--plots has them all in each picture",
    )
    parser.add_argument(
        "--dataset",
        choices=("coco", "lvis", "panoptic"),
        default="coco",
        help="format and rules of the data set (default: %(default)s)",
    )
    parser.add_argument(
        "--iou-type",
        choices=IOU_TYPES,
        default="bbox",
        help="what is compared: boxes, masks or keypoints (default: %(default)s)",
    )
    parser.add_argument(
        "--tau",
        type=float,
        nargs="+",
        default=[0.5],
        help="localisation quality from which on a match counts (default: 0.5); with several, the "
        "first is that of categories and thresholds, and the error is given over all",
    )
    parser.add_argument(
        "--importance",
        type=float,
        nargs=3,
        default=EQUAL_IMPORTANCE,
        metavar=("TP", "FP", "FN"),
        help="weights of localisation errors, false positives and false negatives in LRP Error "
        "(default: 1 1 1); 1 1 2 counts every miss twice, and thresholds follow",
    )
    parser.add_argument(
        "--max-dets",
        type=int,
        metavar="N",
        help="how many detections count, in all figures, those of the highest scores: per image "
        "and category (default: 100, keypoints 20), or per image of LVIS (default: 300)",
    )
    parser.add_argument(
        "--quality",
        choices=("iou", "giou"),
        default="iou",
        help="localisation quality of boxes in LRP Error; giou is GIoU / 2 + 0.5, and --tau 0.75 a "
        "GIoU of 0.5 (default: %(default)s)",
    )
    parser.add_argument(
        "--bounds",
        action="store_true",
        help="also AP with localisation in the worst and the best order of the scores: what a "
        "better correlation of the two could give",
    )
    parser.add_argument(
        "--categories",
        nargs="+",
        default=[],
        metavar="NAME",
        help="that get curves of their own in --plots, of several results",
    )
    parser.add_argument("--out", type=Path, metavar="REPORT.json", help="where the report goes")
    parser.add_argument(
        "--thresholds", type=Path, metavar="FILE", help="where LRP-optimal thresholds go"
    )
    parser.add_argument("--plots", type=Path, metavar="DIR", help="folder for pictures")
    parser.add_argument(
        "--confusion",
        type=Path,
        metavar="FILE.png",
        help="picture of the confusion matrix at IoU 0.5 and the confidence of the best mean F1; "
        "its counts go into --out",
    )
    parser.add_argument(
        "--gt-folder", type=Path, help="PNG files of GT.json (default: its name without .json)"
    )
    parser.add_argument(
        "--dt-folder", type=Path, help="PNG files of DT.json (default: its name without .json)"
    )
    parser.add_argument(
        "--compare",
        type=Path,
        nargs="+",
        metavar="REPORT.json",
        help="put reports that were written before side by side, evaluate nothing",
    )
    parser.add_argument(
        "--backend",
        choices=("auto", "faster", "pycocotools"),
        default="auto",
        help="what matches on COCO data; auto: faster-coco-eval where it is installed",
    )
    parser.add_argument("--quiet", action="store_true", help="no progress bars, no table by class")


def run(args: argparse.Namespace) -> None:
    """Evaluate."""
    from mmdet_rank.cli.eval import evaluate_files

    evaluate_files(args)
