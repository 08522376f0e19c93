"""The base of the registered ranking losses: MMDetection's call form, and its limits."""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from torch import Tensor, nn
from torch.nn import functional as F

#: Labels of positives never fall below this: a box that misses its target stays a positive.
SMALLEST_LABEL = 1e-6


@dataclass
class RankedLoss:
    """Result of a ranking loss for one ranking problem.

    Attributes:
        cls: Scalar classification loss, attached to the logits.
        loc: Scalar localisation loss of a loss that has one of its own (aLRP), attached to the
            localisation errors, else None.
        parts: Detached scalars worth logging; no key contains "loss".
    """

    cls: Tensor
    loc: Tensor | None = None
    parts: dict[str, Tensor] = field(default_factory=dict)


class RankingLoss(nn.Module):
    """Base of the registered ranking losses.

    Args:
        delta: Half width of the smoothed step, in units of the logits (thesis Eq. 6.5).
        loss_weight: Factor of the loss.
        sync: Rank over the examples of all processes; the gradient then no longer depends on how
            the batch is cut over GPUs.
        use_sigmoid: Only there because MMDetection's heads read it from a loss's config; ranking
            losses work on one logit per class, without background, so it must be True.
    """

    #: What DETR's heads read from the loss itself.
    use_sigmoid = True
    #: Whether labels are continuous (IoU) or 0 and 1.
    continuous_labels = False
    #: Whether the loss needs a localisation error of every positive, and ranks them itself.
    unifies_localization = False
    #: The criterion's defaults, as the paper of the loss sets them.
    default_instance_weight = "none"
    default_balance = "constant"

    def __init__(
        self, delta: float, loss_weight: float = 1.0, sync: bool = False, use_sigmoid: bool = True
    ) -> None:
        super().__init__()
        name = type(self).__name__
        if not delta >= 0:
            raise ValueError(f"Expected delta >= 0 for {name}, but got {delta}.")
        if not use_sigmoid:
            raise ValueError(
                f"Expected use_sigmoid=True for {name}, but got False: it ranks one logit per "
                "class and has no background class. Remove use_sigmoid from the config."
            )
        self.delta = delta
        self.loss_weight = loss_weight
        self.sync = sync

    def extra_repr(self) -> str:
        """Options, as printed with a model."""
        return f"delta={self.delta}, loss_weight={self.loss_weight}, sync={self.sync}"

    def get_cls_channels(self, num_classes: int) -> int:
        """Outputs of an R-CNN's classifier, which asks its loss for them: one per class."""
        return num_classes

    def get_activation(self, cls_score: Tensor) -> Tensor:
        """Probabilities (A, C + 1) of an R-CNN's logits (A, C), float32 or better.

        MMDetection's R-CNN heads expect a last column for background; it is 0 here, so that it
        never is the best class.
        """
        dtype = torch.promote_types(cls_score.dtype, torch.float32)
        return F.pad(cls_score.to(dtype).sigmoid(), (0, 1))

    def rank(
        self,
        logits: Tensor,
        targets: Tensor | None = None,
        loc_errors: Tensor | None = None,
        *,
        positives: Tensor | None = None,
        labels: Tensor | None = None,
        ignored: Tensor | None = None,
    ) -> RankedLoss:
        """Loss of a flat ranking problem; see `mmdet_rank.ops`.

        Args:
            logits: (N,).
            targets: (N,) above 0: positive; 0: negative; below 0: ignored.
            loc_errors: (P,) localisation error of each positive, for losses that rank them.
            positives: (P,) places of the positives, in place of targets.
            labels: (P,) their labels, for losses that look at them.
            ignored: (I,) places of the ignored.
        """
        raise NotImplementedError

    def forward(
        self,
        pred: Tensor,
        target: Tensor | tuple[Tensor, Tensor],
        weight: Tensor | None = None,
        avg_factor: float | None = None,
        reduction_override: str | None = None,
    ) -> Tensor:
        """MMDetection's call form, for heads of your own.

        Args:
            pred: (A, C) logits, or (N,) flat ones.
            target: One of: the same shape as ``pred``, above 0 for positives (their labels), 0
                for negatives, below 0 for ignored, floats for flat logits; or (A,) integer class
                labels, C for background; or a tuple of those and (A,) qualities in [0, 1], as
                QualityFocalLoss takes it; or masks (n, H, W) for (n, C, H, W) with labels.
            weight: (A,), or the shape of ``pred``: entries of 0 are ignored, all others count
                alike, for a rank cannot be weighed. Or, as Mask R-CNN's head calls its loss, (n,)
                integer labels, which choose the channel of each mask.
            avg_factor: Must be None: the loss is a mean over the positives already.
            reduction_override: None or "mean".

        Returns:
            Scalar.

        Raises:
            ValueError: If shapes do not fit, or for a reduction that a ranking cannot honour.
        """
        name = type(self).__name__
        if avg_factor is not None:
            raise ValueError(
                f"Expected avg_factor=None for {name}, but got {avg_factor}: the loss is a mean "
                "over the positives of all levels and images. MMDetection's own heads compute "
                "their losses level by level; use the Rank... head of this package instead."
            )
        if reduction_override not in (None, "mean"):
            raise ValueError(
                f"Expected reduction_override None or 'mean' for {name}, but got "
                f"{reduction_override!r}: the loss of a ranking has no single entries."
            )
        pred, weight = masks_of_labels(pred, target, weight)
        targets = self._flat_targets(pred, target)
        if weight is not None:
            if pred.dim() == 2 and weight.shape == pred.shape[:1]:
                weight = weight[:, None].expand_as(pred)
            if weight.shape != pred.shape:
                raise ValueError(
                    f"Expected weight of shape {tuple(pred.shape)} or {tuple(pred.shape[:1])}, "
                    f"but got {tuple(weight.shape)}."
                )
            targets = targets.masked_fill(weight.reshape(-1) <= 0, -1.0)
        result = self.rank(pred.reshape(-1), targets)
        return result.cls

    def _flat_targets(self, pred: Tensor, target: Tensor | tuple[Tensor, Tensor]) -> Tensor:
        labels, quality = target if isinstance(target, (tuple, list)) else (target, None)
        if labels.shape == pred.shape and quality is None and labels.is_floating_point():
            return labels.reshape(-1)
        if labels.shape == pred.shape and quality is None and pred.dim() == 2:
            return labels.reshape(-1).to(torch.promote_types(pred.dtype, torch.float32))
        if labels.shape == pred.shape and quality is None:
            raise ValueError(
                f"Expected floating point targets for flat logits, but got {labels.dtype}, which "
                "may mean targets or class labels; for targets (1 for positives, 0 for negatives) "
                "give target.float()."
            )
        if pred.dim() != 2 or labels.shape != pred.shape[:1] or labels.is_floating_point():
            raise ValueError(
                "Expected a target of the shape of pred, or integer class labels of shape (A,) "
                f"for pred (A, C), but got pred {tuple(pred.shape)} and target "
                f"{tuple(labels.shape)} of {labels.dtype}."
            )
        return scatter_labels(pred, labels, quality)


