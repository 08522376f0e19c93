"""Stand-ins for CARAFE (content-aware reassembly of features), forward and backward.

With K the kernel size, s the scale and g the group of channel c:

    output[c, y, x] = sum over (i, j) of
        masks[g, i * K + j, y, x] * features[c, y // s + i - K // 2, x // s + j - K // 2]

with zeros outside the features. The sum runs over K * K shifted views, so no tensor of K * K
times the output is ever made.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
import torch.nn.functional as F
from torch import Tensor

from mmdet_rank.mmcv_ops.precision import widen


def carafe_forward(
    features: Tensor,
    masks: Tensor,
    rfeatures: Tensor,
    routput: Tensor,
    rmasks: Tensor,
    output: Tensor,
    kernel_size: int,
    group_size: int,
    scale_factor: int,
) -> None:
    """Reassemble `features` by `masks`.

    Args:
        features: (B, C, H, W) features.
        masks: (B, group_size * kernel_size^2, H * scale_factor, W * scale_factor) weights.
        rfeatures: As `features`, written: what the backward pass is given in their place.
        routput: Work space of mmcv's kernel, not needed.
        rmasks: Work space of mmcv's kernel, not needed.
        output: (B, C, H * scale_factor, W * scale_factor), written.
        kernel_size: Odd size of the neighbourhood that is reassembled.
        group_size: Number of channel groups with a mask of their own.
        scale_factor: Upsampling factor.
    """
    rfeatures.copy_(features)
    carafe_naive_forward(features, masks, output, kernel_size, group_size, scale_factor)


def carafe_backward(
    grad_output: Tensor,
    rfeatures: Tensor,
    masks: Tensor,
    rgrad_output: Tensor,
    rgrad_input_hs: Tensor,
    rgrad_input: Tensor,
    rgrad_masks: Tensor,
    grad_input: Tensor,
    grad_masks: Tensor,
    kernel_size: int,
    group_size: int,
    scale_factor: int,
) -> None:
    """Gradients to features and masks; the `rgrad_*` are work space of mmcv's, not needed."""
    carafe_naive_backward(
        grad_output,
        rfeatures,
        masks,
        grad_input,
        grad_masks,
        kernel_size,
        group_size,
        scale_factor,
    )


def carafe_naive_forward(
    features: Tensor,
    masks: Tensor,
    output: Tensor,
    kernel_size: int,
    group_size: int,
    scale_factor: int,
) -> None:
    """As `carafe_forward`, without work space."""
    work, weights = widen(features, masks)
    weights = _split_pixels(weights, group_size, scale_factor)
    padded = _pad(work, kernel_size)
    total = torch.zeros_like(_split_pixels(output, group_size, scale_factor), dtype=work.dtype)
    for k, (rows, columns) in enumerate(_windows(work, kernel_size)):
        view = padded[:, :, rows, columns]
        total += _group(view, group_size) * weights[:, :, k : k + 1]
    output.copy_(total.view(output.shape))


def carafe_naive_backward(
    grad_output: Tensor,
    features: Tensor,
    masks: Tensor,
    grad_input: Tensor,
    grad_masks: Tensor,
    kernel_size: int,
    group_size: int,
    scale_factor: int,
) -> None:
    """Gradients of `carafe_naive_forward`, written into `grad_input` and `grad_masks`."""
    grad, work, weights = widen(grad_output, features, masks)
    grad = _split_pixels(grad, group_size, scale_factor)
    weights = _split_pixels(weights, group_size, scale_factor)
    padded = _pad(work, kernel_size)
    grad_padded = torch.zeros_like(padded)
    grad_weights = torch.empty_like(weights)
    for k, (rows, columns) in enumerate(_windows(work, kernel_size)):
        view = padded[:, :, rows, columns]
        grad_weights[:, :, k] = (grad * _group(view, group_size)).sum(dim=2)
        to_view = (grad * weights[:, :, k : k + 1]).sum(dim=(4, 6))
        grad_padded[:, :, rows, columns] += to_view.view(view.shape)
    radius = kernel_size // 2
    height, width = features.shape[2:]
    grad_input.copy_(grad_padded[:, :, radius : radius + height, radius : radius + width])
    grad_masks.copy_(grad_weights.view(grad_masks.shape))


def _windows(features: Tensor, kernel_size: int) -> Iterator[tuple[slice, slice]]:
    """Where the features lie in the padded ones, shifted to each place of the kernel in turn."""
    height, width = features.shape[2:]
    for i in range(kernel_size):
        for j in range(kernel_size):
            yield slice(i, i + height), slice(j, j + width)


def _pad(features: Tensor, kernel_size: int) -> Tensor:
    return F.pad(features, [kernel_size // 2] * 4)


def _group(features: Tensor, group_size: int) -> Tensor:
    """(B, C, H, W) to (B, groups, C / groups, H, 1, W, 1)."""
    batch, channels, height, width = features.shape
    return features.reshape(batch, group_size, channels // group_size, height, 1, width, 1)


def _split_pixels(tensor: Tensor, group_size: int, scale: int) -> Tensor:
    """(B, C, H * s, W * s) to (B, groups, C / groups, H, s, W, s)."""
    batch, channels, height, width = tensor.shape
    return tensor.view(
        batch,
        group_size,
        channels // group_size,
        height // scale,
        scale,
        width // scale,
        scale,
    )
