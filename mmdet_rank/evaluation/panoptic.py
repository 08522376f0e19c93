"""LRP Error and panoptic quality of panoptic segmentation, from pairs of PNG files.

A panoptic PNG holds the id of a segment in every pixel, as ``R + 256 G + 65536 B``; the JSON file
beside it tells the category of each segment. Segment id 0 is void: pixels without ground truth, or
without a prediction.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

from mmdet_rank.annotations.panoptic import check_panoptic

from .lrp import (
    EQUAL_IMPORTANCE,
    check_importance,
    check_taus,
    lrp_from_counts,
    mean_defined,
)
from .quality import panoptic_quality
from .report import defined

__all__ = ["evaluate_panoptic", "panoptic_counts", "panoptic_report", "read_panoptic_png"]

VOID = 0
# Two segments of a partition cannot both overlap one of another by more than half.
PQ_TAU = 0.5
_ERRORS = ("LRP", "LRP_Loc", "LRP_FP", "LRP_FN")


def evaluate_panoptic(
    ground_truth: dict,
    results: dict,
    gt_folder: str | Path,
    dt_folder: str | Path,
    *,
    tau: float | Sequence[float] = 0.5,
    importance: Sequence[float] = EQUAL_IMPORTANCE,
    progress: Callable[..., Any] | None = None,
    names: tuple[str, str] = ("ground truth", "results"),
) -> dict:
    """Evaluate COCO panoptic results; return the panoptic LRP report.

    Args:
        ground_truth: content of a COCO panoptic annotation file; categories have ``isthing``.
        results: content of a COCO panoptic result file, with ``annotations``.
        gt_folder: folder of the PNG files that ``ground_truth`` names.
        dt_folder: folder of the PNG files that ``results`` names.
        tau: IoU above which segments match for LRP, in [0.5, 1), or several, the first of which is
            that of all figures but ``over_tau``; PQ always uses 0.5.
        importance: weights of true positives, false positives and false negatives in LRP (thesis
            Eq. 5.9); all else stays as it is.
        progress: makes a progress bar, as ``tqdm.tqdm`` does.
        names: what to call the two files in messages.

    Raises:
        FileNotFoundError: when a PNG file is missing.
        ValueError: when a file is not what it should be; the message names the image.
    """
    taus = check_taus(tau)
    for level in taus:
        check_panoptic_tau(level)
    check_importance(importance)
    truth = check_panoptic(ground_truth, names[0])
    predictions = check_panoptic(results, names[1], results=True).images
    images = truth.images.keys()
    unknown = [image for image in predictions if image not in images]
    if unknown:
        raise ValueError(
            f"Expected one entry for each image of the ground truth in {names[1]}, but got images "
            f"that it does not have: {unknown[:5]}; check that both files belong together."
        )
    missing = sorted(map(str, images - predictions.keys()))
    if missing:
        raise ValueError(
            f"Expected a prediction for every image, but {names[1]} has none for {len(missing)} "
            f"of {len(images)}: {', '.join(missing[:5])}; run the detector on all images."
        )
    order = {category["id"]: index for index, category in enumerate(truth.categories)}
    counts = {level: np.zeros((len(order), 4)) for level in {*taus, PQ_TAU}}
    pairs = list(truth.images.values())
    for annotation in pairs if progress is None else progress(pairs):
        prediction = predictions[annotation["image_id"]]
        gt_map = read_panoptic_png(Path(gt_folder) / annotation["file_name"])
        dt_map = read_panoptic_png(Path(dt_folder) / prediction["file_name"])
        where = f"image {annotation['image_id']}"
        for level, total in counts.items():
            total += panoptic_counts(
                gt_map,
                annotation["segments_info"],
                dt_map,
                prediction["segments_info"],
                order,
                tau=level,
                where=where,
            )
    reports = [
        panoptic_report(
            counts[level], counts[PQ_TAU], truth.categories, tau=level, importance=importance
        )
        for level in taus
    ]
    if len(taus) > 1:
        reports[0]["over_tau"] = [
            {"tau": level} | {key: report["all"][key] for key in _ERRORS}
            for level, report in zip(taus, reports, strict=True)
        ]
    return reports[0]


def panoptic_counts(
    gt_map: NDArray[np.integer],
    gt_segments: Sequence[dict],
    dt_map: NDArray[np.integer],
    dt_segments: Sequence[dict],
    order: dict[Any, int],
    *,
    tau: float = 0.5,
    where: str = "an image",
) -> NDArray[np.float64]:
    """Count matched and unmatched segments of one image, by the rules of COCO's panoptic task.

    A prediction matches an object of its category when their IoU, leaving out pixels that are void
    in the ground truth, is above ``tau``. A prediction that matches nothing is ignored when more
    than half of it lies on void or on crowds of its category; crowds are not objects to find.

    Args:
        gt_map: (H, W) segment ids of the ground truth.
        gt_segments: for each segment ``id``, ``category_id`` and perhaps ``iscrowd``.
        dt_map: (H, W) segment ids of the prediction.
        dt_segments: for each segment ``id`` and ``category_id``.
        order: row of each category id in the result.
        tau: IoU above which segments match, in [0.5, 1), where matches are unique.
        where: name of the image, for messages.

    Returns:
        (C, 4) float64: true positives, false positives, false negatives, and the sum of the IoUs
        of the true positives, by category.

    Raises:
        ValueError: when the maps differ in size, or maps and segments do not belong together.
    """
    if gt_map.shape != dt_map.shape:
        raise ValueError(
            f"Expected a prediction of the size {gt_map.shape} of the ground truth in {where}, but "
            f"got {dt_map.shape}; resize predictions to the original image."
        )
    gts = _segments(gt_segments, order, f"the ground truth of {where}")
    dts = _segments(dt_segments, order, f"the prediction of {where}")
    pairs, sizes = np.unique(
        (gt_map.astype(np.int64) << 32) + dt_map.astype(np.int64), return_counts=True
    )
    overlap = {
        (pair >> 32, pair & 0xFFFFFFFF): size
        for pair, size in zip(pairs.tolist(), sizes.tolist(), strict=True)
    }
    gt_area: dict[int, int] = {}
    dt_area: dict[int, int] = {}
    for (gt_id, dt_id), size in overlap.items():
        gt_area[gt_id] = gt_area.get(gt_id, 0) + size
        dt_area[dt_id] = dt_area.get(dt_id, 0) + size
    _check_segments(gt_area, gts, dt_area, dts, where)

    counts = np.zeros((len(order), 4))
    found: set[int] = set()
    used: set[int] = set()
    on_crowd: dict[int, int] = {}
    for (gt_id, dt_id), size in overlap.items():
        if gt_id not in gts or dt_id not in dts or _category(gts[gt_id]) != _category(dts[dt_id]):
            continue
        if gts[gt_id].get("iscrowd"):
            on_crowd[dt_id] = on_crowd.get(dt_id, 0) + size
            continue
        union = gt_area[gt_id] + dt_area[dt_id] - size - overlap.get((VOID, dt_id), 0)
        if size / union > tau:
            counts[order[_category(gts[gt_id])]] += (1, 0, 0, size / union)
            found.add(gt_id)
            used.add(dt_id)
    for gt_id, segment in gts.items():
        if gt_id not in found and not segment.get("iscrowd"):
            counts[order[_category(segment)], 2] += 1
    for dt_id, segment in dts.items():
        ignored = overlap.get((VOID, dt_id), 0) + on_crowd.get(dt_id, 0)
        if dt_id not in used and ignored <= dt_area[dt_id] / 2:
            counts[order[_category(segment)], 1] += 1
    return counts


def panoptic_report(
    counts: NDArray[np.float64],
    pq_counts: NDArray[np.float64],
    categories: Sequence[dict],
    *,
    tau: float = 0.5,
    importance: Sequence[float] = EQUAL_IMPORTANCE,
) -> dict:
    """Build the panoptic LRP report from the counts of all images.

    A category takes part when there is a segment of it in the ground truth or a false positive, as
    in COCO's panoptic quality. All its figures are in [0, 1], None where undefined.

    Args:
        counts: (C, 4) sum of :func:`panoptic_counts` at ``tau``.
        pq_counts: the same at 0.5, for PQ, SQ and RQ.
        categories: the C categories with ``name`` and ``isthing``.
        tau: IoU above which segments matched.
        importance: as in :func:`evaluate_panoptic`; the report has it where it is not all 1.
    """
    per_class = {}
    is_thing = {}
    for row, pq_row, category in zip(counts, pq_counts, categories, strict=True):
        num_tp, num_fp, num_fn, iou_sum = row.tolist()
        if num_tp + num_fp + num_fn == 0:
            continue
        loc_sum = max(num_tp - iou_sum, 0.0)
        error = lrp_from_counts(num_tp, num_fp, num_fn, loc_sum, tau=tau, importance=importance)
        quality = panoptic_quality(*pq_row.tolist())
        values: dict[str, Any]
        values = dict(zip(_ERRORS, error, strict=True))
        values |= dict(zip(("PQ", "SQ", "RQ"), quality, strict=True))
        per_class[category["name"]] = values
        is_thing[category["name"]] = bool(category["isthing"])
    groups = {
        "all": list(per_class),
        "things": [name for name in per_class if is_thing[name]],
        "stuff": [name for name in per_class if not is_thing[name]],
    }
    keys = (*_ERRORS, "PQ", "SQ", "RQ")
    report: dict = {"tau": tau}
    if tuple(importance) != EQUAL_IMPORTANCE:
        report["importance"] = list(importance)
    for group, members in groups.items():
        report[group] = {
            key: defined(mean_defined(per_class[name][key] for name in members)) for key in keys
        }
    report["per_class"] = {
        name: {key: defined(value) for key, value in values.items()}
        for name, values in per_class.items()
    }
    report["is_thing"] = is_thing
    return report


def read_panoptic_png(path: str | Path) -> NDArray[np.int64]:
    """Read a panoptic PNG as an (H, W) map of segment ids.

    Raises:
        FileNotFoundError: when there is no such file.
        ValueError: when it is not a picture with three channels of 8 bits.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(
            f"Expected a panoptic PNG, but there is no file {path}; check the path."
        )
    try:
        with Image.open(path) as image:
            mode, pixels = image.mode, np.asarray(image, dtype=np.int64)
    except (UnidentifiedImageError, OSError) as error:
        raise ValueError(
            f"Expected a panoptic PNG in {path}, but it cannot be read: {error}."
        ) from None
    if mode not in ("RGB", "RGBA"):
        raise ValueError(
            f"Expected a panoptic PNG with red, green and blue in {path}, but got the mode {mode}; "
            "a segment's id is R + 256 G + 65536 B."
        )
    return pixels[..., 0] + 256 * pixels[..., 1] + 65536 * pixels[..., 2]


