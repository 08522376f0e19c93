"""Identity Update (thesis Algorithm 3): the definition that every ranking loss here is held to."""

from __future__ import annotations

import torch
from torch import Tensor


def identity_update(
    errors: Tensor,
    target_errors: Tensor,
    pmf: Tensor,
    normalizer: float | Tensor | None = None,
) -> tuple[Tensor, Tensor]:
    """Loss and gradient of a ranking-based loss by Identity Update (thesis Eq. 6.17-6.24).

    Dense and in float64: the executable definition, and the way to try a new ranking loss before
    making it fast. Primary terms are ``L_ij = (error_i - target_i) p(j|i)`` (Eq. 6.18); the
    gradient of logit ``i`` is ``(sum_j L_ji - sum_j L_ij) / Z`` (Eq. 6.24). Line 2 of Algorithm 3
    as printed has the opposite sign; Eq. 6.24, the proofs and the published code agree with this
    one: a positive's logit gets a negative gradient, so that descent raises it.

    The result is not a derivative: the errors are piecewise constant in the logits up to the
    smoothing, and Identity Update replaces the derivative of a primary term with respect to its
    score difference by the primary term itself. ``torch.autograd.gradcheck`` therefore fails on
    it, as it should.

    Args:
        errors: (n,) current error of each example; 0 for examples that carry none.
        target_errors: (n,) error of each example when it is ranked as desired.
        pmf: (n, n) with ``pmf[i, j] = p(j|i)``, the share of i's error that is put down to j.
            Rows sum to 1, or to 0 where an example has nobody to blame (its error then moves
            no logit).
        normalizer: Z. Default: the number of rows of ``errors``.

    Returns:
        The loss, a float64 scalar, and its gradient, (n,) float64.

    Raises:
        ValueError: If the shapes do not fit.

    Example:
        A positive (index 0) below one of two negatives, AP Loss with the hard step:

        >>> errors = torch.tensor([0.5, 0.0, 0.0])  # 1 - precision of the positive
        >>> pmf = torch.tensor([[0.0, 1.0, 0.0], [0.0, 0.0, 0.0], [0.0, 0.0, 0.0]])
        >>> loss, grad = identity_update(errors, torch.zeros(3), pmf, normalizer=1)
        >>> loss.item(), grad.tolist()
        (0.5, [-0.5, 0.5, 0.0])
    """
    n = errors.numel()
    if errors.shape != (n,) or target_errors.shape != (n,) or pmf.shape != (n, n):
        raise ValueError(
            "Expected errors (n,), target_errors (n,) and pmf (n, n), but got "
            f"{tuple(errors.shape)}, {tuple(target_errors.shape)} and {tuple(pmf.shape)}."
        )
    if normalizer is None:
        normalizer = n
    excess = errors.double() - target_errors.double()
    primary_terms = excess[:, None] * pmf.double()
    gradient = primary_terms.sum(dim=0) - primary_terms.sum(dim=1)
    return excess.sum() / normalizer, gradient / normalizer


class _AttachGradient(torch.autograd.Function):
    @staticmethod
    def forward(ctx, logits: Tensor, value: Tensor, gradient: Tensor, index: Tensor | None):
        ctx.save_for_backward(gradient, index)
        ctx.shape, ctx.dtype = logits.shape, logits.dtype
        return value.clone()

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx, grad_output: Tensor):
        gradient, index = ctx.saved_tensors
        # The scale comes before the cast: float16 gradients of single negatives underflow
        # without the factor of a gradient scaler.
        scaled = (gradient * grad_output.to(gradient.dtype)).to(ctx.dtype)
        if index is None:
            return scaled, None, None, None
        full = scaled.new_zeros(ctx.shape)
        full[index] = scaled
        return full, None, None, None


def attach_gradient(
    logits: Tensor, value: Tensor, gradient: Tensor, index: Tensor | None = None
) -> Tensor:
    """Make a scalar that backpropagates a gradient of one's own making to ``logits``.

    Args:
        logits: (n,) the tensor that the gradient belongs to.
        value: Scalar loss value.
        gradient: (n,) gradient with respect to ``logits``; with ``index``, (k,) of those alone.
        index: (k,) positions of ``gradient`` in ``logits``, all others get 0. Default: all.

    Returns:
        ``value``, attached to the graph of ``logits``.

    Example:
        >>> logits = torch.zeros(2, requires_grad=True)
        >>> loss = attach_gradient(logits, torch.tensor(0.5), torch.tensor([-1.0, 1.0]))
        >>> (2 * loss).backward()
        >>> logits.grad
        tensor([-2.,  2.])
    """
    return _AttachGradient.apply(logits, value, gradient, index)
