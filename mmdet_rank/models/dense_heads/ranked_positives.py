"""What a box head that ranks hands to the mask head beside it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from mmengine.structures import InstanceData
from torch import Tensor

from mmdet_rank.criteria.localization_task import LocalizationTask


@dataclass
class MaskBalance:
    """What the loss of the masks of a batch is weighed and balanced by.

    Attributes:
        task: Balance of the masks.
        cls_loss: Scalar ranking loss of the box head.
        logits: (A, C) what that was computed on.
    """

    task: LocalizationTask
    cls_loss: Tensor
    logits: Tensor

    def __call__(self, errors: Tensor, weights: Tensor, outputs: Tensor) -> tuple[Tensor, Tensor]:
        """Balanced loss of masks, and its factor; see `LocalizationTask`."""
        return self.task(errors, weights, self.cls_loss, self.logits, outputs)


class RankedPositives(list[InstanceData]):
    """Positives of each image, and what the loss of their masks is balanced by.

    MMDetection's one-stage instance segmentors pass ``bbox_head.get_positive_infos()``, a list
    with one entry per image, on to ``mask_head.loss`` as it is. This is such a list.

    Args:
        positives: Of each image ``pos_assigned_gt_inds`` (n,), ``pos_inds`` (n,), ``coeffs``
            (n, protos), ``bboxes`` (n, 4) of the objects, and ``weights`` (n,), the importance
            of each mask.
        balance: What their loss is balanced by.
    """

    def __init__(self, positives: Iterable[InstanceData], balance: MaskBalance) -> None:
        super().__init__(positives)
        self.balance = balance
