"""YOLOv8's numbered layers: which number is which part.

Of the implementation that YOLOv8 was introduced with nothing is used but the names of its tensors.
"""

from __future__ import annotations

import re

#: Parts by the number of their layer; those in between are without tensors.
PARTS = {
    0: "backbone.stem",
    1: "backbone.stage1.0",
    2: "backbone.stage1.1",
    3: "backbone.stage2.0",
    4: "backbone.stage2.1",
    5: "backbone.stage3.0",
    6: "backbone.stage3.1",
    7: "backbone.stage4.0",
    8: "backbone.stage4.1",
    9: "backbone.stage4.2",
    12: "neck.top_down_layers.0",
    15: "neck.top_down_layers.1",
    16: "neck.downsample_layers.0",
    18: "neck.bottom_up_layers.0",
    19: "neck.downsample_layers.1",
    21: "neck.bottom_up_layers.1",
    22: "bbox_head",
}
POOLING, HEAD = 9, 22

#: Names within a C2f block, within the pooling and within the head.
IN_BLOCK = (
    (r"^cv1\.", "main_conv."),
    (r"^cv2\.", "final_conv."),
    (r"^m\.(\d+)\.cv(\d)\.", r"blocks.\1.conv\2."),
)
IN_POOLING = ((r"^cv(\d)\.", r"conv\1."),)
IN_HEAD = (
    (r"^bbox_head\.cv2\.", "bbox_head.head_module.reg_preds."),
    (r"^bbox_head\.cv3\.", "bbox_head.head_module.cls_preds."),
    (r"^bbox_head\.dfl\.", "bbox_head.head_module.dfl."),
    (r"^bbox_head\.cv4\.", "bbox_head.coeff_preds."),
    (r"^bbox_head\.proto\.cv1\.", "mask_head.protonet.0."),
    (r"^bbox_head\.proto\.upsample\.", "mask_head.protonet.1."),
    (r"^bbox_head\.proto\.cv2\.", "mask_head.protonet.2."),
    (r"^bbox_head\.proto\.cv3\.", "mask_head.protonet.3."),
)


def rename_layer(name: str) -> str:
    """Name here of a tensor of a numbered layer of YOLOv8; other names as they are.

    Example:
        >>> rename_layer("model.22.cv3.1.2.bias")
        'bbox_head.head_module.cls_preds.1.2.bias'
        >>> rename_layer("backbone.stem.conv.weight")
        'backbone.stem.conv.weight'
    """
    numbered = re.match(r"^(?:model\.)+(\d+)\.(.+)$", name)
    if numbered is None or int(numbered[1]) not in PARTS:
        return name
    number, rest = int(numbered[1]), numbered[2]
    if number == HEAD:
        return _replaced(f"{PARTS[number]}.{rest}", IN_HEAD)
    return f"{PARTS[number]}.{_replaced(rest, IN_POOLING if number == POOLING else IN_BLOCK)}"


def _replaced(name: str, patterns: tuple[tuple[str, str], ...]) -> str:
    for pattern, replacement in patterns:
        name = re.sub(pattern, replacement, name)
    return name
