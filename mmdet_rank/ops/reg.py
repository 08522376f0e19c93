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
    alpha_on: str = "both",
    gamma: float = 2.0,
    distances: Tensor | None = None,
    beta: float = 1.0,
    delta: float = 0.0,
    near: bool = True,
    floor: float = 0.0,
    sigma: float | Tensor = 0.0,
    use_sigmoid: bool = True,
) -> Tensor:
    """Loss of each sample (REG 2.3): ``sum_c alpha_c (1 - p_c)^gamma (-log p_c) g_c``.

    ``p_c`` is the probability of what is true of class c: with ``use_sigmoid`` (detection) that
    the sample is of the class or that it is not, one term per class; otherwise (segmentation)
    softmax, and only the term of the true class. The paper divides the sum over the samples by
    their number; that is left to the caller.

    With soft targets t the terms are those of quality focal loss, of which the above is the case
    of t 0 or 1: ``|t - p|^gamma (-t log p - (1 - t) log(1 - p))`` with sigmoid and
    ``|t - p|^gamma (-t log p)`` with softmax.

    Args:
        logits: (N, C) floating point.
        labels: (N,) integer class of each sample. Outside of 0..C-1 is background with
            ``use_sigmoid``, and ignored (loss 0) without. Or (N, C) soft targets in [0, 1],
            floating point, all 0 for background.
        alpha: Weight of all classes, or of each (C,); see `inverse_frequency_weights`.
        alpha_on: What of a class alpha weighs: "both" of its terms, or the "positives", the term
            of ``-log p``. On both it moves no optimum of a class with an output of its own, but
            only how much the class counts beside others; on the positives it raises its scores.
        gamma: Focusing parameter, at least 0.
        distances: (N, C) distance of each sample to the nearest object of each class; see
            `class_distances`. Infinite for a class without an object in the image: it is not
            refined, ``g = 1``, so that false positives of it are punished. Default: no refinement.
        beta: Sharpness of the refinement, in 1 / unit of the distances.
        delta: Distance at which the refinement is half way between its least value and 1.
        near: Whether samples near to the objects of a class count more for it (A.4), or less, as
            the formula in 2.3 is printed.
        floor: Least value of the refinement, however far the objects are; 0 is the formula.
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
        >>> refined_generalized_focal_loss(logits, torch.tensor([[0.5, 0.0]]))  # 0.25 * log 2
        tensor([0.1733])
    """
    _check(logits, labels, distances, gamma, alpha_on, use_sigmoid)
    logits = logits.to(torch.promote_types(logits.dtype, torch.float32))
    if isinstance(sigma, Tensor) or sigma:
        logits = marginal_logits(logits, sigma)
    alpha = _class_weights(alpha, logits)
    targets = _soft_targets(labels, logits)
    if use_sigmoid:
        log_p, log_rest = F.logsigmoid(logits), F.logsigmoid(-logits)
    else:
        log_p = logits.log_softmax(dim=1)
        # log(1 - p) of the one class whose target is 1, exact also where p is near 1.
        log_rest = log_p.masked_fill(targets == 1, -torch.inf).logsumexp(dim=1, keepdim=True)
    positive = -targets * log_p
    negative = (targets - 1) * log_rest if use_sigmoid else torch.zeros_like(positive)
    terms = alpha * positive + (alpha * negative if alpha_on == "both" else negative)
    if gamma:
        # As a power, 0 ** gamma would have an infinite gradient for gamma below 1.
        terms = terms * (gamma * _log_gap(targets, log_p, log_rest)).exp()
    if distances is not None:
        weights = spatial_refinement(distances, beta=beta, delta=delta, near=near, floor=floor)
        terms = terms * weights.masked_fill(distances.isinf(), 1.0)
    return terms.sum(dim=1)


