"""Refined Generalized Focal Loss (REG): focal loss with class weights and distances to objects.

From the paper "REG: Refined Generalized Focal Loss for Road Asset Detection on Thai Highways"
(sections 2.1 to 2.5, appendices A.2 to A.10); its equations have no numbers but those of A.8.
What its text leaves open or contradicts, and what is done here, is in ``docs/losses_reg.md``.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor


def refined_generalized_focal_loss(
    logits: Tensor,
    labels: Tensor,
    *,
    alpha: float | Sequence[float] | Tensor = 1.0,
    gamma: float = 2.0,
    distances: Tensor | None = None,
    beta: float = 1.0,
    delta: float = 0.0,
    near: bool = True,
    sigma: float | Tensor = 0.0,
    use_sigmoid: bool = True,
) -> Tensor:
    """Loss of each sample (REG 2.3): ``sum_c alpha_c (1 - p_c)^gamma (-log p_c) g_c``.

    ``p_c`` is the probability of what is true of class c: with ``use_sigmoid`` (detection) that
    the sample is of the class or that it is not, one term per class; otherwise (segmentation)
    softmax, and only the term of the true class. The paper divides the sum over the samples by
    their number; that is left to the caller.

    Args:
        logits: (N, C) floating point.
        labels: (N,) integer class of each sample. Outside of 0..C-1 is background with
            ``use_sigmoid``, and ignored (loss 0) without.
        alpha: Weight of all classes, or of each (C,); see `inverse_frequency_weights`.
        gamma: Focusing parameter, at least 0.
        distances: (N, C) distance of each sample to the nearest object of each class, infinite
            where there is none; see `class_distances`. Default: no refinement, ``g = 1``.
        beta: Sharpness of the refinement, in 1 / unit of the distances.
        delta: Distance at which the refinement is one half.
        near: Whether samples near to the objects of a class count more for it (A.4), or less, as
            the formula in 2.3 is printed.
        sigma: Standard deviation of the logits (2.5), a number or broadcastable to (N, C).
            0 is the formula as printed, in which the expected probability is the probability.
        use_sigmoid: Whether classes are told apart one by one.

    Returns:
        (N,) losses in float32 (float64 for float64 logits), differentiable in the logits.

    Raises:
        ValueError: If shapes do not fit or a parameter is out of range.

    Example:
        >>> logits = torch.tensor([[0.0, 0.0]])
        >>> refined_generalized_focal_loss(logits, torch.tensor([0]))  # 2 * 0.25 * log 2
        tensor([0.3466])
    """
    _check(logits, labels, gamma, use_sigmoid)
    num_classes = logits.shape[1]
    logits = logits.to(torch.promote_types(logits.dtype, torch.float32))
    if isinstance(sigma, Tensor) or sigma:
        logits = marginal_logits(logits, sigma)
    alpha = torch.as_tensor(alpha, dtype=logits.dtype, device=logits.device)
    if alpha.dim() and alpha.shape != (num_classes,):
        raise ValueError(
            f"Expected one alpha or one per class ({num_classes}), but got {tuple(alpha.shape)}."
        )
    classes = torch.arange(num_classes, device=logits.device)
    true = labels[:, None] == classes
    if use_sigmoid:
        signed = torch.where(true, logits, -logits)
        log_p, log_rest = F.logsigmoid(signed), F.logsigmoid(-signed)
    else:
        log_p = logits.log_softmax(dim=1)
        # log(1 - p) of the true class, exact also where p is near 1; the other terms are dropped.
        log_rest = log_p.masked_fill(true, -torch.inf).logsumexp(dim=1, keepdim=True)
    terms = -log_p
    if gamma:
        # As a power, 0 ** gamma would have an infinite gradient for gamma below 1.
        terms = terms * (gamma * log_rest).exp()
    if distances is not None:
        terms = terms * spatial_refinement(distances, beta=beta, delta=delta, near=near)
    if not use_sigmoid:
        terms = terms.masked_fill(~true, 0.0)
    return (terms * alpha).sum(dim=1)


def spatial_refinement(
    distances: Tensor, *, beta: float = 1.0, delta: float = 0.0, near: bool = True
) -> Tensor:
    """Weight by the distance to the nearest object (REG 2.3), in [0, 1].

    ``near`` is the reading of the proof in A.4, ``g = 1 / (1 + exp(beta (d - delta)))``: the
    weight falls with the distance. Without it, the sign is that of the printed formula, by which
    the weight grows with the distance.

    Args:
        distances: Any shape; infinity is allowed.
        beta: Sharpness, above 0.
        delta: Distance at which the weight is one half.
        near: Whether small distances count more.

    Example:
        >>> spatial_refinement(torch.tensor([0.0, 2.0, torch.inf]), beta=1.0, delta=2.0)
        tensor([0.8808, 0.5000, 0.0000])
    """
    if not beta > 0:
        raise ValueError(f"Expected beta > 0, but got {beta}; near=False turns the sign.")
    signed = beta * (delta - distances)
    return (signed if near else -signed).sigmoid()


def marginal_logits(logits: Tensor, sigma: float | Tensor) -> Tensor:
    """Logits of the expected probability when the logits are uncertain (REG 2.5).

    The paper takes the probability itself to be Gaussian around the prediction; its expectation
    is then the prediction, and nothing changes. Here the logits are Gaussian, with standard
    deviation ``sigma``, and the expected probability is approximated as a probit
    (MacKay 1992): ``sigmoid(z / sqrt(1 + pi sigma^2 / 8))``, within 0.02 of the exact value.

    Example:
        >>> marginal_logits(torch.tensor([2.0]), 2.0).sigmoid()
        tensor([0.7768])
    """
    if isinstance(sigma, Tensor):
        return logits / (1 + math.pi / 8 * sigma.to(logits.dtype).square()).sqrt()
    if sigma < 0:
        raise ValueError(f"Expected sigma >= 0, but got {sigma}.")
    return logits / math.sqrt(1 + math.pi / 8 * sigma**2)


def inverse_frequency_weights(counts: Sequence[float] | Tensor, per_class: bool = False) -> Tensor:
    """Class weights from numbers of annotations (REG A.8): ``alpha_c = total / count_c``.

    Args:
        counts: (C,) numbers of annotations, all above 0.
        per_class: Also divide by C (A.10.2), so that equally frequent classes weigh 1.

    Returns:
        (C,) float32 weights.

    Example:
        >>> counts = [200, 100, 700, 1500, 50, 800, 300]  # the paper's detection classes
        >>> inverse_frequency_weights(counts)[[4, 3]]  # bus stops, single-arm poles
        tensor([73.0000,  2.4333])
    """
    counts = torch.as_tensor(counts, dtype=torch.float32)
    if counts.dim() != 1 or not bool((counts > 0).all()):
        raise ValueError(
            "Expected a list of numbers of annotations above 0, one per class, but got "
            f"{counts.tolist()}; leave classes without annotations out of the data set."
        )
    weights = counts.sum() / counts
    return weights / len(counts) if per_class else weights


def class_distances(points: Tensor, boxes: Tensor, labels: Tensor, num_classes: int) -> Tensor:
    """Distance of each point to the nearest object of each class (REG 2.3).

    Args:
        points: (N, 2) places (x, y) of samples: centres of priors, or of pixels.
        boxes: (M, 4) objects (x1, y1, x2, y2), in the unit of the points.
        labels: (M,) their classes.
        num_classes: C.

    Returns:
        (N, C) distances: 0 within a box of the class, infinite for classes without an object.

    Example:
        >>> points = torch.tensor([[5.0, 5.0], [13.0, 14.0]])
        >>> box = torch.tensor([[0.0, 0.0, 10.0, 10.0]])
        >>> class_distances(points, box, torch.tensor([1]), 2)
        tensor([[inf, 0.],
                [inf, 5.]])
    """
    outside = torch.maximum(boxes[:, :2] - points[:, None], points[:, None] - boxes[:, 2:])
    to_boxes = outside.clamp(min=0).norm(dim=2)
    nearest = to_boxes.new_full((len(points), num_classes), torch.inf)
    return nearest.scatter_reduce(1, labels.expand(len(points), -1), to_boxes, "amin")


def _check(logits: Tensor, labels: Tensor, gamma: float, use_sigmoid: bool) -> None:
    if logits.dim() != 2 or labels.shape != logits.shape[:1] or labels.is_floating_point():
        raise ValueError(
            "Expected logits (N, C) and integer labels (N,), but got "
            f"{tuple(logits.shape)} and {tuple(labels.shape)} of {labels.dtype}."
        )
    if not use_sigmoid and logits.shape[1] < 2:
        raise ValueError(
            "Expected two or more classes with use_sigmoid=False, but got 1; a softmax over one "
            "class is always 1. Use use_sigmoid=True, or add a channel for background."
        )
    if not gamma >= 0:
        raise ValueError(f"Expected gamma >= 0, but got {gamma}.")
