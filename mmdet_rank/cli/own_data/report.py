"""The page of a training: curve, figures, classes, best and worst images, what comes next."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from mmengine.config import Config

from mmdet_rank.cli.own_data.config import TRAINING
from mmdet_rank.cli.own_data.plan import MAX_DETS
from mmdet_rank.cli.own_data.training import EVALUATION
from mmdet_rank.evaluation.image_errors import image_errors
from mmdet_rank.evaluation.report import percent
from mmdet_rank.files import load_json
from mmdet_rank.visualization.error_pictures import draw_errors
from mmdet_rank.visualization.lrp_components import draw_components
from mmdet_rank.visualization.page import Page
from mmdet_rank.visualization.training_curve import (
    draw_training_curve,
    read_scalars,
    still_learning,
)

_NUM_IMAGES = 3
_FIGURES = ("AP", "AP50", "oLRP", "oLRP_Loc", "oLRP_FP", "oLRP_FN")


def write_report(
    folder: Path,
    *,
    title: str,
    pictures: Path,
    report: dict,
    iou_type: str,
    choices: Sequence[tuple[str, str, str]],
    read: str,
    commands: dict[str, str],
    advice: str | None = None,
) -> Path:
    """Write ``report.html`` into the folder of a training.

    Args:
        folder: With ``config.py``, ``annotations/``, ``evaluation/`` and MMEngine's log.
        title: Of the page, such as the detector's name.
        pictures: Folder that the annotation files name pictures in.
        report: The LRP report.
        iou_type: Of the report: "bbox" or "segm".
        choices: Settings with their values and reasons.
        read: What was read and what was left out, as `Conversion.describe` says.
        commands: What comes next, by what it does.
        advice: A sentence on how the training ended, if there is one.

    Returns:
        The path of the page.
    """
    page = Page(
        title,
        f"oLRP {percent(report['oLRP'])}, AP {percent(report['AP'])}, AP50 "
        f"{percent(report['AP50'])} on the validation pictures, in percent"
        f"{' (masks)' if iou_type == 'segm' else ''}",
    )
    page.note(
        "LRP Error counts how badly objects are localised (Loc), false detections (FP) and missed "
        "objects (FN) at the best score threshold of each class. It is an error: lower is better. "
        "For AP, more is better.",
        kind="quiet",
    )
    page.heading("Classes")
    page.table(*_class_table(report))
    page.figures((draw_components(report), "LRP Error of each class, and what it is made of"))
    page.heading("Training")
    entries = read_scalars(folder / TRAINING)
    page.figures((draw_training_curve(entries), "Losses, and figures on the validation pictures"))
    if advice:
        page.note(advice)
    page.heading("Best and worst pictures")
    _add_pictures(page, folder, pictures, report, iou_type)
    page.heading("What comes next")
    for what, command in commands.items():
        page.paragraph(f"{what}: `{command}`")
    page.heading("Data and settings")
    for line in read.splitlines():
        page.paragraph(line)
    page.table(["setting", "value", "reason"], choices, words=True)
    path = folder / "report.html"
    page.write(path)
    return path


def training_advice(folder: Path, iou_type: str) -> str | None:
    """Say what to do about a training that ended too early.

    Args:
        folder: Of the training, as for `write_report`.
        iou_type: What is measured: "bbox" or "segm".

    Returns:
        A sentence; None for a training whose curve is flat at its end.
    """
    entries = read_scalars(folder / TRAINING)
    steep = still_learning(entries, iou_type)
    if steep is None:
        return None
    twice = 2 * max(entry["step"] for entry in entries)
    return (
        f"Validation {steep}: a longer training may give a better detector. Add --max-iters "
        f"{twice} to the same command, with another --work-dir."
    )


def _class_table(report: dict) -> tuple[list[str], list[list[str]]]:
    header = ["class", "objects", *_FIGURES, "threshold"]
    extra = [key for key in ("precision", "recall", "F1") if key in report]
    rows = []
    for name, values in report["per_class"].items():
        threshold = values["threshold"]
        rows.append(
            [
                name,
                values["num_gt"],
                *(percent(values[key]) for key in _FIGURES),
                "-" if threshold is None else f"{threshold:.3f}",
                *(percent(values.get(key)) for key in extra),
            ]
        )
    means = ["mean", "", *(percent(report[key]) for key in _FIGURES), ""]
    return header + extra, [*rows, means + [percent(report[key]) for key in extra]]


def _add_pictures(page: Page, folder: Path, pictures: Path, report: dict, iou_type: str) -> None:
    truth = load_json(folder / "annotations" / "val.json")
    detections = load_json(folder / EVALUATION / f"detections.{iou_type}.json")
    if iou_type == "segm":
        # Drawn as boxes, which the results of masks do not have.
        boxes = load_json(folder / EVALUATION / "detections.bbox.json")
        detections = [d | {"bbox": b["bbox"]} for d, b in zip(detections, boxes, strict=True)]
    thresholds = {
        name: values["threshold"]
        for name, values in report["per_class"].items()
        if values["threshold"] is not None
    }
    evaluator = Config.fromfile(folder / "config.py").val_evaluator
    limit = evaluator.get("max_dets", MAX_DETS)
    errors = image_errors(truth, detections, thresholds, iou_type, max_dets=limit)
    iou = "the IoU of its mask, within its box" if iou_type == "segm" else "its IoU"
    page.paragraph(
        f"Detections above the threshold of their class. Green: right, with {iou}; orange: false, "
        "with its score; yellow and dashed: missed."
    )
    counted = [image for image in truth["images"] if _has_anything(errors[image["id"]])]
    ranked = sorted(counted, key=lambda image: errors[image["id"]].lrp)
    names = {category["id"]: category["name"] for category in truth["categories"]}
    number = min(_NUM_IMAGES, (len(ranked) + 1) // 2)
    for label, images in (("Best", ranked[:number]), ("Worst", ranked[number:][-number:][::-1])):
        drawn = []
        for image in images:
            found = errors[image["id"]]
            caption = (
                f"{label}: {image['file_name']}, LRP {percent(found.lrp)}: {len(found.right)} "
                f"right, {len(found.false)} false, {len(found.missed)} missed"
            )
            path = pictures / image["file_name"]
            drawn.append((draw_errors(path, found, names), caption))
        if drawn:
            page.figures(*drawn)


def _has_anything(errors) -> bool:
    return bool(errors.right or errors.false or errors.missed)
