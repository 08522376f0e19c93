"""Names of parameters in the published checkpoints, and in MMDetection 3.

Most names have not changed since MMDetection 2.0: backbones, necks, and the heads of ATSS, PAA,
RetinaNet, RPN, R-CNN and YOLACT. What did change:

- SOLOv2 with RS Loss was published on MMDetection 1.0, where SOLO's head is a ``bbox_head`` with
  a ``mask_feat_head`` beside it; here it is one ``mask_head``, as in MMDetection 3.
- FoveaBox with aLRP Loss ends in ``fovea_cls`` and ``fovea_reg``, now ``conv_cls`` and
  ``conv_reg``.
- YOLACT's ``segm_head`` is now ``mask_head.segm_branch``, and gone where the loss ranks.
- Offsets of deformable convolutions stood beside the convolution in MMDetection 1.

YOLOv8's names here are those of mmyolo. Where YOLOv8 was introduced, layers are numbered
(``model.0.conv.weight``); which number is which part is in `yolov8_layers`.
"""

from __future__ import annotations

import re
from typing import NamedTuple

from .yolov8_layers import rename_layer

#: Patterns of old names and what they are replaced by, applied one after the other.
RENAMED = (
    (r"^module\.", ""),
    (r"\.conv(\d)_offset\.", r".conv\1.conv_offset."),
    (r"^bbox_head\.fovea_(cls|reg)\.", r"bbox_head.conv_\1."),
    (r"^bbox_head\.cate_convs\.", "mask_head.cls_convs."),
    (r"^bbox_head\.kernel_convs\.", "mask_head.kernel_convs."),
    (r"^bbox_head\.solo_cate\.", "mask_head.conv_cls."),
    (r"^bbox_head\.solo_kernel\.", "mask_head.conv_kernel."),
    (r"^mask_feat_head\.conv_pred\.0\.", "mask_head.mask_feature_head.conv_pred."),
    (r"^mask_feat_head\.", "mask_head.mask_feature_head."),
    (r"^segm_head\.", "mask_head.segm_branch."),
)

#: Patterns of new names that a model without the part may do without, and which part it is.
AUXILIARY = (
    (r"^mask_head\.segm_branch\.", "YOLACT's semantic segmentation branch"),
    (r"^bbox_head\.atss_centerness\.", "ATSS's centerness branch"),
    (r"^bbox_head\.atss_iou\.", "PAA's IoU branch"),
    (r"(^|\.)(anchor_generator|prior_generator)\.", "stored anchors"),
    (r"(^|\.)(loss_\w+|aLRP_Loss)\.", "state of a loss"),
    (r"^bbox_head\.head_module\.(dfl\.conv\.weight|proj)$", "stored distances of the bins"),
)


class Renamed(NamedTuple):
    """A name of today, and which part of a detector it belongs to if that may be missing."""

    name: str
    auxiliary: str | None


def rename(name: str) -> Renamed:
    """Name in MMDetection 3 of a parameter of an old checkpoint.

    Example:
        >>> rename("bbox_head.solo_cate.weight").name
        'mask_head.conv_cls.weight'
        >>> rename("segm_head.segm_conv.bias")
        Renamed(name='mask_head.segm_branch.segm_conv.bias',
                auxiliary="YOLACT's semantic segmentation branch")
        >>> rename("model.2.m.0.cv1.conv.weight").name
        'backbone.stage1.1.blocks.0.conv1.conv.weight'
    """
    for pattern, replacement in RENAMED:
        name = re.sub(pattern, replacement, name)
    name = rename_layer(name)
    for pattern, part in AUXILIARY:
        if re.search(pattern, name):
            return Renamed(name, part)
    return Renamed(name, None)
