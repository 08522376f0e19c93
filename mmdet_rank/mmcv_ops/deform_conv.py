"""Stand-ins for deformable convolution (DCN) and modulated deformable convolution (DCNv2).

Both are torchvision's kernel, which has the mask of DCNv2 as an option, and whose offsets lie in
the same order (y before x) as mmcv's.
"""

from __future__ import annotations

import torch
from torch import Tensor

from mmdet_rank.mmcv_ops.precision import widen, without_autocast

#: Outside of every image, in pixels, and still an integer that the kernel can add to.
FAR_AWAY = 1e9


def deform_conv_forward(
    input: Tensor,
    weight: Tensor,
    offset: Tensor,
    output: Tensor,
    columns: Tensor,
    ones: Tensor,
    **geometry: int,
) -> None:
    """Deformable convolution without mask and bias, written into `output`.

    Args:
        input: (B, C, H, W) features.
        weight: (O, C / group, kH, kW) weights.
        offset: (B, 2 * deformable_group * kH * kW, H_out, W_out) offsets, y before x.
        output: (B, O, H_out, W_out), written.
        columns: Work space of mmcv's kernel, not needed.
        ones: Work space of mmcv's kernel, not needed.
        **geometry: kW, kH, dW, dH, padW, padH, dilationW, dilationH, group, deformable_group and
            im2col_step, the last not needed.
    """
    _forward(input, weight, offset, None, None, output, _geometry(geometry))


def deform_conv_backward_input(
    input: Tensor,
    offset: Tensor,
    grad_output: Tensor,
    grad_input: Tensor,
    grad_offset: Tensor,
    weight: Tensor,
    columns: Tensor,
    **geometry: int,
) -> None:
    """Gradients to features and offsets, written into `grad_input` and `grad_offset`."""
    grads = _backward(grad_output, input, weight, offset, None, None, _geometry(geometry))
    grad_input.copy_(grads[0])
    grad_offset.copy_(grads[2])


def deform_conv_backward_parameters(
    input: Tensor,
    offset: Tensor,
    grad_output: Tensor,
    grad_weight: Tensor,
    columns: Tensor,
    ones: Tensor,
    scale: float,
    **geometry: int,
) -> None:
    """Gradient to the weights times `scale`, added to `grad_weight`.

    mmcv's call does not hand over the weights, on which their gradient does not depend.
    """
    weight = torch.zeros_like(grad_weight)
    grads = _backward(grad_output, input, weight, offset, None, None, _geometry(geometry))
    grad_weight.add_(grads[1].to(grad_weight.dtype), alpha=scale)


def modulated_deform_conv_forward(
    input: Tensor,
    weight: Tensor,
    bias: Tensor,
    ones: Tensor,
    offset: Tensor,
    mask: Tensor,
    output: Tensor,
    columns: Tensor,
    with_bias: bool,
    **geometry: int,
) -> None:
    """Modulated deformable convolution, written into `output`.

    Args:
        input: (B, C, H, W) features.
        weight: (O, C / group, kernel_h, kernel_w) weights.
        bias: (O,) bias, or anything when `with_bias` is False.
        ones: Work space of mmcv's kernel, not needed.
        offset: (B, 2 * deformable_group * kernel_h * kernel_w, H_out, W_out), y before x.
        mask: (B, deformable_group * kernel_h * kernel_w, H_out, W_out) weights in [0, 1].
        output: (B, O, H_out, W_out), written.
        columns: Work space of mmcv's kernel, not needed.
        with_bias: Whether to add `bias`.
        **geometry: kernel_h, kernel_w, stride_h, stride_w, pad_h, pad_w, dilation_h, dilation_w,
            group and deformable_group.
    """
    used_bias = bias if with_bias else None
    _forward(input, weight, offset, mask, used_bias, output, _modulated_geometry(geometry))


def modulated_deform_conv_backward(
    input: Tensor,
    weight: Tensor,
    bias: Tensor,
    ones: Tensor,
    offset: Tensor,
    mask: Tensor,
    columns: Tensor,
    grad_input: Tensor,
    grad_weight: Tensor,
    grad_bias: Tensor,
    grad_offset: Tensor,
    grad_mask: Tensor,
    grad_output: Tensor,
    with_bias: bool,
    **geometry: int,
) -> None:
    """All gradients of `modulated_deform_conv_forward`, written into the `grad_*` tensors."""
    used_bias = bias if with_bias else None
    grads = _backward(
        grad_output, input, weight, offset, mask, used_bias, _modulated_geometry(geometry)
    )
    targets = [grad_input, grad_weight, grad_offset, grad_mask]
    for target, grad in zip(targets, grads, strict=False):
        target.copy_(grad)
    if with_bias:
        grad_bias.copy_(grads[4])


def _geometry(names: dict[str, int]) -> list[int]:
    order = ["dH", "dW", "padH", "padW", "dilationH", "dilationW", "group", "deformable_group"]
    return [names[name] for name in order]


def _modulated_geometry(names: dict[str, int]) -> list[int]:
    order = [
        "stride_h",
        "stride_w",
        "pad_h",
        "pad_w",
        "dilation_h",
        "dilation_w",
        "group",
        "deformable_group",
    ]
    return [names[name] for name in order]


def _operands(
    input: Tensor, weight: Tensor, offset: Tensor, mask: Tensor | None, bias: Tensor | None
) -> list[Tensor]:
    """All operands of the kernel in its order, with neutral ones for mask and bias.

    Offsets that are not numbers, as a model that diverged predicts them, make torchvision's kernel
    read beside its memory. They point far outside of the image here, where there is nothing, as
    with mmcv's compiled operator.
    """
    # Widened first, for float16 has no number that large.
    (offset,) = widen(offset)
    offset = offset.nan_to_num(nan=FAR_AWAY, posinf=FAR_AWAY, neginf=-FAR_AWAY)
    if mask is None:
        mask = input.new_ones((input.shape[0], 1))
    if bias is None:
        bias = input.new_zeros(weight.shape[0])
    return widen(input, weight, offset, mask, bias)


def _forward(
    input: Tensor,
    weight: Tensor,
    offset: Tensor,
    mask: Tensor | None,
    bias: Tensor | None,
    output: Tensor,
    geometry: list[int],
) -> None:
    operands = _operands(input, weight, offset, mask, bias)
    with without_autocast(input):
        output.copy_(torch.ops.torchvision.deform_conv2d(*operands, *geometry, mask is not None))


def _backward(
    grad_output: Tensor,
    input: Tensor,
    weight: Tensor,
    offset: Tensor,
    mask: Tensor | None,
    bias: Tensor | None,
    geometry: list[int],
) -> tuple[Tensor, ...]:
    """Gradients to features, weights, offsets, mask and bias."""
    operands = _operands(input, weight, offset, mask, bias)
    grad = grad_output.to(operands[0].dtype).contiguous()
    with without_autocast(input):
        return torch.ops.torchvision._deform_conv2d_backward(
            grad, *operands, *geometry, mask is not None
        )
