"""The package's losses as MMSegmentation calls them: logits and class labels of pixels.

Adapters over the registered modules of MMDetection's call form, which compute everything. Needs
MMSegmentation's registry alone, so that importing it costs next to nothing.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any, ClassVar

import torch
from mmseg.registry import MODELS
from torch import Tensor, nn

from mmdet_rank.ops.pixel_labels import depth_labels, overlap_labels

from .alrp_loss import aLRPLoss
from .ap_loss import APLoss
from .base import SMALLEST_LABEL, RankingLoss
from .dice_loss import BCEDiceLoss, BinaryDiceLoss, SquaredDiceLoss
from .focal_margin_loss import (
    AsymmetricFocalLoss,
    BinaryFocalLoss,
    FocalMarginLoss,
    LargeMarginLoss,
)
from .hybrid_focal_margin_loss import HybridFocalLoss, HybridFocalMarginLoss
from .mask_loss import MaskLoss, at_least_float32
from .mean_iou_loss import MeanIoULoss
from .rank_sort_loss import RankSortLoss
from .reg_loss import REGLoss
from .tversky_loss import BinaryTverskyLoss, FocalTverskyLoss
from .unified_focal_loss import UnifiedFocalLoss


class PixelLoss(nn.Module):
    """A loss of this package in MMSegmentation's call form.

    A decode head with one output channel and two classes (``num_classes=2, out_channels=1``) has
    one logit per pixel, that of class 1. With one channel per class, each is told from the rest.

    Args:
        loss_name: Name in the log; with "loss" in it, it is trained.
        ignore_index: Label of pixels that are left out; a head passes its own, which counts.
        class_weight: Weight of the pixels of each class. One output channel: two numbers, of
            background and foreground. Several channels: one number per channel. None: all alike.
        **options: Those of the loss.

    Raises:
        ValueError: If a weight is negative.
    """

    #: The module that computes the loss.
    loss_class: ClassVar[Any]

    def __init__(
        self,
        loss_name: str | None = None,
        ignore_index: int | None = 255,
        class_weight: list[float] | None = None,
        **options,
    ) -> None:
        super().__init__()
        self.loss = self.loss_class(**options)
        self.loss_name = loss_name or default_name(self.loss_class)
        self.ignore_index = ignore_index
        if class_weight is not None and not all(value >= 0 for value in class_weight):
            raise ValueError(f"Expected class_weight of at least 0, but got {class_weight}.")
        self.class_weight = class_weight

    def forward(
        self,
        pred: Tensor,
        target: Tensor,
        weight: Tensor | None = None,
        avg_factor: float | None = None,
        reduction_override: str | None = None,
        ignore_index: int | None = None,
    ) -> Tensor:
        """MMSegmentation's call form.

        Args:
            pred: (B, C, H, W) logits.
            target: (B, H, W) integer labels.
            weight: (B, H, W) weights of the pixels.
            avg_factor: As for the loss.
            reduction_override: As for the loss.
            ignore_index: Instead of the module's own.

        Returns:
            Scalar, or what the loss gives for "none".

        Raises:
            ValueError: If shapes do not fit.
        """
        if target.shape != pred.shape[:1] + pred.shape[2:]:
            raise ValueError(
                f"Expected labels of shape {tuple(pred.shape[:1] + pred.shape[2:])} for logits "
                f"{tuple(pred.shape)} in {type(self).__name__}, but got {tuple(target.shape)}."
            )
        index = self.ignore_index if ignore_index is None else ignore_index
        valid = torch.ones_like(target, dtype=torch.bool) if index is None else target != index
        return self.of_labels(pred, target, valid, weight, avg_factor, reduction_override)

    def of_labels(
        self,
        pred: Tensor,
        target: Tensor,
        valid: Tensor,
        weight: Tensor | None,
        avg_factor: float | None,
        reduction_override: str | None,
    ) -> Tensor:
        """Loss of logits and labels, given which pixels count."""
        weights = self.pixel_weights(pred, target, valid, weight)
        per_element = getattr(self.loss, "per_element", False)
        reduction = reduction_override or self.loss.reduction
        if per_element and avg_factor is None and reduction == "mean":
            # The mean over the pixels that are not ignored.
            number = valid.sum().clamp(min=1) * pred.shape[1]
            return self.loss(pred, class_masks(pred, target), weights, number)
        return self.loss(pred, class_masks(pred, target), weights, avg_factor, reduction_override)

    def pixel_weights(
        self, pred: Tensor, target: Tensor, valid: Tensor, weight: Tensor | None
    ) -> Tensor:
        """(B, C, H, W) weights of all logits: ignored pixels, classes, and the caller's."""
        weights = valid.to(torch.promote_types(pred.dtype, torch.float32))
        if weight is not None:
            weights = weights * weight
        weights = weights[:, None].expand_as(pred)
        of_class = self.class_weights(pred.shape[1], weights)
        if of_class is None:
            return weights
        if pred.shape[1] == 1:
            return weights * of_class[(target == 1).long()][:, None]
        return weights * of_class[:, None, None]

    def class_weights(self, channels: int, like: Tensor) -> Tensor | None:
        """Weights of the classes, of a tensor's dtype and device; None: all alike.

        Raises:
            ValueError: If there are not two for one output channel, or one for each of several.
        """
        if self.class_weight is None:
            return None
        expected = 2 if channels == 1 else channels
        if len(self.class_weight) != expected:
            raise ValueError(
                f"Expected class_weight of {expected} numbers for {channels} output channel(s) in "
                f"{type(self).__name__}, but got {len(self.class_weight)}."
            )
        return like.new_tensor(self.class_weight)


