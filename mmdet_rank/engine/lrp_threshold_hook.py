"""A hook that applies LRP-optimal thresholds to everything a detector predicts in testing."""

from __future__ import annotations

import logging
from typing import Any

from mmengine.hooks import Hook
from mmengine.logging import print_log
from mmengine.model import BaseTTAModel
from mmengine.registry import HOOKS
from mmengine.runner import Runner

from mmdet_rank.annotations import forget_files, read_categories
from mmdet_rank.engine.wrapped import unwrapped
from mmdet_rank.evaluation.thresholds import (
    ScoreThresholds,
    load_thresholds,
    score_floor,
    thresholds_at_floor,
)

__all__ = ["LRPThresholdHook", "label_names", "warn_of_thresholds"]


@HOOKS.register_module()
class LRPThresholdHook(Hook):
    """Keeps detections that reach the threshold of their category, during ``test``.

    The metrics, the visualizer and dumped results then see thresholded detections only. A category
    that the file does not name keeps all its detections, and a warning lists it; another one warns
    of thresholds that sit at the score floor of the test config.

    Args:
        thresholds: path of a thresholds file or of an LRP report.

    Raises:
        ValueError: when the file names a category that the test set does not have, or before a test
            with augmentation, which merges predictions where no hook sees them.
    """

    def __init__(self, thresholds: str) -> None:
        self.path = thresholds
        self.thresholds = load_thresholds(thresholds)
        self._handle = None

    def check(self, dataset: Any) -> ScoreThresholds:
        """Return what thresholds the predictions on a data set.

        Raises:
            ValueError: when the file names a category that the data set does not have.
        """
        return ScoreThresholds(self.thresholds, label_names(dataset))

    def before_test(self, runner: Runner) -> None:
        """Start to threshold what the model predicts."""
        model = unwrapped(runner)
        if isinstance(model, BaseTTAModel):
            # It calls test_step of its detector and merges, and its own forward is never called.
            raise ValueError(
                "Expected a detector in a test with LRPThresholdHook, but got "
                f"{type(model).__name__}, whose merged detections would all pass; test without "
                "--tta, or remove the hook from the config."
            )
        keeper = self.check(runner.test_dataloader.dataset)
        forget_files()
        warn_of_thresholds(self.thresholds, keeper.missing, getattr(model, "test_cfg", None))
        self._handle = model.register_forward_hook(keeper)

    def after_test(self, runner: Runner) -> None:
        """Let all predictions pass again."""
        if self._handle is not None:
            self._handle.remove()
            self._handle = None


def label_names(dataset: Any) -> list[str]:
    """Return the category names of a data set in the order of its labels.

    MMDetection's COCO data sets label categories in the order of the annotation file, whatever the
    order of ``classes``. Names that are numbers there are texts here, as everywhere else.
    """
    while hasattr(dataset, "dataset"):
        dataset = dataset.dataset
    classes = list(dataset.metainfo["classes"])
    if not hasattr(dataset, "cat_ids"):
        return classes
    names = {c["id"]: c["name"] for c in read_categories(dataset.ann_file)}
    return [names[category] for category in dataset.cat_ids]


def warn_of_thresholds(
    thresholds: dict[str, float],
    missing: list[str],
    test_cfg: dict | None,
    default: float = 0.0,
) -> None:
    """Warn of thresholds at the score floor and of categories without one.

    Args:
        thresholds: Score threshold by category name.
        missing: Categories without a threshold.
        test_cfg: The detector's ``test_cfg``, which has the score floor.
        default: Threshold that categories without one get.
    """
    floor = score_floor(test_cfg)
    at_floor = thresholds_at_floor(thresholds, floor)
    if at_floor:
        _warn(
            f"The thresholds of {len(at_floor)} categories sit at the score floor {floor} of the "
            f"model's test_cfg ({', '.join(at_floor[:10])}); the best ones may be lower. Lower "
            "score_thr, evaluate, and make the thresholds again."
        )
    if missing:
        kept = f"are kept from a score of {default}" if default > 0 else "are all kept"
        _warn(
            f"There is no threshold for {len(missing)} categories ({', '.join(missing[:10])}); "
            f"their detections {kept}."
        )


def _warn(text: str) -> None:
    print_log(text, logger="current", level=logging.WARNING)
