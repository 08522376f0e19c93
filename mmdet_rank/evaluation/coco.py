"""LRP Error over COCO boxes, masks and keypoints, from pycocotools' own matching."""

from __future__ import annotations

import contextlib
import io
import itertools
import math
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from mmdet_rank.annotations import IOU_TYPES, check_coco, check_results

from .faster import choose_backend, collect_faster_matches, make_faster_eval
from .giou import check_quality, match_by_giou
from .lrp import EQUAL_IMPORTANCE, MatchedDetections, check_importance, check_taus
from .report import Evaluation
from .skipping import SkippingCOCOeval

__all__ = [
    "DEFAULT_MAX_DETS",
    "ImageFields",
    "average_figures",
    "check_max_dets",
    "class_figures",
    "collect_matches",
    "evaluate_coco",
    "limit_notes",
    "matches_by_name",
    "merge_matches",
    "precision_figures",
]


class ImageFields(NamedTuple):
    """Names under which an evaluation keeps what it found in one image."""

    dt_matches: str
    dt_ignore: str
    dt_scores: str
    gt_ignore: str


# As pycocotools has them.
DEFAULT_MAX_DETS = {"bbox": 100, "segm": 100, "keypoints": 20}
_FIELDS = ImageFields("dtMatches", "dtIgnore", "dtScores", "gtIgnore")


def evaluate_coco(
    ground_truth: dict,
    results: list[dict],
    iou_type: str = "bbox",
    *,
    tau: float | Sequence[float] = 0.5,
    importance: Sequence[float] = EQUAL_IMPORTANCE,
    max_dets: int | None = None,
    quality: str = "iou",
    progress: Callable[..., Any] | None = None,
    names: tuple[str, str] = ("ground truth", "results"),
    backend: str = "auto",
) -> Evaluation:
    """Evaluate COCO results: oLRP with its components, thresholds, and the AP figures.

    Args:
        ground_truth: content of a COCO annotation file.
        results: content of a COCO result file.
        iou_type: ``bbox``, ``segm`` or ``keypoints``.
        tau: localisation quality from which on a match counts, in [0, 1), or several, the first of
            which is that of thresholds and categories.
        importance: weights of true positives, false positives and false negatives (thesis Eq. 5.9).
        max_dets: how many detections of an image and category count, those of the highest scores,
            for all figures; 100, and 20 for keypoints, as pycocotools has it, by default.
        quality: of localisation in LRP Error: ``iou`` (of keypoints OKS), or ``giou`` of boxes.
        progress: makes a progress bar, as ``tqdm.tqdm`` does: called as ``progress(total=N)``, and
            ``update(number)`` of what it returns after so many of the N steps, ``n`` so far.
        names: what to call the two files in messages.
        backend: ``pycocotools``; ``faster`` for faster-coco-eval, which gives the same figures;
            ``auto`` for this where it is installed.

    Returns:
        The evaluation. Its ``notes`` say what is not as it should be in the files, and whether
        ``max_dets`` binds.

    Raises:
        ValueError: when a file is not what it should be; see ``mmdet_rank.annotations``.
        ImportError: when faster-coco-eval is asked for and not installed.
    """
    if iou_type not in IOU_TYPES:
        raise ValueError(f"Expected the IoU type to be one of {IOU_TYPES}, but got {iou_type!r}.")
    if max_dets is None:
        max_dets = DEFAULT_MAX_DETS[iou_type]
    check_max_dets(max_dets)
    taus = check_taus(tau)
    check_importance(importance)
    check_quality(quality, iou_type)
    found = check_coco(ground_truth, names[0], use="evaluation", iou_types=(iou_type,))
    ground_truth = found.dataset
    checked = check_results(results, ground_truth, iou_type, names[1])
    results = checked.detections
    if iou_type == "keypoints":
        _check_keypoint_numbers(ground_truth, results)
    notes = [f"{names[0]}: {problem}" for problem in found.problems]
    notes += [f"{names[1]}: {hint}" for hint in checked.hints]
    ignored = sum(bool(a.get("ignore")) and not a["iscrowd"] for a in ground_truth["annotations"])
    if ignored:
        notes.append(
            f"{names[0]}: {ignored} objects are marked 'ignore', which training leaves out, and "
            "count all the same, as in pycocotools; mark them iscrowd to leave them out here too."
        )
    notes += limit_notes(ground_truth["annotations"], results, max_dets)
    with contextlib.redirect_stdout(io.StringIO()):  # pycocotools prints its timings
        coco_gt = COCO()
        coco_gt.dataset = ground_truth
        coco_gt.createIndex()
        coco_dt = coco_gt.loadRes(results)
        if choose_backend(backend, coco_gt) == "faster":
            collect = collect_faster_matches
            coco_eval = make_faster_eval(coco_gt, coco_dt, iou_type)
        else:
            collect = collect_matches
            coco_eval = SkippingCOCOeval(coco_gt, coco_dt, iou_type)
        coco_eval.params.maxDets = [max_dets]
        with coco_eval.watched(progress):
            coco_eval.evaluate()
        coco_eval.accumulate()
        matched = coco_eval
        if quality == "giou":
            collect, matched = collect_matches, match_by_giou(coco_gt, coco_dt, taus, max_dets)
    category_names = {c["id"]: c["name"] for c in ground_truth["categories"]}
    evaluation = Evaluation.gather(
        lambda value: matches_by_name(collect(matched, value), category_names),
        average_figures(coco_eval),
        class_figures(coco_eval, category_names),
        tau=tau,
        importance=importance,
        quality=quality,
        iou_type=iou_type,
        max_dets=max_dets,
    )
    evaluation.notes = notes
    return evaluation