def spatial_refinement(
    distances: Tensor,
    *,
    beta: float = 1.0,
    delta: float = 0.0,
    near: bool = True,
    floor: float = 0.0,
) -> Tensor:
    """Weight by the distance to the nearest object (REG 2.3), in [``floor``, 1].

    ``near`` is the reading of the proof in A.4, ``g = 1 / (1 + exp(beta (d - delta)))``: the
    weight falls with the distance. Without it, the sign is that of the printed formula, by which
    the weight grows with the distance. With a floor f the weight is ``f + (1 - f) g``.

    Args:
        distances: Any shape; infinity is allowed.
        beta: Sharpness, above 0.
        delta: Distance at which g is one half.
        near: Whether small distances count more.
        floor: Least weight, in [0, 1].

    Raises:
        ValueError: If beta or the floor is out of range.

    Example:
        >>> distances = torch.tensor([0.0, 2.0, torch.inf])
        >>> spatial_refinement(distances, beta=1.0, delta=2.0)
        tensor([0.8808, 0.5000, 0.0000])
        >>> spatial_refinement(distances, beta=1.0, delta=2.0, floor=0.25)
        tensor([0.9106, 0.6250, 0.2500])
    """
    if not beta > 0:
        raise ValueError(f"Expected beta > 0, but got {beta}; near=False turns the sign.")
    if not 0 <= floor <= 1:
        raise ValueError(f"Expected floor in [0, 1], but got {floor}; 0 is the paper's.")
    signed = beta * (delta - distances)
    return floor + (1 - floor) * (signed if near else -signed).sigmoid()


def marginal_logits(logits: Tensor, sigma: float | Tensor) -> Tensor:
    """Logits of the expected probability when the logits are uncertain (REG 2.5).

    The paper takes the probability itself to be Gaussian around the prediction; its expectation
    is then the prediction, and nothing changes. Here the logits are Gaussian, with standard
    deviation ``sigma``, and the expected probability is approximated as a probit
    (MacKay 1992): ``sigmoid(z / sqrt(1 + pi sigma^2 / 8))``, within 0.02 of the exact value.
    A softmax of logits that are scaled so is the usual extension to several classes, and a
    rougher one; see ``docs/losses_reg.md``.

    Example:
        >>> marginal_logits(torch.tensor([2.0]), 2.0).sigmoid()
        tensor([0.7768])
    """
    if isinstance(sigma, Tensor):
        return logits / (1 + math.pi / 8 * sigma.to(logits.dtype).square()).sqrt()
    if sigma < 0:
        raise ValueError(f"Expected sigma >= 0, but got {sigma}; 0 changes nothing.")
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


def imbalance_ratio(counts: Sequence[float] | Tensor) -> float:
    """Annotations of the commonest class by those of the rarest (REG A.10.4).

    Example:
        >>> imbalance_ratio([200, 100, 700, 1500, 50, 800, 300])
        30.0
    """
    weights = inverse_frequency_weights(counts)
    return (weights.max() / weights.min()).item()


def class_distances(points: Tensor, boxes: Tensor, labels: Tensor, num_classes: int) -> Tensor:
    """Distance of each point to the nearest object of each class (REG 2.3).

    Args:
        points: (N, 2) places (x, y) of samples: centres of priors, or of pixels.
        boxes: (M, 4) objects (x1, y1, x2, y2), in the unit of the points.
        labels: (M,) their classes.
        num_classes: C.

    Returns:
        (N, C) distances: 0 within a box of the class, infinite for classes without an object.

    Raises:
        ValueError: If shapes do not fit.

    Example:
        >>> points = torch.tensor([[5.0, 5.0], [13.0, 14.0]])
        >>> box = torch.tensor([[0.0, 0.0, 10.0, 10.0]])
        >>> class_distances(points, box, torch.tensor([1]), 2)
        tensor([[inf, 0.],
                [inf, 5.]])
    """
    if points.shape[1:] != (2,) or boxes.shape[1:] != (4,) or labels.shape != boxes.shape[:1]:
        raise ValueError(
            "Expected points (N, 2), boxes (M, 4) and labels (M,), but got "
            f"{tuple(points.shape)}, {tuple(boxes.shape)} and {tuple(labels.shape)}; give the "
            "centres of priors, and each object's corners and class."
        )
    outside = torch.maximum(boxes[:, :2] - points[:, None], points[:, None] - boxes[:, 2:])
    to_boxes = outside.clamp(min=0).norm(dim=2)
    nearest = to_boxes.new_full((len(points), num_classes), torch.inf)
    return nearest.scatter_reduce(1, labels.expand(len(points), -1), to_boxes, "amin")


