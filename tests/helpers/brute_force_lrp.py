"""LRP Error by its definition: a matching written out by hand, and every subset by score.

Slow and simple; it shares nothing with the package or with pycocotools.
"""

from __future__ import annotations

import math

NOTHING = (1.0, math.nan, math.nan, 1.0, math.nan)
UNDEFINED = (math.nan,) * 5


def overlap(a, b, crowd=False):
    """IoU of two boxes [x, y, w, h]; for a crowd, the part of `a` that lies on it."""
    width = min(a[0] + a[2], b[0] + b[2]) - max(a[0], b[0])
    height = min(a[1] + a[3], b[1] + b[3]) - max(a[1], b[1])
    if width <= 0 or height <= 0:
        return 0.0
    both = width * height
    size = a[2] * a[3]
    return both / (size if crowd else size + b[2] * b[3] - both)


def match_image(objects, detections, tau, ignore_unmatched=False):
    """Match the detections of one category in one image, best score first.

    Returns the IoUs of true positives, and the number of false positives. Objects have `bbox` and
    `ignore` (1 for crowds), and each object that is not a crowd is found once.
    """
    free = [o for o in objects if not o["ignore"]]
    crowds = [o for o in objects if o["ignore"]]
    found, wrong = [], 0
    for detection in sorted(detections, key=lambda d: -d["score"]):
        best, best_iou = None, tau
        for candidate in free:
            iou = overlap(detection["bbox"], candidate["bbox"])
            if iou >= best_iou:
                best, best_iou = candidate, iou
        if best is not None:
            free.remove(best)
            found.append(best_iou)
        elif ignore_unmatched:
            continue
        elif all(overlap(detection["bbox"], c["bbox"], crowd=True) < tau for c in crowds):
            wrong += 1
    return found, wrong


def lrp_of(images, tau, threshold, num_gt):
    """LRP of the detections with score >= threshold: (lrp, loc, fp, fn).

    `images` is a list of (objects, detections, ignore_unmatched).
    """
    qualities, num_fp = [], 0
    for objects, detections, ignore_unmatched in images:
        kept = [d for d in detections if d["score"] >= threshold]
        found, wrong = match_image(objects, kept, tau, ignore_unmatched)
        qualities += found
        num_fp += wrong
    num_tp = len(qualities)
    num_fn = num_gt - num_tp
    loc = sum(1 - q for q in qualities)
    return (
        (loc / (1 - tau) + num_fp + num_fn) / (num_tp + num_fp + num_fn),
        loc / num_tp if num_tp else math.nan,
        num_fp / (num_tp + num_fp) if num_tp + num_fp else math.nan,
        num_fn / num_gt,
    )


def optimal(images, tau):
    """The least LRP over all thresholds: (lrp, loc, fp, fn, threshold)."""
    num_gt = sum(not o["ignore"] for objects, _, _ in images for o in objects)
    if num_gt == 0:
        return UNDEFINED
    best = NOTHING
    scores = {d["score"] for _, detections, _ in images for d in detections}
    for threshold in sorted(scores, reverse=True):
        value = lrp_of(images, tau, threshold, num_gt)
        if not math.isnan(value[1]) and (math.isnan(best[1]) or value[0] < best[0] - 1e-12):
            best = (*value, threshold)
    return best