class PixelREGLoss(PixelLoss):
    """REGLoss, which takes class labels itself, on pixels; see `PixelLoss`.

    Args:
        class_counts: Numbers of pixels, one per output channel, or None; not "auto", for which
            annotated objects are counted.
        **options: Those of `PixelLoss` and of the loss.

    Raises:
        ValueError: If ``class_counts`` is "auto".
    """

    def __init__(self, class_counts: Sequence[float] | None = None, **options) -> None:
        if class_counts == "auto":
            raise ValueError(
                "Expected class_counts as a list for REGLoss on pixels, but got 'auto', which "
                "counts annotated objects; give the number of pixels of each output channel."
            )
        super().__init__(class_counts=class_counts, **options)

    def of_labels(
        self,
        pred: Tensor,
        target: Tensor,
        valid: Tensor,
        weight: Tensor | None,
        avg_factor: float | None,
        reduction_override: str | None,
    ) -> Tensor:
        """Loss of logits and labels, given which pixels count."""
        if pred.shape[1] == 1:
            weights = self.pixel_weights(pred, target, valid, weight)[:, 0]
            labels = (target != 1).long()  # the only channel is class 0, background comes after
        else:
            weights = valid.to(torch.promote_types(pred.dtype, torch.float32))
            if weight is not None:
                weights = weights * weight
            labels = torch.where(valid, target, pred.shape[1])
            of_class = self.class_weights(pred.shape[1], weights)
            if of_class is not None:
                of_class = torch.cat([of_class, of_class.new_zeros(1)])
                weights = weights * of_class[labels.clamp(0, pred.shape[1])]
            if not self.loss.use_sigmoid:
                # Softmax has no term for what is of no class.
                valid = valid & (target >= 0) & (target < pred.shape[1])
        if avg_factor is None and (reduction_override or self.loss.reduction) == "mean":
            # The mean over the pixels that are not ignored.
            avg_factor = valid.sum().clamp(min=1)
        return self.loss(pred, labels, weights, avg_factor, reduction_override)