def class_distance_maps(labels: Tensor, num_classes: int) -> Tensor:
    """Distance of each pixel to the nearest one of each class (REG 2.3), in pixels.

    Args:
        labels: (B, H, W) integer class of each pixel; outside of 0..C-1 is none.
        num_classes: C.

    Returns:
        (B, C, H, W) float32 distances between the pixels' centres: 0 for pixels of the class,
        infinite in images without any. Computed by SciPy, on the host.

    Raises:
        ValueError: If the labels are not (B, H, W).

    Example:
        >>> class_distance_maps(torch.tensor([[[0, 1, 1, 1]]]), 3)[0, :, 0]
        tensor([[0., 1., 2., 3.],
                [1., 0., 0., 0.],
                [inf, inf, inf, inf]])
    """
    import numpy as np
    from scipy.ndimage import distance_transform_edt

    if labels.dim() != 3:
        raise ValueError(
            f"Expected labels (B, H, W), but got {tuple(labels.shape)}; give the class of each "
            "pixel."
        )
    maps = torch.full((len(labels), num_classes, *labels.shape[1:]), torch.inf)
    for image, own_labels in zip(maps, labels.cpu().numpy(), strict=True):
        for label in np.unique(own_labels):
            if 0 <= label < num_classes:
                image[label] = torch.from_numpy(distance_transform_edt(own_labels != label))
    return maps.to(labels.device)


def _soft_targets(labels: Tensor, logits: Tensor) -> Tensor:
    if labels.is_floating_point():
        return labels.to(logits.dtype)
    return (labels[:, None] == torch.arange(logits.shape[1], device=logits.device)).to(logits.dtype)


def _class_weights(alpha: float | Sequence[float] | Tensor, logits: Tensor) -> Tensor:
    weights = torch.as_tensor(alpha, dtype=logits.dtype, device=logits.device)
    num_classes = logits.shape[1]
    if not weights.dim() or weights.shape == (num_classes,):
        return weights
    if weights.shape == (num_classes - 1,):
        hint = (
            "; where the head makes one logit more than there are classes, for background, write "
            "use_sigmoid=True in loss_cls, which MMDetection's heads read from the config"
        )
    else:
        hint = "; give alpha or class_counts in the order of the classes, one for each"
    raise ValueError(
        f"Expected one alpha or one per class ({num_classes}), but got {len(weights)}{hint}."
        if weights.dim() == 1
        else f"Expected one alpha or one per class, but got a shape of {tuple(weights.shape)}; "
        "give a list of numbers."
    )


def _log_gap(targets: Tensor, log_p: Tensor, log_rest: Tensor) -> Tensor:
    """log |t - p|, exact where t is 0 or 1."""
    gap = (targets - log_p.exp()).abs().clamp(min=torch.finfo(log_p.dtype).tiny).log()
    return torch.where(targets == 0, log_p, torch.where(targets == 1, log_rest, gap))


def _check(
    logits: Tensor,
    labels: Tensor,
    distances: Tensor | None,
    gamma: float,
    alpha_on: str,
    use_sigmoid: bool,
) -> None:
    expected = logits.shape if labels.is_floating_point() else logits.shape[:1]
    if logits.dim() != 2 or labels.shape != expected:
        raise ValueError(
            "Expected logits (N, C) and integer labels (N,) or soft targets (N, C), but got "
            f"{tuple(logits.shape)} and {tuple(labels.shape)} of {labels.dtype}; give one class, "
            "or one target for each class, per sample."
        )
    if distances is not None and distances.shape != logits.shape:
        raise ValueError(
            f"Expected distances (N, C) of shape {tuple(logits.shape)}, but got "
            f"{tuple(distances.shape)}; class_distances computes them."
        )
    if alpha_on not in ("both", "positives"):
        raise ValueError(
            f"Expected alpha_on 'both' or 'positives', but got {alpha_on!r}; choose one of them."
        )
    if not use_sigmoid and logits.shape[1] < 2:
        raise ValueError(
            "Expected two or more classes with use_sigmoid=False, but got 1; a softmax over one "
            "class is always 1. Use use_sigmoid=True, or add a channel for background."
        )
    if not gamma >= 0:
        raise ValueError(f"Expected gamma >= 0, but got {gamma}; 2 is that of focal loss.")
