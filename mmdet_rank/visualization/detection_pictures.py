"""Pictures of detections beside the ground truth, drawn by MMDetection's own visualizer."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import mmdet_rank._stack  # noqa: F401

import cv2
import numpy as np
import torch
from mmdet.structures import DetDataSample
from mmdet.visualization import DetLocalVisualizer
from mmengine.structures import InstanceData
from pycocotools.coco import COCO

from mmdet_rank.files import written_whole

__all__ = ["draw_detections", "draw_sheet", "save_picture"]

_HEADER = 28


def draw_detections(
    ground_truth: COCO,
    detections: Iterable[Mapping],
    image_folder: str | Path,
    image_ids: Sequence[int],
    *,
    classes: Sequence[str],
    thresholds: Mapping[str, float],
    palette: Sequence[tuple[int, int, int]] | None = None,
    scale: int = 2,
) -> dict[int, np.ndarray]:
    """Draw images twice, side by side: with their ground truth, and with what was detected.

    Args:
        ground_truth: Annotations in COCO's format.
        detections: COCO's results: dicts of ``image_id``, ``category_id``, ``bbox``, ``score``.
        image_folder: Where the images lie.
        image_ids: Which images to draw.
        classes: Names of the classes to draw.
        thresholds: By class name, the score from which a detection is drawn, such as the
            LRP-optimal one; a class that has none (nothing of it was ever right) is left out.
        palette: Colour of each class. Default: MMDetection's.
        scale: How many times larger than the image to draw.

    Returns:
        (H * scale, 2 * W * scale, 3) uint8 RGB picture by image id.

    Raises:
        FileNotFoundError: If an image does not exist.
    """
    visualizer = DetLocalVisualizer(name="detection_pictures", line_width=2)
    visualizer.dataset_meta = dict(classes=tuple(classes), palette=palette)
    names = {number: category["name"] for number, category in ground_truth.cats.items()}
    shown: dict[int, list[Mapping]] = {number: [] for number in image_ids}
    for detection in detections:
        name = names[detection["category_id"]]
        threshold = thresholds.get(name, float("inf"))
        if detection["image_id"] in shown and detection["score"] >= threshold:
            shown[detection["image_id"]].append(detection)
    pictures = {}
    for number in image_ids:
        path = Path(image_folder) / ground_truth.imgs[number]["file_name"]
        image = cv2.imread(str(path))
        if image is None:
            raise FileNotFoundError(f"Expected an image to draw on, but {path} cannot be read.")
        image = cv2.resize(image[..., ::-1], None, fx=scale, fy=scale)
        sample = DetDataSample()
        sample.gt_instances = _instances(ground_truth.imgToAnns[number], names, classes, scale)
        # Ground truth has no score, and the visualizer would print one.
        del sample.gt_instances.scores
        sample.pred_instances = _instances(shown[number], names, classes, scale)
        visualizer.add_datasample(
            str(number), np.ascontiguousarray(image), sample, pred_score_thr=0.0
        )
        pictures[number] = visualizer.get_image()
    return pictures


def draw_sheet(pictures: Sequence[np.ndarray], columns: int = 2) -> np.ndarray:
    """Put pictures of `draw_detections`, all of one size, on one sheet with headings.

    Raises:
        ValueError: If there are no pictures or their sizes differ.
    """
    shapes = {picture.shape for picture in pictures}
    if len(shapes) != 1:
        raise ValueError(
            f"Expected pictures of one size for a sheet, but got {sorted(shapes) or 'none'}."
        )
    (shape,) = shapes
    gap = np.full((shape[0], 12, 3), 255, dtype=np.uint8)
    blank = np.full(shape, 255, dtype=np.uint8)
    rows = []
    for start in range(0, len(pictures), columns):
        row = list(pictures[start : start + columns])
        row += [blank] * (columns - len(row))
        rows.append(np.hstack([part for picture in row for part in (picture, gap)][:-1]))
    header = np.full((_HEADER, rows[0].shape[1], 3), 255, dtype=np.uint8)
    for column in range(min(columns, len(pictures))):
        left = column * (shape[1] + gap.shape[1])
        for text, x in (("ground truth", left), ("detections", left + shape[1] // 2)):
            cv2.putText(header, text, (x + 6, 20), cv2.FONT_HERSHEY_SIMPLEX, 0.6, (0, 0, 0), 1)
    return np.vstack([header, *rows])


def save_picture(path: str | Path, picture: np.ndarray) -> None:
    """Write an RGB picture as PNG, whole or not at all.

    Raises:
        OSError: If the picture cannot be encoded.
    """
    encoded, data = cv2.imencode(".png", picture[..., ::-1])
    if not encoded:
        raise OSError(f"OpenCV could not encode the picture for {path}.")
    with written_whole(path) as temporary:
        temporary.write_bytes(data.tobytes())


def _instances(
    records: Sequence[Mapping], names: Mapping[int, str], classes: Sequence[str], scale: int
) -> InstanceData:
    """COCO's annotations or results as MMDetection's instances, enlarged."""
    records = [record for record in records if names[record["category_id"]] in classes]
    boxes = torch.tensor([record["bbox"] for record in records], dtype=torch.float32)
    boxes = boxes.reshape(-1, 4)
    boxes[:, 2:] += boxes[:, :2]
    labels = [classes.index(names[record["category_id"]]) for record in records]
    instances = InstanceData(bboxes=boxes * scale, labels=torch.tensor(labels, dtype=torch.int64))
    instances.scores = torch.tensor([record.get("score", 1.0) for record in records])
    return instances