def check_panoptic_tau(tau: float) -> None:
    """Raise ValueError unless segments can match one other at most at this IoU."""
    if not 0.5 <= tau < 1:
        raise ValueError(
            f"Expected tau in [0.5, 1) for panoptic segmentation, but got {tau}; below 0.5 a "
            "segment could match several."
        )


def _segments(segments: Sequence[dict], order: dict, where: str) -> dict[int, dict]:
    found = {}
    for segment in segments:
        if not isinstance(segment, dict) or not isinstance(segment.get("id"), int):
            raise ValueError(f"Expected segments with an 'id' in {where}, but got {segment!r}.")
        if segment["id"] in found:
            raise ValueError(
                f"Expected distinct segments in {where}, but {segment['id']} is twice."
            )
        if segment.get("category_id") not in order:
            raise ValueError(
                f"Expected a category of the ground truth for segment {segment['id']} in {where} "
                f"but got {segment.get('category_id')!r}."
            )
        found[segment["id"]] = segment
    return found


def _check_segments(gt_area: dict, gts: dict, dt_area: dict, dts: dict, where: str) -> None:
    """Raise ValueError when a map has segments that its list does not have, or the reverse."""
    for areas, segments, what in (
        (gt_area, gts, "ground truth"),
        (dt_area, dts, "prediction"),
    ):
        stray = [segment for segment in areas if segment != VOID and segment not in segments]
        # An object hidden from the map cannot be found; a prediction must be somewhere.
        absent = [s for s in segments if s not in areas] if what == "prediction" else []
        if stray or absent:
            raise ValueError(
                f"Expected the same segments in the PNG and the JSON of the {what} of {where}, but "
                + (
                    f"{stray[:5]} are in the PNG alone."
                    if stray
                    else f"{absent[:5]} in JSON alone."
                )
            )


def _category(segment: dict) -> Any:
    return segment["category_id"]
