"""Draw the figures of thesis chapter 4: generated boxes, their regions, and where RoIs lie.

Fig. 4.1 to 4.5 need nothing. With a config and a checkpoint of an R-CNN, the RPN's RoIs on training
images join the histogram of IoUs (4.5), beside the anchors, and are mapped to one box (4.6).

Examples:
    python experiments/generator_figures.py --out docs/img/generators
    python experiments/generator_figures.py --out figures --config CONFIG --checkpoint epoch_2.pth
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from torch import Tensor
from torchvision.ops import box_iou

from mmdet_rank.cli.errors import UserError, refused_input, run_tool
from mmdet_rank.files import written_whole
from mmdet_rank.generators import IOU_WEIGHTS, corner_contour, generate_boxes, generate_rois

#: The box of Fig. 4.6, in a picture of side 1.
REFERENCE = torch.tensor([[0.3, 0.3, 0.6, 0.6]], dtype=torch.float64)
BLUE, RED, GREEN = "#0072B2", "#D55E00", "#009E73"
_BINS = np.linspace(0.5, 1.0, 26)


def main(argv: list[str] | None = None) -> int:
    """Run the tool; return the exit code."""
    return run_tool(lambda: draw(make_parser().parse_args(argv)))


def make_parser() -> argparse.ArgumentParser:
    """Make the parser of the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--out", type=Path, required=True, help="folder for the pictures")
    parser.add_argument("--config", help="of an R-CNN")
    parser.add_argument("--checkpoint", help="of that R-CNN")
    parser.add_argument("--max-images", type=int, default=200, help="training images to look at")
    parser.add_argument("--seed", type=int, default=0)
    return parser


def draw(args: argparse.Namespace) -> None:
    """Write the pictures.

    Raises:
        UserError: Only one of config and checkpoint is given, or they cannot be used.
    """
    if bool(args.config) != bool(args.checkpoint):
        raise UserError("Expected --config and --checkpoint together, but got one of them.")
    for file in (args.config, args.checkpoint):
        if file and not Path(file).is_file():
            raise UserError(f"Expected a config and a checkpoint, but {file} does not exist.")
    generator = torch.Generator().manual_seed(args.seed)
    figures = {
        "generated_box": one_box(generator),
        "regions": regions(generator),
        "generated_boxes": many_boxes(generator),
        "sampling": sampling(generator),
    }
    sources = generated_ious(generator)
    if args.config:
        from rpn_rois import rpn_rois

        with refused_input():
            found = rpn_rois(args.config, args.checkpoint, args.max_images, args.seed)
        sources |= {"anchors": found.anchor_ious, "RPN": found.ious}
        figures["places_of_rois"] = places(found.mapped)
    figures["ious"] = iou_histogram(sources)
    for name, figure in figures.items():
        path = args.out / f"{name}.png"
        with written_whole(path) as temporary:
            figure.savefig(temporary, dpi=110)
        print(f"wrote {path}")


def one_box(generator: torch.Generator) -> Figure:
    """A reference and one generated box with its IoU (Fig. 4.1a)."""
    figure, axes = _axes("a generated box, IoU of at least 0.5")
    box = generate_boxes(REFERENCE, 0.5, 1, generator)[0]
    _rectangle(axes, REFERENCE[0], BLUE, 2)
    _rectangle(axes, box[0], GREEN, 2)
    axes.set_title(f"IoU {box_iou(REFERENCE, box).item():.4f}", fontsize=10)
    return figure


def regions(generator: torch.Generator) -> Figure:
    """Regions of both corners for IoUs of 0.5 to 0.9 (Fig. 4.2 and 4.4a)."""
    figure, axes = _axes("regions of the first corner drawn, IoU 0.5 to 0.9")
    _rectangle(axes, REFERENCE[0], BLUE, 2)
    x1, y1, x2, y2 = REFERENCE[0].tolist()
    for iou in (0.5, 0.6, 0.7, 0.8, 0.9):
        x, y = (corner_contour(iou) * (x2 - x1)).T.tolist()
        axes.plot(np.add(x1, x), np.add(y1, y), color=RED, lw=1)
        axes.plot(np.subtract(x2, x), np.subtract(y2, y), color=RED, lw=1)
    return figure


