"""The detectors of `mmdet-rank train DATA`, by the names of their configs."""

from __future__ import annotations

import difflib
from dataclasses import dataclass
from pathlib import Path

from mmdet_rank.cli.errors import UserError

BASES = ("coco", "imagenet", "none")
_LITE = "_base_/lite/{}_lite0_fpn.py"
#: Families: MMDetection's config of the stock detector for COCO, which its metafile has weights of.
_FAMILIES = {
    "atss": "atss/atss_r50_fpn_1x_coco.py",
    "retinanet": "retinanet/retinanet_r50_fpn_1x_coco.py",
    "faster-rcnn": "faster_rcnn/faster-rcnn_r50_fpn_1x_coco.py",
    "mask-rcnn": "mask_rcnn/mask-rcnn_r50_fpn_1x_coco.py",
}
#: Ranked detectors: folder and name of their config for COCO.
_RANKED = {
    "rs-atss": "rank_sort/rs-atss_r50_fpn_4xb4-1x_coco.py",
    "alrp-atss": "alrp/alrp-atss_r50_fpn_4xb4-1x_coco.py",
    "ap-atss": "ap_loss/ap-atss_r50_fpn_4xb4-1x_coco.py",
    "rs-retinanet": "rank_sort/rs-retinanet_r50_fpn_4xb4-1x_coco.py",
    "rs-faster-rcnn": "rank_sort/rs-faster-rcnn_r50_fpn_4xb4-1x_coco.py",
    "rs-mask-rcnn": "rank_sort/rs-mask-rcnn_r50_fpn_4xb4-1x_coco.py",
}
_YOLO_SIZES = "nsmlx"


@dataclass(frozen=True)
class Detector:
    """A detector that can be trained on one's own data.

    Attributes:
        name: By which it is asked for.
        small: Config, in this package, of the model for small data.
        large: Config of the model for COCO, of this package or, with ``mmdet::``, of MMDetection.
        stock: MMDetection's config whose published weights ``large`` can start from.
        masks: Whether it needs and predicts masks.
        pretrained: Whether ``small`` starts from ImageNet weights.
    """

    name: str
    small: str
    large: str
    stock: str | None
    masks: bool = False
    pretrained: bool = True


def _detectors() -> dict[str, Detector]:
    found = {}
    for name, large in [*_RANKED.items(), *((f, f"mmdet::{c}") for f, c in _FAMILIES.items())]:
        family = next(family for family in _FAMILIES if name.endswith(family))
        found[name] = Detector(
            name, _LITE.format(name), large, _FAMILIES[family], masks=family == "mask-rcnn"
        )
    for size in _YOLO_SIZES:
        for prefix in ("rs-", ""):
            config = f"yolov8/{prefix}yolov8_{size}_8xb16-500e_coco.py"
            name = f"{prefix}yolov8{size}"
            found[name] = Detector(name, config, config, None, pretrained=False)
    return found


DETECTORS = _detectors()
DEFAULT = "rs-atss"


def find_detector(name: str) -> Detector:
    """Find a detector by its name.

    Raises:
        UserError: There is none of that name.
    """
    if name not in DETECTORS:
        close = difflib.get_close_matches(name, DETECTORS, n=1)
        hint = f"do you mean {close[0]}?" if close else f"choose among {', '.join(DETECTORS)}"
        raise UserError(f"Expected the name of a detector, but got {name!r}; {hint}")
    return DETECTORS[name]


def check_base(detector: Detector, base: str | None) -> str:
    """Choose what training starts from.

    Args:
        detector: What is trained.
        base: "coco", "imagenet", "none", the path of a checkpoint, or None for the best that
            needs no download.

    Returns:
        One of `BASES`, or a path.

    Raises:
        UserError: The detector has no such weights, or the file does not exist.
    """
    if base is None:
        return "imagenet" if detector.pretrained else "none"
    if base == "imagenet" and not detector.pretrained:
        raise UserError(
            f"Expected --base none or a checkpoint for {detector.name}, but got imagenet, of which "
            "it has no weights; leave --base out to train from random weights"
        )
    if base == "coco" and detector.stock is None:
        raise UserError(
            f"Expected --base none or a checkpoint for {detector.name}, but got coco, of which "
            "MMDetection publishes no weights; convert a published checkpoint by `mmdet-rank "
            "convert`, and give its path"
        )
    if base not in BASES and not Path(base).is_file():
        raise UserError(
            f"Expected --base coco, imagenet, none or a checkpoint, but {base} does not exist; "
            "check the path"
        )
    return base