def average_figures(coco_eval: COCOeval, max_dets: int | None = None) -> dict[str, float]:
    """Return AP, AP50, AP75 and AR over all sizes, after ``accumulate()``; NaN where undefined.

    pycocotools' own ``summarize`` has AP at 100 detections, whatever the limit of the rest is.

    Args:
        coco_eval: an evaluation by category.
        max_dets: one of its limits; the greatest by default.
    """
    limit = _place_of(max_dets, coco_eval)
    precision = coco_eval.eval["precision"][:, :, :, 0, limit]
    recall = coco_eval.eval["recall"][:, :, 0, limit]
    return precision_figures(precision, coco_eval.params.iouThrs) | {"AR": _mean(recall)}


def class_figures(
    coco_eval: COCOeval, names: Mapping[Any, str], max_dets: int | None = None
) -> dict[str, dict[str, float]]:
    """Return AP, AP50 and AP75 of each category by its name; otherwise as `average_figures`.

    Args:
        coco_eval: an evaluation by category.
        names: name of each category id.
        max_dets: one of its limits; the greatest by default.
    """
    params = coco_eval.params
    precision = coco_eval.eval["precision"][:, :, :, 0, _place_of(max_dets, coco_eval)]
    return {
        names[id_]: precision_figures(precision[:, :, place], params.iouThrs)
        for place, id_ in enumerate(params.catIds)
    }


def precision_figures(precision: np.ndarray, taus: Sequence[float]) -> dict[str, float]:
    """Return AP, AP50 and AP75 of interpolated precisions; NaN where undefined.

    Args:
        precision: (T, ...) at T IoUs, -1 where there is none.
        taus: the T IoUs.
    """
    rows = {name: threshold_index(taus, tau) for name, tau in (("AP50", 0.5), ("AP75", 0.75))}
    at = {n: math.nan if row is None else _mean(precision[row]) for n, row in rows.items()}
    return {"AP": _mean(precision)} | at


def _place_of(max_dets: int | None, coco_eval: COCOeval) -> int:
    return -1 if max_dets is None else list(coco_eval.params.maxDets).index(max_dets)


def _mean(values: np.ndarray) -> float:
    """Mean of what is defined, not -1; NaN where nothing is."""
    defined = values[values > -1]
    return float(np.mean(defined)) if defined.size else math.nan


def check_max_dets(max_dets: int) -> None:
    """Raise ValueError unless a limit of detections is a whole number of 1 or more."""
    if isinstance(max_dets, bool) or not isinstance(max_dets, int) or max_dets < 1:
        raise ValueError(
            f"Expected max_dets to be a whole number of 1 or more, but got {max_dets!r}; 100 is "
            "that of COCO."
        )


