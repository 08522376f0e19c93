"""The course of a training, from the scalars that MMEngine writes beside its log."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from mmdet_rank.imbalance.paces import balance_of, unbalanced

__all__ = ["draw_training_curve", "read_scalars", "still_learning"]

# Parts of a ranking loss, which are logged but not trained by themselves.
_PARTS = ("ranking", "sorting")
# Losses, of a cascade by stage; those of auxiliary outputs are too many to be told apart.
_DRAWN = re.compile(r"(s\d+\.)?loss")
_VALIDATION = {
    "coco/bbox_mAP": "AP",
    "coco/bbox_mAP_50": "AP50",
    "coco/bbox_oLRP": "oLRP",
    "coco/segm_mAP": "AP, masks",
    "coco/segm_oLRP": "oLRP, masks",
}


def read_scalars(work_dir: str | Path) -> list[dict]:
    """Read what a training logged, all its runs (it may have been resumed) in order of time.

    Args:
        work_dir: Folder of the training, with MMEngine's ``TIMESTAMP/vis_data/scalars.json``.

    Returns:
        One dict per log entry: of training, with ``step`` counting iterations and the losses; and
        of validation, with ``step`` counting epochs (iterations in a training by iterations, whose
        logger has ``log_metric_by_epoch=False``) and the metrics. Where a later run began again,
        what the earlier ones did from there on is left out: a resumed run's steps are there once,
        and nothing of a training that was begun anew. Nor is the line that a killed run left
        unfinished.

    Raises:
        FileNotFoundError: If nothing was logged there.
        ValueError: If another line than the last of a file is not JSON.
    """
    files = sorted(Path(work_dir).glob("*/vis_data/scalars.json"))
    if not files:
        raise FileNotFoundError(
            f"Expected logged scalars in {work_dir}/*/vis_data/scalars.json, but got none; give "
            "the work folder of a training whose visualizer has a LocalVisBackend."
        )
    entries: list[dict] = []
    for file in files:
        run = _read_lines(file)
        first = next((entry for entry in run if "loss" in entry), None)
        if first is not None:
            # Validation counts epochs where training has any.
            begins = {True: first["step"], False: first.get("epoch", first["step"])}
            entries = [entry for entry in entries if entry["step"] < begins["loss" in entry]]
        again = {entry["step"] for entry in run if "loss" not in entry}
        entries = [entry for entry in entries if "loss" in entry or entry["step"] not in again]
        entries += run
    return entries


def still_learning(
    entries: Sequence[Mapping], iou_type: str = "bbox", least: float = 0.02
) -> str | None:
    """Tell a training that ended too early by the last two evaluations of its curve.

    Where validation oLRP still falls at the end of a schedule that lowers the learning rate, a
    longer schedule goes on from there: on the magnetic tiles of ``docs/experiments.md`` Faster
    R-CNN had 43 AP where its curve was steep (600 iterations), and 47 where AP no longer rose
    (1,500).

    Args:
        entries: What `read_scalars` returns, of a training by iterations.
        iou_type: What is measured, "bbox" or "segm".
        least: Fall of oLRP, in [0, 1], from which the curve counts as steep.

    Returns:
        A sentence; None where the curve is flat, or has fewer than two evaluations.

    Example:
        >>> curve = [{"step": 320, "coco/bbox_oLRP": 0.75}, {"step": 400, "coco/bbox_oLRP": 0.69}]
        >>> print(still_learning(curve))
        oLRP still fell by 6.0 points from iteration 320 to 400
    """
    key = f"coco/{iou_type}_oLRP"
    points = [(entry["step"], entry[key]) for entry in entries if key in entry]
    if len(points) < 2:
        return None
    (before, high), (after, low) = points[-2:]
    if not high - low >= least:
        return None
    return f"oLRP still fell by {100 * (high - low):.1f} points from iteration {before} to {after}"


def draw_training_curve(entries: Sequence[Mapping], title: str = "") -> Figure:
    """Draw the losses over the iterations, and the metrics, if any, over epochs or iterations.

    A loss that is balanced against the ranking loss is drawn without its balance.

    Args:
        entries: What `read_scalars` returns.
        title: Title of the figure.

    Raises:
        ValueError: If no entry is of training.
    """
    training = [entry for entry in entries if "loss" in entry]
    validation = [entry for entry in entries if any(key in entry for key in _VALIDATION)]
    if not training:
        raise ValueError("Expected log entries with a loss to draw, but got none.")
    panels = 2 if validation else 1
    figure = Figure(figsize=(7, 3.2 * panels), layout="constrained")
    axes = figure.subplots(panels, 1, squeeze=False)[:, 0]
    _draw_losses(axes[0], training)
    if validation:
        # MMEngine writes the epoch into every entry of a training by epochs.
        by_iteration = all("iter" in entry and "epoch" not in entry for entry in training)
        _draw_metrics(axes[1], validation, "iteration" if by_iteration else "epoch")
    figure.suptitle(title)
    return figure


def _read_lines(file: Path) -> list[dict]:
    """Read JSON line by line; the last line may be cut short."""
    lines = file.read_text(encoding="utf-8").splitlines()
    entries = []
    for number, line in enumerate(lines, 1):
        try:
            entries.append(json.loads(line))
        except json.JSONDecodeError as error:
            if number < len(lines):
                raise ValueError(
                    f"Expected JSON in each line of {file}, but line {number} cannot be read: "
                    f"{error}; remove it."
                ) from None
    return entries


def _draw_losses(axes: Axes, training: Sequence[Mapping]) -> None:
    names = [name for name in training[0] if _DRAWN.match(name) or name in _PARTS]
    for name in names:
        # Balanced by value, a task's loss equals the ranking loss and shows nothing of its own.
        balance = balance_of(name)
        balanced = name not in _PARTS and balance in training[0]
        axes.plot(
            [entry["step"] for entry in training],
            [unbalanced(entry, name) for entry in training],
            label=f"{name} / {balance}" if balanced else name,
            linestyle="--" if name in _PARTS else "-",
            linewidth=2 if name == "loss" else 1.2,
        )
    axes.set(xlabel="iteration", ylabel="loss", ylim=(0, None))
    axes.grid(alpha=0.3)
    axes.legend()


def _draw_metrics(axes: Axes, validation: Sequence[Mapping], unit: str) -> None:
    for key, name in _VALIDATION.items():
        points = [(entry["step"], 100 * entry[key]) for entry in validation if key in entry]
        if points:
            axes.plot(*zip(*points, strict=True), marker="o", label=name)
    axes.set(xlabel=unit, ylabel="percent of validation set", ylim=(0, 100))
    axes.set_xticks([entry["step"] for entry in validation])
    axes.grid(alpha=0.3)
    axes.legend()
