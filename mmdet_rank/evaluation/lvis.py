"""LRP Error over LVIS boxes and masks, by the federated rules of the lvis package.

An image of LVIS is annotated for some categories only. Detections of a category count in images
that have objects of it, or that are known to have none; in images whose objects of a category are
not all annotated, detections that match nothing are ignored.
"""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from mmdet_rank.annotations import check_coco, check_results
from mmdet_rank.annotations.fields import describe, ids, namer

from .coco import (
    ImageFields,
    check_max_dets,
    matches_by_name,
    merge_matches,
    precision_figures,
    threshold_index,
)
from .lrp import EQUAL_IMPORTANCE, MatchedDetections, check_importance, check_taus
from .report import Evaluation

try:
    from lvis import LVIS, LVISEval, LVISResults
except ImportError as error:
    raise ImportError(
        "Expected the lvis package for LVIS data, but it is not installed; install it with "
        "`pip install --no-deps lvis` (what it needs is there, and it would bring a second "
        "OpenCV)."
    ) from error

__all__ = [
    "FederatedEval",
    "collect_lvis_matches",
    "evaluate_lvis",
    "lvis_class_figures",
    "lvis_figures",
    "with_numbered_objects",
]

_FIELDS = ImageFields("dt_matches", "dt_ignore", "dt_scores", "gt_ignore")
_IOU_TYPES = ("bbox", "segm")
# As the lvis package has it.
DEFAULT_MAX_DETS = 300
_FREQUENCIES = ("r", "c", "f")


class FederatedEval(LVISEval):
    """The lvis package's evaluation, with an ``accumulate`` that runs on any NumPy.

    That of lvis 0.5.3 uses ``np.float``, which NumPy 1.24 removed. Matching and ignoring are the
    package's own; of its millions of images and categories those are visited that have objects or
    detections. It can show a progress bar: anything with ``update(number)`` as ``bar``.

    Attributes:
        found: By category, then size range: what was found in the images that have anything.
    """

    bar: Any = None
    found: list[list[list[dict]]]

    def evaluate(self) -> None:
        """Match all images and categories in all size ranges, and fill ``found``."""
        params = self.params
        params.img_ids = np.unique(params.img_ids).tolist()
        params.cat_ids = np.unique(params.cat_ids).tolist()
        self._prepare()
        places = {id_: place for place, id_ in enumerate(params.img_ids)}
        images: dict[Any, set] = {id_: set() for id_ in params.cat_ids}
        for image, category in (*self._gts, *self._dts):
            images[category].add(image)
        self._images = {c: sorted(of, key=places.__getitem__) for c, of in images.items()}
        self.ious = {(i, c): self.compute_iou(i, c) for c, of in self._images.items() for i in of}
        self.found = self.match()

    def match(self) -> list[list[list[dict]]]:
        """Match at ``params.iou_thrs``, with the IoUs that there are."""
        found = []
        for category, images in self._images.items():
            sizes = self.params.area_rng
            found.append([[self.evaluate_img(i, category, size) for i in images] for size in sizes])
            if self.bar is not None:
                self.bar.update(1)
        return found

    def accumulate(self) -> None:
        """Compute precision and recall for each threshold, category and size range.

        Fills ``self.eval`` with ``precision`` (thresholds, recalls, categories, sizes) and
        ``recall`` (thresholds, categories, sizes), -1 where there is no ground truth.
        """
        params = self.params
        shape = len(params.iou_thrs), len(params.cat_ids), len(params.area_rng)
        precision = -np.ones((shape[0], len(params.rec_thrs), *shape[1:]))
        recall = -np.ones(shape)
        for category, area in itertools.product(range(shape[1]), range(shape[2])):
            images = self.found[category][area]
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
    max_dets: int | None = None,
    progress: Callable[..., Any] | None = None,
    names: tuple[str, str] = ("ground truth", "results"),
) -> Evaluation:
    """Evaluate LVIS results; arguments and result as in ``coco.evaluate_coco``.

    The ``max_dets`` highest-scoring detections of an image count, of all categories together, 300
    by default. The figures have ``APr``, ``APc`` and ``APf`` beside: AP over rare, common and
    frequent categories.

    Raises:
        ValueError: when a file is not what it should be.
    """
    if iou_type not in _IOU_TYPES:
        raise ValueError(
            f"Expected the IoU type to be one of {_IOU_TYPES} for LVIS, but got {iou_type!r}."
        )
    check_taus(tau)
    check_importance(importance)
    max_dets = DEFAULT_MAX_DETS if max_dets is None else max_dets
    check_max_dets(max_dets)
    found = check_coco(ground_truth, names[0], use="evaluation", iou_types=(iou_type,))
    ground_truth = found.dataset
    _check_federated(ground_truth, names[0])
    checked = check_results(results, ground_truth, iou_type, names[1])
    notes = [f"{names[0]}: {problem}" for problem in found.problems]
    notes += [f"{names[1]}: {hint}" for hint in checked.hints]
    notes += _limit_notes(ground_truth["annotations"], max_dets)
    lvis_gt = _InMemory(ground_truth)
    lvis_dt = LVISResults(lvis_gt, checked.detections, max_dets=max_dets)
    evaluation = FederatedEval(lvis_gt, lvis_dt, iou_type)
    params = evaluation.params
    params.max_dets = max_dets
    if progress is None:
        evaluation.evaluate()
    else:
        with progress(total=len(params.cat_ids)) as evaluation.bar:
            evaluation.evaluate()
        evaluation.bar = None
    evaluation.accumulate()
    evaluation.summarize()
    category_names = {c["id"]: c["name"] for c in ground_truth["categories"]}
    gathered = Evaluation.gather(
        lambda value: matches_by_name(collect_lvis_matches(evaluation, value), category_names),
        lvis_figures(evaluation),
        lvis_class_figures(evaluation, category_names),
        tau=tau,
        importance=importance,
        iou_type=iou_type,
        max_dets=max_dets,
    )
    gathered.notes = notes
    return gathered