def limit_notes(annotations: Sequence[dict], results: Sequence[dict], max_dets: int) -> list[str]:
    """Tell where a limit of detections per image and category binds.

    Args:
        annotations: objects of the ground truth, with ``iscrowd``.
        results: detections.
        max_dets: the limit.

    Returns:
        A sentence for objects that cannot be found, and one for detections that do not count; none
        where the limit does not bind.
    """
    notes = []
    pairs = Counter((a["image_id"], a["category_id"]) for a in annotations if not a["iscrowd"])
    lost = [number - max_dets for number in pairs.values() if number > max_dets]
    if lost:
        notes.append(
            f"The limit of {max_dets} detections per image and category binds: {sum(lost)} objects "
            f"in {len(lost)} image(s) with more objects than that cannot be found; raise it "
            "(--max-dets, or max_dets of the metric)."
        )
    pairs = Counter((d["image_id"], d["category_id"]) for d in results)
    cut = [number - max_dets for number in pairs.values() if number > max_dets]
    if cut:
        notes.append(
            f"{sum(cut)} detections beyond the {max_dets} of the highest scores per image and "
            "category do not count, in any figure."
        )
    return notes


def collect_matches(
    coco_eval: COCOeval, tau: float = 0.5, max_dets: int | None = None
) -> dict[str, dict[Any, MatchedDetections]]:
    """Collect the matched detections of an evaluation that pycocotools has run.

    Reuses the matches of ``coco_eval.evaluate()`` when ``tau`` is among its IoU thresholds;
    otherwise lets ``coco_eval`` match once more at ``tau``, with the IoUs that it has already.

    Args:
        coco_eval: an evaluation by category after ``evaluate()``; of pycocotools, or of
            MMDetection's subclass that evaluates in several processes.
        tau: localisation quality from which on a match counts.
        max_dets: how many detections of an image and category count; the greatest ``maxDets`` of
            the evaluation by default.

    Returns:
        By name of the size range (``all``, ``small``, ...) and category id. Detections beyond
        ``max_dets`` of an image are not among them.
    """
    params = coco_eval.params
    images, accumulated = coco_eval.evalImgs, coco_eval.eval
    if not coco_eval.ious:
        # The processes that matched kept their objects and IoUs to themselves.
        coco_eval._prepare()
    tau_index = threshold_index(params.iouThrs, tau)
    if tau_index is None:
        tau_images, tau_index = _match_at(coco_eval, tau), 0
    else:
        tau_images = images
    if max_dets is not None and max_dets < params.maxDets[-1]:
        tau_images = [_within(image, max_dets) for image in tau_images]
    coco_eval.evalImgs, coco_eval.eval = images, accumulated

    def quality(image: dict, row: int, gt_id: float) -> float:
        key = image["image_id"], image["category_id"]
        if key not in coco_eval.ious:
            coco_eval.ious[key] = coco_eval.computeIoU(*key)
        column = next(i for i, gt in enumerate(coco_eval._gts[key]) if gt["id"] == gt_id)
        return coco_eval.ious[key][row, column]

    return merge_matches(
        _grouped(tau_images, len(params.imgIds) * len(params.areaRng)),
        params.catIds,
        params.areaRngLbl,
        tau_index,
        _FIELDS,
        quality,
    )


