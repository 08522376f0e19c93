"""Stand-ins for `roi_align`, forward and backward.

Both write their result into a tensor of the caller, as mmcv's own do.
"""

from __future__ import annotations

import torch
from torch import Tensor

from mmdet_rank.mmcv_ops.precision import widen, without_autocast

MAX_POOL = 0


def roi_align_forward(
    input: Tensor,
    rois: Tensor,
    output: Tensor,
    argmax_y: Tensor,
    argmax_x: Tensor,
    aligned_height: int,
    aligned_width: int,
    spatial_scale: float,
    sampling_ratio: int,
    pool_mode: int,
    aligned: bool,
) -> None:
    """RoIAlign with average pooling, by torchvision's kernel.

    Args:
        input: (B, C, H, W) features.
        rois: (R, 5) batch index and x1, y1, x2, y2 in image pixels.
        output: (R, C, aligned_height, aligned_width), written.
        argmax_y: Only used for maximum pooling, left alone.
        argmax_x: Only used for maximum pooling, left alone.
        aligned_height: Rows of the output.
        aligned_width: Columns of the output.
        spatial_scale: Features per image pixel.
        sampling_ratio: Samples per bin and axis, 0 for as many as the bin has features.
        pool_mode: 1 for the average; 0, the maximum, has no stand-in.
        aligned: Shift by half a feature, as pixel centres demand.

    Raises:
        NotImplementedError: For maximum pooling.
    """
    _refuse_max_pool(pool_mode)
    features, boxes = widen(input, rois)
    with without_autocast(input):
        output.copy_(
            torch.ops.torchvision.roi_align(
                features,
                _finite(boxes),
                spatial_scale,
                aligned_height,
                aligned_width,
                max(sampling_ratio, 0),
                aligned,
            )
        )


def roi_align_backward(
    grad_output: Tensor,
    rois: Tensor,
    argmax_y: Tensor,
    argmax_x: Tensor,
    grad_input: Tensor,
    aligned_height: int,
    aligned_width: int,
    spatial_scale: float,
    sampling_ratio: int,
    pool_mode: int,
    aligned: bool,
) -> None:
    """Gradient of `roi_align_forward` to the features, written into `grad_input`.

    The other arguments are those of `roi_align_forward`.

    Raises:
        NotImplementedError: For maximum pooling.
    """
    _refuse_max_pool(pool_mode)
    grad, boxes = widen(grad_output, rois)
    with without_autocast(grad_output):
        grad_input.copy_(
            torch.ops.torchvision._roi_align_backward(
                grad,
                _finite(boxes),
                spatial_scale,
                aligned_height,
                aligned_width,
                *grad_input.shape,
                max(sampling_ratio, 0),
                aligned,
            )
        )


def _refuse_max_pool(pool_mode: int) -> None:
    if pool_mode == MAX_POOL:
        from mmdet_rank.mmcv_ops.table import missing_operator

        missing_operator("roi_align with pool_mode='max'")()


def _finite(boxes: Tensor) -> Tensor:
    """Boxes, and empty ones at 0 for those with a corner that is not a number.

    These, as a model that diverged predicts them, lead torchvision's kernel beside its memory.
    """
    return boxes.where(boxes.isfinite().all(dim=1, keepdim=True), 0.0)
