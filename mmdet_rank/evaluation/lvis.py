"""LRP Error over LVIS boxes and masks, by the federated rules of the lvis package.

An image of LVIS is annotated for some categories only. Detections of a category count in images
that have objects of it, or that are known to have none; in images whose objects of a category are
not all annotated, detections that match nothing are ignored.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from .coco import ImageFields, grouped, matches_by_name, merge_matches, threshold_index
from .coco_files import check_annotations, check_results, describe
from .lrp import EQUAL_IMPORTANCE, MatchedDetections, check_importance, check_taus
from .report import Evaluation

try:
    from lvis import LVIS, LVISEval, LVISResults
except ImportError as error:
    raise ImportError(
        "Expected the lvis package for LVIS data but it is not installed; install it with "
        "`pip install --no-deps lvis` (what it needs is there, and it would bring a second "
        "OpenCV)."
    ) from error

__all__ = ["FederatedEval", "collect_lvis_matches", "evaluate_lvis", "lvis_figures"]

_FIELDS = ImageFields("dt_matches", "dt_ignore", "dt_scores", "gt_ignore")
_IOU_TYPES = ("bbox", "segm")


class FederatedEval(LVISEval):
    """The lvis package's evaluation, with an ``accumulate`` that runs on any NumPy.

    That of lvis 0.5.3 uses ``np.float``, which NumPy 1.24 removed. Matching and ignoring are the
    package's own. It can show a progress bar: anything with ``update(1)`` as ``bar``.
    """

    bar: Any = None

    def evaluate_img(self, *args: Any) -> dict | None:
        """Match one image and category in one size range."""
        if self.bar is not None:
            self.bar.update(1)
        return super().evaluate_img(*args)

    def accumulate(self) -> None:
        """Compute precision and recall for each threshold, category and size range.

        Fills ``self.eval`` with ``precision`` (thresholds, recalls, categories, sizes) and
        ``recall`` (thresholds, categories, sizes), -1 where there is no ground truth.
        """
        params = self.params
        categories = params.cat_ids if params.use_cats else [-1]
        shape = len(params.iou_thrs), len(categories), len(params.area_rng)
        precision = -np.ones((shape[0], len(params.rec_thrs), *shape[1:]))
        recall = -np.ones(shape)
        groups = grouped(self.eval_imgs, len(params.img_ids))
        for category, area in itertools.product(range(shape[1]), range(shape[2])):
            images = next(groups)
            num_gt = sum(int(np.count_nonzero(image["gt_ignore"] == 0)) for image in images)
            if num_gt == 0:
                continue
            scores = np.concatenate([image["dt_scores"] for image in images])
            order = np.argsort(-scores, kind="stable")
            matched = np.concatenate([image["dt_matches"] for image in images], axis=1)[:, order]
            ignored = np.concatenate([image["dt_ignore"] for image in images], axis=1)[:, order]
            found = np.cumsum((matched > 0) & ~ignored, axis=1)
            wrong = np.cumsum((matched == 0) & ~ignored, axis=1)
            for index, (num_tp, num_fp) in enumerate(zip(found, wrong, strict=True)):
                recall[index, category, area] = num_tp[-1] / num_gt if num_tp.size else 0.0
                precision[index, :, category, area] = _interpolated_precision(
                    num_tp, num_fp, num_gt, params.rec_thrs
                )
        self.eval = {"params": params, "precision": precision, "recall": recall}


def evaluate_lvis(
    ground_truth: dict,
    results: list[dict],
    iou_type: str = "bbox",
    *,
    tau: float | Sequence[float] = 0.5,
    importance: Sequence[float] = EQUAL_IMPORTANCE,
    progress: Callable[..., Any] | None = None,
    names: tuple[str, str] = ("ground truth", "results"),
) -> Evaluation:
    """Evaluate LVIS results; arguments and result as in ``coco.evaluate_coco``.

    The 300 highest-scoring detections of an image count. The figures have ``APr``, ``APc`` and
    ``APf`` beside: AP over rare, common and frequent categories.

    Raises:
        ValueError: when a file is not what it should be.
    """
    if iou_type not in _IOU_TYPES:
        raise ValueError(
            f"Expected the IoU type to be one of {_IOU_TYPES} for LVIS but got {iou_type!r}."
        )
    check_taus(tau)
    check_importance(importance)
    ground_truth = check_annotations(ground_truth, iou_type, names[0])
    _check_federated(ground_truth, names[0])
    results = check_results(results, ground_truth, iou_type, names[1])
    lvis_gt = _InMemory(ground_truth)
    evaluation = FederatedEval(lvis_gt, LVISResults(lvis_gt, results), iou_type)
    params = evaluation.params
    if progress is None:
        evaluation.evaluate()
    else:
        total = len(params.img_ids) * len(params.cat_ids) * len(params.area_rng)
        with progress(total=total) as evaluation.bar:
            evaluation.evaluate()
        evaluation.bar = None
    evaluation.accumulate()
    evaluation.summarize()
    category_names = {c["id"]: c["name"] for c in ground_truth["categories"]}
    return Evaluation.gather(
        lambda value: matches_by_name(collect_lvis_matches(evaluation, value), category_names),
        lvis_figures(evaluation),
        tau=tau,
        importance=importance,
    )


def lvis_figures(evaluation: LVISEval) -> dict[str, float]:
    """Return the AP figures of an evaluation after ``summarize()``, NaN where undefined."""
    names = {"AP": "AP", "AP50": "AP50", "AP75": "AP75", "AR": f"AR@{evaluation.params.max_dets}"}
    names |= {name: name for name in ("APr", "APc", "APf")}
    values = {name: float(evaluation.results[key]) for name, key in names.items()}
    return {name: value if value > -1 else float("nan") for name, value in values.items()}


def collect_lvis_matches(
    evaluation: LVISEval, tau: float = 0.5
) -> dict[str, dict[Any, MatchedDetections]]:
    """Collect the matched detections of an evaluation after ``evaluate()``.

    Arguments and result as in ``coco.collect_matches``.
    """
    params = evaluation.params
    tau_index = threshold_index(params.iou_thrs, tau)
    images = evaluation.eval_imgs
    if tau_index is None:
        iou_thrs, params.iou_thrs = params.iou_thrs, np.array([tau])
        images, tau_index = (
            [
                evaluation.evaluate_img(image, category, area)
                for category in params.cat_ids
                for area in params.area_rng
                for image in params.img_ids
            ],
            0,
        )
        params.iou_thrs = iou_thrs

    def quality(image: dict, row: int, gt_id: float) -> float:
        key = image["image_id"], image["category_id"]
        column = next(i for i, gt in enumerate(evaluation._gts[key]) if gt["id"] == gt_id)
        return evaluation.ious[key][row, column]

    return merge_matches(
        images,
        params.cat_ids,
        params.area_rng_lbl,
        len(params.img_ids),
        tau_index,
        _FIELDS,
        quality,
    )


def _interpolated_precision(
    num_tp: np.ndarray, num_fp: np.ndarray, num_gt: int, recalls: np.ndarray
) -> np.ndarray:
    """Precision at given recalls: the highest one reached at that recall or beyond, else 0."""
    precision = num_tp / np.maximum(num_tp + num_fp, 1)
    envelope = np.maximum.accumulate(precision[::-1])[::-1]
    first = np.searchsorted(num_tp / num_gt, recalls, side="left")
    return np.append(envelope, 0.0)[first]


def _check_federated(ground_truth: dict, source: str) -> None:
    for items, what, keys in (
        (ground_truth["images"], "image", ("neg_category_ids", "not_exhaustive_category_ids")),
        (ground_truth["categories"], "category", ("frequency",)),
    ):
        for index, item in enumerate(items):
            if any(key not in item for key in keys):
                raise ValueError(
                    f"Expected {' and '.join(map(repr, keys))} in {what} {index} of {source} but "
                    f"got {describe(item)}; evaluate ground truth without them with the rules of "
                    "COCO (--dataset coco)."
                )


class _InMemory(LVIS):
    """LVIS ground truth that has been read and checked already."""

    def _load_json(self, path: dict) -> dict:
        return path
