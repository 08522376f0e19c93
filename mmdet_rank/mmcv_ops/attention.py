"""Stand-ins for multi-scale deformable attention, by mmcv's own implementation in torch.

mmcv uses that implementation itself on CPU; on CUDA it asks for the compiled operator.
"""

from __future__ import annotations

import torch
from torch import Tensor

from mmdet_rank.mmcv_ops.precision import widen, without_autocast


def ms_deform_attn_forward(
    value: Tensor,
    value_spatial_shapes: Tensor,
    value_level_start_index: Tensor,
    sampling_locations: Tensor,
    attention_weights: Tensor,
    im2col_step: int,
) -> Tensor:
    """Weighted sum of values sampled at fractional places of several levels.

    Args:
        value: (B, keys, heads, channels) values of all levels, one after the other.
        value_spatial_shapes: (levels, 2) height and width of each level.
        value_level_start_index: (levels,) first key of each level, not needed.
        sampling_locations: (B, queries, heads, levels, points, 2) places x, y in [0, 1].
        attention_weights: (B, queries, heads, levels, points) weights.
        im2col_step: Batch cut of the compiled operator, not needed.

    Returns:
        (B, queries, heads * channels) sums.
    """
    operands = widen(value, sampling_locations, attention_weights)
    with without_autocast(value):
        return _attend(value_spatial_shapes, *operands).to(value.dtype)


def ms_deform_attn_backward(
    value: Tensor,
    value_spatial_shapes: Tensor,
    value_level_start_index: Tensor,
    sampling_locations: Tensor,
    attention_weights: Tensor,
    grad_output: Tensor,
    grad_value: Tensor,
    grad_sampling_loc: Tensor,
    grad_attn_weight: Tensor,
    im2col_step: int,
) -> None:
    """Gradients to values, places and weights, written into the three `grad_*` outputs."""
    operands = widen(value, sampling_locations, attention_weights)
    operands = [operand.detach().requires_grad_() for operand in operands]
    with torch.enable_grad(), without_autocast(value):
        output = _attend(value_spatial_shapes, *operands)
        grads = torch.autograd.grad(output, operands, grad_output.to(output.dtype))
    for target, grad in zip((grad_value, grad_sampling_loc, grad_attn_weight), grads, strict=True):
        target.copy_(grad)


def _attend(shapes: Tensor, value: Tensor, places: Tensor, weights: Tensor) -> Tensor:
    # mmcv.ops imports the extension that this module stands in for, hence not at the top.
    from mmcv.ops.multi_scale_deform_attn import multi_scale_deformable_attn_pytorch

    return multi_scale_deformable_attn_pytorch(value, shapes, places, weights)