def with_numbered_objects(ground_truth: LVIS) -> LVIS:
    """The index of a file whose objects are numbered 1, 2, ... in it, whatever their ids were.

    To the lvis package a match with an object of id 0 is none, and objects of one id are one.
    """
    for number, annotation in enumerate(ground_truth.dataset["annotations"], 1):
        annotation["id"] = number
    return _InMemory(ground_truth.dataset)


def lvis_figures(evaluation: LVISEval) -> dict[str, float]:
    """Return the AP figures of an evaluation after ``summarize()``, NaN where undefined."""
    names = {"AP": "AP", "AP50": "AP50", "AP75": "AP75", "AR": f"AR@{evaluation.params.max_dets}"}
    names |= {name: name for name in ("APr", "APc", "APf")}
    values = {name: float(evaluation.results[key]) for name, key in names.items()}
    return {name: value if value > -1 else float("nan") for name, value in values.items()}


def lvis_class_figures(
    evaluation: LVISEval, names: Mapping[Any, str]
) -> dict[str, dict[str, float]]:
    """Return the AP figures of each category of an evaluation after ``accumulate()``.

    Args:
        evaluation: the evaluation.
        names: name of each category id.
    """
    precision, taus = evaluation.eval["precision"][..., 0], evaluation.params.iou_thrs
    return {
        names[id_]: precision_figures(precision[:, :, place], taus)
        for place, id_ in enumerate(evaluation.params.cat_ids)
    }


def collect_lvis_matches(
    evaluation: FederatedEval, tau: float = 0.5
) -> dict[str, dict[Any, MatchedDetections]]:
    """Collect the matched detections of an evaluation after ``evaluate()``.

    Arguments and result as in ``coco.collect_matches``.
    """
    params = evaluation.params
    tau_index = threshold_index(params.iou_thrs, tau)
    found = evaluation.found
    if tau_index is None:
        iou_thrs, params.iou_thrs = params.iou_thrs, np.array([tau])
        found, tau_index = evaluation.match(), 0
        params.iou_thrs = iou_thrs

    def quality(image: dict, row: int, gt_id: float) -> float:
        key = image["image_id"], image["category_id"]
        column = next(i for i, gt in enumerate(evaluation._gts[key]) if gt["id"] == gt_id)
        return evaluation.ious[key][row, column]

    return merge_matches(
        ([image for of_size in sizes for image in of_size] for sizes in found),
        params.cat_ids,
        params.area_rng_lbl,
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


def _limit_notes(annotations: list[dict], max_dets: int) -> list[str]:
    """Tell where images have more objects than detections that count."""
    numbers = Counter(annotation["image_id"] for annotation in annotations)
    lost = [number - max_dets for number in numbers.values() if number > max_dets]
    if not lost:
        return []
    return [
        f"The limit of {max_dets} detections per image binds: {sum(lost)} objects in {len(lost)} "
        "image(s) with more objects than that cannot be found; raise it (--max-dets)."
    ]


def _check_federated(ground_truth: dict, source: str) -> None:
    """Check what LVIS adds to images and categories."""
    where = namer("image", source)
    for index, image in enumerate(ground_truth["images"]):
        for key in ("neg_category_ids", "not_exhaustive_category_ids"):
            if not isinstance(image.get(key), list):
                raise ValueError(
                    f"Expected a list of category ids as {key} in {where(index)}, but got "
                    f"{describe(image.get(key))}; evaluate ground truth without it by the rules of "
                    "COCO (--dataset coco)."
                )
            name = where(index)
            image[key] = ids(image[key], key, lambda _, name=name: name)  # type: ignore[misc]
    for index, category in enumerate(ground_truth["categories"]):
        if category.get("frequency") not in _FREQUENCIES:
            raise ValueError(
                f"Expected one of {_FREQUENCIES} as frequency in category {index} of {source}, but "
                f"got {describe(category.get('frequency'))}; evaluate ground truth without it by "
                "the rules of COCO (--dataset coco)."
            )


class _InMemory(LVIS):
    """LVIS ground truth that has been read and checked already."""

    def _load_json(self, path: dict) -> dict:
        return path