def merge_matches(
    groups: Iterable[list[dict]],
    categories: Sequence[Any],
    areas: Sequence[str],
    tau_index: int,
    fields: ImageFields,
    quality_of: Callable[[dict, int, float], float],
) -> dict[str, dict[Any, MatchedDetections]]:
    """Put what an evaluation found in each image together, by size range and category.

    Args:
        groups: by category, what pycocotools or lvis found in the images that have anything of it,
            in one size range after another.
        categories: ids of the categories.
        areas: names of the size ranges.
        tau_index: row of the matches at tau.
        fields: names of the entries.
        quality_of: localisation quality, given an image, the position of a detection among those of
            the image in order of score, and the id of the object that it matches.
    """
    matches: dict[str, dict] = {area: {} for area in areas}
    for category, found in zip(categories, groups, strict=True):
        if not found:
            nothing = MatchedDetections(np.zeros(0), np.zeros(0, dtype=bool), np.zeros(0), 0)
            for area in areas:
                matches[area][category] = nothing
            continue
        # Every size range has the same images with the same detections and objects, and differs in
        # what matches and what is ignored: so each row here is a size range.
        shape = len(areas), -1
        once = found[: len(found) // len(areas)]
        once_scores = [image[fields.dt_scores] for image in once]
        lengths = np.fromiter(map(len, once_scores), np.int64, len(once))
        starts = np.concatenate([[0], np.cumsum(lengths)])
        scores = np.fromiter(itertools.chain.from_iterable(once_scores), np.float64, starts[-1])
        counted = ~np.concatenate([image[fields.dt_ignore][tau_index] for image in found])
        counted = counted.reshape(shape)
        # Most images have detections of a category that they have no object of.
        with_gt = [image for image in found if len(image[fields.gt_ignore])]
        matched_gt = np.zeros(counted.shape)
        num_gt = [0] * len(areas)
        if with_gt:
            has_gt = np.repeat([len(image[fields.gt_ignore]) > 0 for image in once], lengths)
            matched = np.concatenate([image[fields.dt_matches][tau_index] for image in with_gt])
            matched_gt[:, has_gt] = matched.reshape(shape)
            gt_counted = np.concatenate([image[fields.gt_ignore] for image in with_gt]) == 0
            num_gt = np.count_nonzero(gt_counted.reshape(shape), axis=1).tolist()
        is_tp = (matched_gt > 0) & counted
        quality = np.zeros(counted.shape)
        for row, column in zip(*(index.tolist() for index in np.nonzero(is_tp)), strict=True):
            owner = int(np.searchsorted(starts, column, side="right")) - 1
            quality[row, column] = quality_of(
                once[owner], column - int(starts[owner]), matched_gt[row, column]
            )
        for row, area in enumerate(areas):
            keep = counted[row]
            matches[area][category] = MatchedDetections(
                scores[keep], is_tp[row, keep], quality[row, keep], num_gt[row]
            )
    return matches


def matches_by_name(
    matches: Mapping[str, Mapping[Any, MatchedDetections]], names: Mapping[Any, str]
) -> dict[str, dict[str, MatchedDetections]]:
    """Return matches of category ids by category name.

    Args:
        matches: by size range and category id.
        names: name of each category id.
    """
    return {
        area: {name: by_id[id_] for id_, name in names.items()} for area, by_id in matches.items()
    }


def threshold_index(thresholds: Sequence[float], tau: float) -> int | None:
    """Return the position of tau among IoU thresholds, None if it is not one of them."""
    equal = np.flatnonzero(np.abs(np.asarray(thresholds) - tau) < 1e-9)
    return int(equal[0]) if equal.size else None


def _grouped(images: Sequence[dict | None], size: int) -> Iterator[list[dict]]:
    """Cut a list into groups of one length, leaving out images without anything."""
    for start in range(0, len(images), size):
        yield [image for image in images[start : start + size] if image is not None]


def _within(image: dict | None, max_dets: int) -> dict | None:
    """Findings of an evaluation in an image, with the first detections alone.

    Matching goes by descending score, so those beyond have no part in the matches of these.
    """
    if image is None or len(image[_FIELDS.dt_scores]) <= max_dets:
        return image
    rows = {key: image[key][:, :max_dets] for key in (_FIELDS.dt_matches, _FIELDS.dt_ignore)}
    return {**image, **rows, _FIELDS.dt_scores: image[_FIELDS.dt_scores][:max_dets]}


def _match_at(coco_eval: COCOeval, tau: float) -> list[dict | None]:
    """Let pycocotools match at one more threshold, laid out as its own ``evalImgs``."""
    params = coco_eval.params
    iou_thrs = params.iouThrs
    params.iouThrs = np.array([tau])
    try:
        return [
            coco_eval.evaluateImg(image, category, area, params.maxDets[-1])
            for category in params.catIds
            for area in params.areaRng
            for image in params.imgIds
        ]
    finally:
        params.iouThrs = iou_thrs


def _check_keypoint_numbers(ground_truth: dict, results: Sequence[dict]) -> None:
    """COCO's OKS knows the spread of the 17 keypoints of a person, and of no others."""
    expected = 3 * 17
    for items, what in ((ground_truth["annotations"], "annotation"), (results, "detection")):
        for index, item in enumerate(items):
            if len(item["keypoints"]) != expected:
                raise ValueError(
                    f"Expected 17 keypoints (51 numbers) in {what} {index}, but got "
                    f"{len(item['keypoints'])} numbers; the OKS of COCO is defined for its 17 "
                    "keypoints of a person."
                )