def scatter_labels(logits: Tensor, labels: Tensor, quality: Tensor | None = None) -> Tensor:
    """Flat targets of (A, C) logits from class labels.

    Args:
        logits: (A, C).
        labels: (A,) integer class of each example; outside of 0..C-1 is background.
        quality: (A,) continuous label of each example, 1 by default. Positives keep at least a
            tiny positive one, so that none turns into a negative.

    Returns:
        (A * C,) float32 targets (float64 for float64 logits).

    Example:
        >>> scatter_labels(torch.zeros(2, 3), torch.tensor([1, 3]), torch.tensor([0.5, 0.9]))
        tensor([0.0000, 0.5000, 0.0000, 0.0000, 0.0000, 0.0000])
    """
    dtype = torch.promote_types(logits.dtype, torch.float32)
    num_classes = logits.shape[1]
    positive = (labels >= 0) & (labels < num_classes)
    values = positive.to(dtype)
    if quality is not None:
        values = values * quality.to(dtype).clamp(min=SMALLEST_LABEL)
    column = labels.clamp(0, num_classes - 1)[:, None]
    return logits.new_zeros(logits.shape, dtype=dtype).scatter_(1, column, values[:, None]).view(-1)


def masks_of_labels(
    pred: Tensor, target: Tensor | tuple, weight: Tensor | None
) -> tuple[Tensor, Tensor | None]:
    """The masks of one class each, where a mask head gives class labels in the place of weights.

    Args:
        pred: (n, C, H, W) logits, or anything else, which is returned as it is.
        target: (n, H, W) masks.
        weight: (n,) integer labels.

    Returns:
        (n, H, W) logits of each mask's own class and no weights.
    """
    if weight is None or weight.is_floating_point() or not isinstance(target, Tensor):
        return pred, weight
    if pred.dim() != 4 or target.dim() != 3 or weight.shape != pred.shape[:1]:
        return pred, weight
    return pred[torch.arange(len(weight), device=pred.device), weight], None