def many_boxes(generator: torch.Generator) -> Figure:
    """1,000 boxes of an IoU of at least 0.6 (Fig. 4.3)."""
    figure, axes = _axes("1,000 boxes, IoU of at least 0.6")
    for box in generate_boxes(REFERENCE, 0.6, 1000, generator)[0]:
        _rectangle(axes, box, RED, 0.2)
    _rectangle(axes, REFERENCE[0], BLUE, 2)
    return figure


def sampling(generator: torch.Generator) -> Figure:
    """Proposals for the top left corner at IoU 0.75, kept and dropped (Fig. 4.4b)."""
    figure, axes = _axes("proposals for the top left corner, IoU 0.75")
    iou, side = 0.75, 0.3
    low, high = 1 - 1 / iou, 1 - iou
    offsets = low + (high - low) * torch.rand(400, 2, generator=generator, dtype=torch.float64)
    corners = 0.3 + offsets * side
    boxes = torch.cat([corners, torch.full_like(corners, 0.6)], dim=1)
    kept = box_iou(boxes, REFERENCE).squeeze(1) >= iou
    for mask, color in ((kept, GREEN), (~kept, "0.7")):
        axes.plot(*corners[mask].T.tolist(), ".", color=color, ms=4)
    x, y = (0.3 + corner_contour(iou) * side).T.tolist()
    axes.plot(x, y, color=RED)
    _rectangle(axes, REFERENCE[0], BLUE, 2)
    axes.set_xlim(0.15, 0.45)
    axes.set_ylim(0.45, 0.15)
    return figure


def generated_ious(generator: torch.Generator, number: int = 20_000) -> dict[str, Tensor]:
    """IoUs of generated RoIs, by the distribution that was asked for."""
    ious = {}
    for name in IOU_WEIGHTS:
        made = generate_rois(
            REFERENCE,
            torch.zeros(1, dtype=torch.int64),
            number,
            weights=name,
            within_bins=name != "base",
            generator=generator,
        )
        ious[f"generated, {name.replace('_', ' ')}"] = box_iou(REFERENCE, made.rois)[0]
    return ious


def iou_histogram(sources: Mapping[str, Tensor]) -> Figure:
    """IoUs of positives by where they come from (Fig. 4.5)."""
    figure = Figure(figsize=(7, 4.2), layout="constrained")
    axes = figure.subplots()
    for name, ious in sources.items():
        counts, edges = np.histogram(ious.numpy(), _BINS)
        style = {"lw": 2} if not name.startswith("generated") else {"lw": 1.2, "alpha": 0.9}
        axes.stairs(counts / max(counts.sum(), 1), edges, label=name, **style)
    axes.set_xlabel("IoU with the object")
    axes.set_ylabel("share of the positives")
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False)
    return figure


def places(mapped: Tensor) -> Figure:
    """Top left corners of RoIs, their objects mapped to one box (Fig. 4.6)."""
    figure, axes = _axes(f"top left corners of {len(mapped):,} RoIs of the RPN")
    axes.plot(*mapped[:, :2].T.tolist(), ".", color=GREEN, ms=2.5, alpha=0.5)
    for iou in (0.5, 0.6, 0.7, 0.8, 0.9):
        x, y = (0.3 + corner_contour(iou) * 0.3).T.tolist()
        axes.plot(x, y, color=RED, lw=1)
    _rectangle(axes, REFERENCE[0], BLUE, 2)
    inside = (mapped[:, :2] > 0.3).all(1).double().mean()
    outside = (mapped[:, :2] < 0.3).all(1).double().mean()
    axes.set_title(f"{inside:.1%} inside the object, {outside:.1%} outside", fontsize=10)
    axes.set_xlim(0, 0.65)
    axes.set_ylim(0.65, 0)
    return figure


def _axes(title: str) -> tuple[Figure, object]:
    figure = Figure(figsize=(4.6, 4.8), layout="constrained")
    axes = figure.subplots()
    axes.set_xlim(0, 0.9)
    axes.set_ylim(0.9, 0)
    axes.set_aspect("equal")
    figure.suptitle(title, fontsize=11)
    return figure, axes


def _rectangle(axes: object, box: Tensor, color: str, width: float) -> None:
    x1, y1, x2, y2 = box.tolist()
    axes.add_patch(
        Rectangle((x1, y1), x2 - x1, y2 - y1, fill=False, edgecolor=color, linewidth=width)
    )


if __name__ == "__main__":
    sys.exit(main())
