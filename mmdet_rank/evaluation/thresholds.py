"""LRP-optimal thresholds: score thresholds by category name (thesis 5.5.3 and 5.7.4).

The definition's threshold is the score of the last detection kept, and scores differ in their last
digits between batch sizes and processors. So what is written and applied lies midway between that
score and the next lower one: far from both, and keeping the same detections.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from mmdet_rank.files import load_json

__all__ = [
    "ScoreThresholds",
    "load_thresholds",
    "midway_threshold",
    "report_thresholds",
    "score_floor",
    "thresholds_at_floor",
]

# The last part of a score range in which an optimum is taken to be cut off by the floor.
_MARGIN = 0.01
# How far below the last score kept a threshold lies, as a part of it, where no score is lower.
_BELOW_THE_LAST = 0.01


def midway_threshold(scores: ArrayLike, last_kept: float) -> float:
    """Return the threshold midway between the last score kept and the next lower one.

    It keeps the detections that ``last_kept`` keeps, and goes on doing so when rounding moves the
    scores, as another batch size or processor does.

    Args:
        scores: (D,) scores of the detections that count, any order.
        last_kept: the lowest score to keep, NaN for none.

    Returns:
        A number in (next lower score, ``last_kept``]. Where no score is lower it is 1 % below
        ``last_kept``; NaN for NaN.

    >>> midway_threshold([0.9, 0.8, 0.5, 0.1], last_kept=0.8)
    0.65
    """
    scores = np.asarray(scores, dtype=np.float64)
    lower = scores[scores < last_kept]
    if lower.size == 0:
        return float(last_kept - _BELOW_THE_LAST * abs(last_kept))
    middle = float(lower.max() + (last_kept - lower.max()) / 2)
    # Between neighbours of float64 there is nothing, and the middle is rounded to one of them.
    return middle if middle > lower.max() else float(last_kept)


def report_thresholds(report: Mapping) -> dict[str, float]:
    """Return the LRP-optimal thresholds of an LRP report by category name.

    Categories of which no detection is right have no threshold and are left out.
    """
    return {
        name: values["threshold"]
        for name, values in report["per_class"].items()
        if values["threshold"] is not None
    }


def load_thresholds(path: str | Path) -> dict[str, float]:
    """Read a thresholds file, ``{NAME: score}``, or the thresholds of an LRP report.

    Raises:
        FileNotFoundError: when there is no such file.
        ValueError: when it holds something else.
    """
    data = load_json(path)
    if isinstance(data, dict) and isinstance(data.get("per_class"), dict):
        values = data["per_class"].values()
        if any(isinstance(value, dict) and "threshold" not in value for value in values):
            raise ValueError(
                f"Expected thresholds in {path}, but got a panoptic report, which has none."
            )
        data = report_thresholds(data) if all(isinstance(v, dict) for v in values) else None
    if not isinstance(data, dict) or not all(
        isinstance(score, (int, float)) and not isinstance(score, bool) and math.isfinite(score)
        for score in data.values()
    ):
        raise ValueError(
            f"Expected a thresholds file in {path}, {{category name: score}}, or an LRP report, "
            "but got something else; write one with `mmdet-rank eval ... --thresholds FILE`."
        )
    return {name: float(score) for name, score in data.items()}


def score_floor(test_cfg: Mapping | None) -> float:
    """Return the score below which MMDetection's ``model.test_cfg`` drops detections; 0 if none.

    Two-stage detectors have it under ``rcnn``; detectors with matrix NMS drop by ``filter_thr``.

    >>> score_floor({"rcnn": {"score_thr": 0.05}})
    0.05
    """
    test_cfg = test_cfg or {}
    # Cascades may have a list of stages under `rcnn`, the last of which gives the result.
    stage = test_cfg.get("rcnn") or test_cfg
    if isinstance(stage, (list, tuple)):
        stage = stage[-1]
    return float(stage.get("filter_thr", stage.get("score_thr", 0.0)) or 0.0)


def thresholds_at_floor(thresholds: Mapping[str, float], floor: float) -> list[str]:
    """Return the names whose threshold sits at the score floor.

    Detections below the floor were never seen when the threshold was chosen, so the best threshold
    may be lower. At the floor means at most 0.01 above it.

    >>> thresholds_at_floor({"cat": 0.052, "dog": 0.4}, floor=0.05)
    ['cat']
    """
    return [name for name, score in thresholds.items() if floor > 0 and score <= floor + _MARGIN]


class ScoreThresholds:
    """Keeps the detections that reach the threshold of their category.

    Works on the predictions of an MMDetection detector: register it on the model with
    ``model.register_forward_hook(ScoreThresholds(thresholds, classes))`` and all that ``test_step``
    or an inferencer returns is thresholded.

    Args:
        thresholds: score threshold by category name.
        classes: names of the detector's categories, in the order of its labels.
        default: threshold of categories that ``thresholds`` does not name.

    Raises:
        ValueError: when ``thresholds`` names a category that is not among ``classes``.
    """

    def __init__(
        self, thresholds: Mapping[str, float], classes: Sequence[str], default: float = 0.0
    ) -> None:
        unknown = [name for name in thresholds if name not in classes]
        if unknown:
            raise ValueError(
                f"Expected thresholds for categories of the detector, but got {unknown[:10]}; it "
                f"knows {list(classes)[:10]}{' and more' if len(classes) > 10 else ''}. Use the "
                "thresholds of a detector with the same categories."
            )
        self.missing = [name for name in classes if name not in thresholds]
        self.by_label = [float(thresholds.get(name, default)) for name in classes]

    def filter(self, instances: Any) -> Any:
        """Return the instances with ``score >= threshold`` of their label."""
        scores = instances.scores
        # In float64, so that a threshold is not rounded up to a score just above it; Apple's MPS
        # has float32 at most.
        scores = scores.float() if scores.device.type == "mps" else scores.double()
        thresholds = scores.new_tensor(self.by_label)
        return instances[scores >= thresholds[instances.labels]]

    def __call__(self, module: Any, inputs: Any, output: Any) -> Any:
        """Filter what a detector's forward returned; losses and tensors pass as they are."""
        if isinstance(output, list):
            for sample in output:
                if "pred_instances" in sample:
                    sample.pred_instances = self.filter(sample.pred_instances)
        return output
