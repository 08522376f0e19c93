"""CIoU loss with the trade-off of its paper, for boxes."""

from __future__ import annotations

import torch
from mmdet.registry import MODELS
from torch import Tensor, nn
from torchvision.ops import complete_box_iou_loss

from .reduction import loss_reduction, reduced


@MODELS.register_module()
class CompleteIoULoss(nn.Module):
    """CIoU loss, ``1 - IoU + rho^2 / c^2 + alpha v``, with ``alpha = v / (1 - IoU + v)`` always.

    MMDetection's own ``CIoULoss`` sets alpha to 0 where the IoU is at most 0.5, so that boxes far
    from their targets are not trained on their aspect ratio. ``IoULoss(mode='linear')`` and
    ``GIoULoss`` of MMDetection are the formulas of the note "Precision Metrics as Loss Function
    in Object Detection" as they stand.

    Args:
        eps: Boxes are taken for at least so wide and high, in pixels; far from the origin for as
            much as the numbers can tell apart.
        reduction: "mean" over the boxes, "sum" or "none".
        loss_weight: Factor of the loss.

    Example:
        >>> boxes = torch.tensor([[0.0, 0.0, 4.0, 4.0]])
        >>> CompleteIoULoss()(boxes, torch.tensor([[0.0, 0.0, 2.0, 4.0]]))  # 0.5 + 1 / 32 + 0.0032
        tensor(0.5345)
    """

    def __init__(
        self, eps: float = 1e-6, reduction: str = "mean", loss_weight: float = 1.0
    ) -> None:
        super().__init__()
        self.eps = eps
        self.reduction = loss_reduction(reduction)
        self.loss_weight = loss_weight

    def forward(
        self,
        pred: Tensor,
        target: Tensor,
        weight: Tensor | None = None,
        avg_factor: float | None = None,
        reduction_override: str | None = None,
    ) -> Tensor:
        """MMDetection's call form.

        Args:
            pred: (n, 4) boxes x1, y1, x2, y2.
            target: (n, 4).
            weight: (n,) or (n, 4), whose mean counts.
            avg_factor: What the sum is divided by instead of the number of boxes.
            reduction_override: Instead of the module's reduction.

        Returns:
            Scalar, or (n,) for "none".
        """
        reduction = loss_reduction(self.reduction, reduction_override)
        if weight is not None and weight.dim() > 1:
            weight = weight.mean(-1)
        loss = complete_box_iou_loss(self._with_area(pred), self._with_area(target))
        return self.loss_weight * reduced(loss, weight, reduction, avg_factor)

    def _with_area(self, boxes: Tensor) -> Tensor:
        corner = boxes[:, :2]
        # Of a coordinate of 100 and 1e-6 the sum is 100 in float32.
        least = (corner.abs() * (4 * torch.finfo(boxes.dtype).eps)).clamp(min=self.eps)
        return torch.cat([corner, torch.maximum(boxes[:, 2:], corner + least)], dim=1)
