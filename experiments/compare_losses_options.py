"""The command line of ``compare_losses.py``, whose help shall not wait for torch."""

from __future__ import annotations

import argparse
from pathlib import Path

from crack_losses import PUBLISHED

#: Names of ``AUGMENTATIONS``.
AUGMENTATION_NAMES = ("paper", "flips", "none")


def make_parser() -> argparse.ArgumentParser:
    """Make the parser of the command line."""
    parser = argparse.ArgumentParser(
        description="All losses on a folder of images and masks: tables, plot and pictures."
    )
    parser.add_argument("data", nargs="?", type=Path, help="folder of the images and masks")
    parser.add_argument("--out", type=Path, required=True, help="folder of the results")
    parser.add_argument("--images", default="images", help="folder of the images, under DATA")
    parser.add_argument("--masks", default="masks", help="folder of the masks, under DATA")
    parser.add_argument("--img-suffix", help="end of the images' names; default: of any format")
    parser.add_argument("--mask-suffix", help="end of the masks' names; default: of any format")
    parser.add_argument("--threshold", type=float, default=0.5, help="share of white")
    parser.add_argument("--mask-value", type=int, help="the one value that is foreground")
    parser.add_argument("--mat-field", default="groundTruth.Segmentation", help="of .mat masks")
    parser.add_argument("--losses", nargs="+", help="default: all, see crack_losses.py")
    parser.add_argument("--margins", nargs="+", type=float, default=[0.5, 1.0, 1.5])
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2])
    parser.add_argument("--iters", type=int, default=1000)
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--size", type=int, default=96, help="width and height of the images")
    parser.add_argument(
        "--crop",
        type=int,
        help="first cut this square out of the middle, as the paper does (384 of DeepCrack)",
    )
    parser.add_argument("--channels", type=int, default=16, help="of the U-Net's finest level")
    parser.add_argument("--lr", type=float, default=0.005)
    parser.add_argument("--augmentation", choices=AUGMENTATION_NAMES, default="paper")
    parser.add_argument("--workers", type=int, default=2, help="processes that load images")
    parser.add_argument("--scaled", type=Path, help="folder of the scaled images; default: OUT")
    parser.add_argument("--published", choices=PUBLISHED, help="whose figures stand beside ours")
    parser.add_argument(
        "--margins-of", nargs="+", type=Path, help="plot the margins of these results; no training"
    )
    return parser
