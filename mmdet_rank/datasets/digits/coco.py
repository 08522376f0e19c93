"""COCO-format records of composed images."""

from __future__ import annotations

import numpy as np
from pycocotools import mask as mask_utils

from mmdet_rank.datasets.digits.compose import Instance
from mmdet_rank.datasets.digits.metainfo import CLASSES

CATEGORIES = [
    {"id": label + 1, "name": name, "supercategory": "digit"} for label, name in enumerate(CLASSES)
]


def image_record(
    image_id: int, file_name: str, size: int, clip: tuple[int, int] | None = None
) -> dict:
    """COCO's entry for one image of ``size`` by ``size`` pixels.

    Args:
        image_id: Its number.
        file_name: Its file.
        size: Its height and width.
        clip: Numbers of its clip and, from 0, of the frame in it; they become ``video_id`` and
            ``frame_id``, as MMDetection's video data sets have them.
    """
    record = {"id": image_id, "file_name": file_name, "height": size, "width": size}
    return (
        record if clip is None else record | dict(zip(("video_id", "frame_id"), clip, strict=True))
    )


def annotation_record(annotation_id: int, image_id: int, instance: Instance) -> dict:
    """COCO's entry for one digit.

    The mask is run-length encoded, since a digit that another one crosses falls into several parts.
    ``scan`` (no field of COCO's) names the scan in scikit-learn's file; ``instance_id`` tells which
    digit of its clip it is.
    """
    track = {} if instance.track is None else {"instance_id": instance.track}
    rle = mask_utils.encode(np.asfortranarray(instance.mask, dtype=np.uint8))
    return {
        "id": annotation_id,
        "image_id": image_id,
        "category_id": instance.label + 1,
        "bbox": [float(number) for number in instance.box],
        "area": float(instance.mask.sum()),
        "segmentation": {"size": rle["size"], "counts": rle["counts"].decode("ascii")},
        "iscrowd": 0,
        "scan": instance.scan,
        **track,
    }


def document(info: dict, images: list[dict], annotations: list[dict] | None) -> dict:
    """A whole COCO file; without annotations, one like COCO's ``image_info`` for test-dev."""
    content = {"info": info, "licenses": [], "images": images, "categories": CATEGORIES}
    if annotations is not None:
        content["annotations"] = annotations
    return content