class PixelRankingLoss(PixelLoss):
    """A ranking loss on pixels: every foreground pixel above every background pixel.

    Args:
        per_image: Rank the pixels of each image among themselves, and average over the images
            that have foreground; or all pixels of the batch together.
        labels: Labels of the foreground's pixels, by which RS Loss sorts them: "mask" (1 for all),
            "depth" (`ops.pixel_labels.depth_labels`: the middle of a crack above its outline) or
            "overlap" (`ops.pixel_labels.overlap_labels`: pixels where prediction and truth agree
            above the others). With "overlap" aLRP Loss gets ``1 - overlap`` as its localisation
            error, and trains it.
        radius: Depth or radius of these labels, in pixels.
        max_positives: At most so many foreground pixels are ranked at a time, chosen at random by
            torch's generator, and with them the same share of the background, so that precision
            stays what it is in expectation. None: all are, which is exact.
        loss_name: See `PixelLoss`.
        ignore_index: See `PixelLoss`.
        **options: Those of the loss.

    Raises:
        ValueError: For ``class_weight``: a rank cannot be weighed. For ``labels`` that are unknown
            or that the loss has no use for. For ``sync`` beside ``per_image`` or ``max_positives``.
    """

    def __init__(
        self,
        per_image: bool = False,
        labels: str = "mask",
        radius: int = 4,
        max_positives: int | None = None,
        class_weight: list[float] | None = None,
        **options,
    ) -> None:
        name = self.loss_class.__name__
        if class_weight is not None:
            raise ValueError(
                f"Expected class_weight=None for {name}, but got {class_weight}: a rank cannot be "
                "weighed; remove it from the config."
            )
        if labels not in ("mask", "depth", "overlap"):
            raise ValueError(
                f"Expected labels 'mask', 'depth' or 'overlap' for {name}, but got {labels!r}."
            )
        meaningful = {
            "mask": True,
            "depth": self.loss_class.continuous_labels,
            "overlap": self.loss_class.continuous_labels or self.loss_class.unifies_localization,
        }
        if not meaningful[labels]:
            raise ValueError(
                f"Expected labels='mask' for {name}, but got {labels!r}, which would change "
                "nothing: RankSortLoss sorts by labels, and aLRPLoss trains overlap."
            )
        if max_positives is not None and not max_positives >= 1:
            raise ValueError(
                f"Expected max_positives of at least 1 for {name}, but got {max_positives}."
            )
        if options.get("sync"):
            if per_image:
                raise ValueError(
                    f"Expected per_image=False with sync=True for {name}, but got both: an image "
                    "is on one process, with nothing elsewhere to be ranked against; leave one out."
                )
            if max_positives is not None:
                raise ValueError(
                    f"Expected max_positives=None with sync=True for {name}, but got "
                    f"{max_positives}: each process would draw a share of its own, and precision "
                    "would be of none; leave one out."
                )
        if issubclass(self.loss_class, aLRPLoss):
            options.setdefault("tau", 0.0)  # pixels are not assigned by an IoU
        super().__init__(**options)
        self.per_image = per_image
        self.labels = labels
        self.radius = radius
        self.max_positives = max_positives

    def of_labels(
        self,
        pred: Tensor,
        target: Tensor,
        valid: Tensor,
        weight: Tensor | None,
        avg_factor: float | None,
        reduction_override: str | None,
    ) -> Tensor:
        """Loss of logits and labels, given which pixels count."""
        if avg_factor is not None or reduction_override not in (None, "mean"):
            raise ValueError(
                f"Expected a mean over the positives for {type(self).__name__}, but got "
                f"avg_factor={avg_factor} and reduction_override={reduction_override!r}."
            )
        if weight is not None:
            valid = valid & (weight > 0)
        valid = valid[:, None].expand_as(pred)
        targets, errors = self.targets_and_errors(pred, class_masks(pred, target), valid)
        targets = targets.masked_fill(~valid, -1.0)
        if not self.per_image:
            return self._ranked(pred, targets, errors)
        each = [
            self._ranked(pred[i], targets[i], None if errors is None else errors[i])
            for i in range(len(pred))
        ]
        with_foreground = (targets > 0).flatten(1).any(1).sum().clamp(min=1)
        return torch.stack(each).sum() / with_foreground if each else pred.sum()

    def targets_and_errors(
        self, pred: Tensor, masks: Tensor, valid: Tensor
    ) -> tuple[Tensor, Tensor | None]:
        """Labels of all logits (0 for background), and localisation errors of a loss with some."""
        if self.labels == "mask":
            return masks, None
        if self.labels == "depth":
            # Ignored and padded pixels are no background to measure the depth from.
            return masks * depth_labels(masks.masked_fill(~valid, 1.0), self.radius), None
        probs = at_least_float32(pred).sigmoid() * valid
        overlap = overlap_labels(probs, masks * valid, self.radius)
        # A crack that is missed altogether keeps its positives.
        targets = masks * overlap.detach().clamp(min=SMALLEST_LABEL)
        return targets, 1 - overlap if self.loss.unifies_localization else None

    def _ranked(self, pred: Tensor, targets: Tensor, errors: Tensor | None) -> Tensor:
        logits, targets = pred.reshape(-1), targets.reshape(-1)
        if self.max_positives is not None:
            kept = sample_pixels(targets, self.max_positives)
            targets = targets.masked_fill(~kept, -1.0)
        if errors is not None:
            errors = errors.reshape(-1)[targets > 0]
        ranked = self.loss.rank(logits, targets, errors)
        return ranked.cls if ranked.loc is None else ranked.cls + ranked.loc


