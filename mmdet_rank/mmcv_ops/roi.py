"""Stand-ins for `roi_align` and `roi_pool`, forward and backward.

All write their result into a tensor of the caller, as mmcv's own do.
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


def roi_pool_forward(
    input: Tensor,
    rois: Tensor,
    output: Tensor,
    argmax: Tensor,
    pooled_height: int,
    pooled_width: int,
    spatial_scale: float,
) -> None:
    """RoIPool: the maximum of the features in each bin.

    mmcv does not round the corners of a RoI, and torchvision does, so torchvision's kernel would
    give other bins; this is plain torch.

    Args:
        input: (B, C, H, W) features.
        rois: (R, 5) batch index and x1, y1, x2, y2 in image pixels, x2 and y2 inside the box.
        output: (R, C, pooled_height, pooled_width), written; 0 for an empty bin.
        argmax: As `output`, int32, written: y * W + x of the maximum, -1 for an empty bin.
        pooled_height: Rows of the output.
        pooled_width: Columns of the output.
        spatial_scale: Features per image pixel.
    """
    output.zero_()
    argmax.fill_(-1)
    if rois.shape[0] == 0:
        return
    height, width = input.shape[2:]
    (boxes,) = widen(rois)
    start = boxes[:, 1:3] * spatial_scale
    size = (boxes[:, 3:5] + 1) * spatial_scale - start
    x_low, x_high = _bin_edges(start[:, 0], size[:, 0], pooled_width, width)
    y_low, y_high = _bin_edges(start[:, 1], size[:, 1], pooled_height, height)
    malformed = (size <= 0).any(dim=1)
    x_high = torch.where(malformed[:, None], x_low, x_high)

    batch = boxes[:, 0].long()[:, None, None]
    best = torch.full_like(output, -torch.inf)
    # Each step compares one cell of every bin; the row-major order decides between equal maxima.
    for dy in range(int((y_high - y_low).max())):
        y = (y_low + dy).clamp(max=height - 1)[:, :, None]
        inside_y = (y_low + dy < y_high)[:, :, None]
        for dx in range(int((x_high - x_low).max())):
            x = (x_low + dx).clamp(max=width - 1)[:, None, :]
            inside = inside_y & (x_low + dx < x_high)[:, None, :]
            # Advanced indices around a slice put the channels last.
            value = input[batch, :, y, x].permute(0, 3, 1, 2)
            better = inside[:, None] & (value > best)
            torch.where(better, value, best, out=best)
            argmax.copy_(torch.where(better, (y * width + x)[:, None].to(argmax.dtype), argmax))
    output.copy_(torch.where(argmax >= 0, best, output))


def roi_pool_backward(
    grad_output: Tensor,
    rois: Tensor,
    argmax: Tensor,
    grad_input: Tensor,
    pooled_height: int,
    pooled_width: int,
    spatial_scale: float,
) -> None:
    """Gradient of `roi_pool_forward` to the features, written into `grad_input`.

    Args:
        grad_output: (R, C, pooled_height, pooled_width) gradient of the output.
        rois: (R, 5) as in the forward pass.
        argmax: What the forward pass wrote.
        grad_input: (B, C, H, W), written.
        pooled_height: Rows of the output.
        pooled_width: Columns of the output.
        spatial_scale: Features per image pixel.
    """
    grad_input.zero_()
    (grad,) = widen(grad_output)
    batch_size, channels, height, width = grad_input.shape
    planes = rois[:, 0].long()[:, None] * channels + torch.arange(channels, device=rois.device)
    index = planes[:, :, None, None] * (height * width) + argmax.clamp(min=0)
    flat = grad.new_zeros(batch_size * channels * height * width)
    flat.scatter_add_(0, index.flatten(), torch.where(argmax >= 0, grad, 0).flatten())
    grad_input.copy_(flat.view_as(grad_input))


def _refuse_max_pool(pool_mode: int) -> None:
    if pool_mode == MAX_POOL:
        from mmdet_rank.mmcv_ops.table import missing_operator

        missing_operator("roi_align with pool_mode='max'")()


def _finite(boxes: Tensor) -> Tensor:
    """Boxes, and empty ones at 0 for those with a corner that is no number.

    These, as a model that diverged predicts them, lead torchvision's kernel beside its memory.
    """
    return boxes.where(boxes.isfinite().all(dim=1, keepdim=True), 0.0)


def _bin_edges(start: Tensor, size: Tensor, bins: int, limit: int) -> tuple[Tensor, Tensor]:
    """First feature and one past the last feature of every bin along one axis, each (R, bins)."""
    step = (size / bins)[:, None]
    index = torch.arange(bins, device=start.device, dtype=start.dtype)
    low = torch.floor(index * step + start[:, None]).clamp(0, limit).long()
    high = torch.ceil((index + 1) * step + start[:, None]).clamp(0, limit).long()
    return low, torch.maximum(low, high)
