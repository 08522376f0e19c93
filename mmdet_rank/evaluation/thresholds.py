"""LRP-optimal thresholds: score thresholds by category name (thesis 5.5.3 and 5.7.4)."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from .coco_files import load_json

__all__ = [
    "ScoreThresholds",
    "load_thresholds",
    "report_thresholds",
    "score_floor",
    "thresholds_at_floor",
]

# The last part of a score range in which an optimum is taken to be cut off by the floor.
_MARGIN = 0.01


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
        if any("threshold" not in values for values in data["per_class"].values()):
            raise ValueError(
                f"Expected thresholds in {path} but got a panoptic report, which has none."
            )
        data = report_thresholds(data)
    if not isinstance(data, dict) or not all(
        isinstance(score, (int, float)) and not isinstance(score, bool) and math.isfinite(score)
        for score in data.values()
    ):
        raise ValueError(
            f"Expected a thresholds file in {path}, {{category name: score}}, or an LRP report but "
            "got something else; write one with `python tools/eval_lrp.py ... --thresholds FILE`."
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
                f"Expected thresholds for categories of the detector but got {unknown[:10]}; it "
                f"knows {list(classes)[:10]}{' and more' if len(classes) > 10 else ''}. Use the "
                "thresholds of a detector with the same categories."
            )
        self.missing = [name for name in classes if name not in thresholds]
        self.by_label = [float(thresholds.get(name, default)) for name in classes]

    def filter(self, instances: Any) -> Any:
        """Return the instances with ``score >= threshold`` of their label."""
        scores = instances.scores
        # In float64, where a float32 score and the threshold written from it are equal.
        thresholds = scores.new_tensor(self.by_label, dtype=scores.double().dtype)
        return instances[scores.double() >= thresholds[instances.labels]]

    def __call__(self, module: Any, inputs: Any, output: Any) -> Any:
        """Filter what a detector's forward returned; losses and tensors pass as they are."""
        if isinstance(output, list):
            for sample in output:
                if "pred_instances" in sample:
                    sample.pred_instances = self.filter(sample.pred_instances)
        return output