def class_masks(pred: Tensor, target: Tensor) -> Tensor:
    """(B, C, H, W) masks of the classes, float32 or better; of class 1 alone for one channel."""
    dtype = torch.promote_types(pred.dtype, torch.float32)
    if pred.shape[1] == 1:
        return (target == 1)[:, None].to(dtype)
    classes = torch.arange(pred.shape[1], device=target.device)[:, None, None]
    return (target[:, None] == classes).to(dtype)


def sample_pixels(targets: Tensor, max_positives: int) -> Tensor:
    """Which pixels are ranked: ``max_positives`` positives and the same share of the negatives.

    Args:
        targets: (N,) above 0 for positives, 0 for negatives.
        max_positives: All are kept where there are no more positives.

    Returns:
        (N,) bool.

    Example:
        >>> kept = sample_pixels(torch.tensor([1.0, 1.0, 1.0, 1.0, 0.0, 0.0, 0.0, 0.0]), 2)
        >>> kept[:4].sum(), kept[4:].sum()
        (tensor(2), tensor(2))
    """
    kept = torch.zeros_like(targets, dtype=torch.bool)
    positives, negatives = ((targets > 0).nonzero()[:, 0], (targets == 0).nonzero()[:, 0])
    share = min(max_positives / max(len(positives), 1), 1.0)
    for places in (positives, negatives):
        chosen = torch.randperm(len(places), device=places.device)[: round(share * len(places))]
        kept[places[chosen]] = True
    return kept


def default_name(loss_class: type) -> str:
    """Name of a loss in the log.

    Example:
        >>> default_name(BCEDiceLoss), default_name(RankSortLoss)
        ('loss_bce_dice', 'loss_rank_sort')
    """
    words = re.findall(
        r"[a-z]*[A-Z]+(?=[A-Z][a-z]|$)|[A-Z]?[a-z]+|[A-Z]+",
        loss_class.__name__.replace("IoU", "Iou"),
    )
    return "_".join(["loss", *(word.lower() for word in words if word != "Loss")])


def _register(loss_class: type[nn.Module], adapter: type[PixelLoss]) -> type[PixelLoss]:
    summary = (loss_class.__doc__ or "").splitlines()[0]
    made = type(
        loss_class.__name__,
        (adapter,),
        dict(loss_class=loss_class, __doc__=f"On pixels: {summary}", __module__=__name__),
    )
    MODELS.register_module(name=loss_class.__name__, module=made)
    return made


MASK_LOSSES: tuple[type[MaskLoss], ...] = (
    AsymmetricFocalLoss,
    BCEDiceLoss,
    BinaryDiceLoss,
    BinaryFocalLoss,
    BinaryTverskyLoss,
    FocalMarginLoss,
    FocalTverskyLoss,
    HybridFocalLoss,
    HybridFocalMarginLoss,
    LargeMarginLoss,
    MeanIoULoss,
    SquaredDiceLoss,
    UnifiedFocalLoss,
)
RANKING_LOSSES: tuple[type[RankingLoss], ...] = (APLoss, RankSortLoss, aLRPLoss)
#: The adapters by name, as registered with MMSegmentation.
PIXEL_LOSSES = {
    **{loss.__name__: _register(loss, PixelLoss) for loss in MASK_LOSSES},
    **{loss.__name__: _register(loss, PixelRankingLoss) for loss in RANKING_LOSSES},
    REGLoss.__name__: _register(REGLoss, PixelREGLoss),
}
