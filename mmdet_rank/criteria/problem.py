"""The ranking problem that every head states, and nothing but it."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import torch
from mmdet.structures.bbox import bbox_overlaps
from torch import Tensor


@dataclass
class BoxTask:
    """Box regression of the positives.

    Attributes:
        pred: (P, 4) what the box loss is computed on: decoded boxes (x1, y1, x2, y2), or deltas.
        target: (P, 4) its target.
        boxes: (P, 4) predicted boxes in pixels, for IoUs; the same tensor as ``pred`` where the
            loss works on decoded boxes.
        gt_boxes: (P, 4) boxes of the objects that the positives are assigned to.
        centers: (P, 2) centres of the priors, for weights by centerness; None where a head has
            none (R-CNN).
        outputs: Whatever the regression branch put out, for the positives or for all priors, that
            ``pred`` was computed from, for the balance by gradient magnitudes. Default: ``pred``.
    """

    pred: Tensor
    target: Tensor
    boxes: Tensor
    gt_boxes: Tensor
    centers: Tensor | None = None
    outputs: Tensor | None = None

    def iou(self) -> Tensor:
        """(P,) IoU of each predicted box with its object, in [0, 1], detached, float32."""
        return bbox_overlaps(
            self.boxes.detach().float(), self.gt_boxes.detach().float(), is_aligned=True
        ).clamp(0, 1)


@dataclass
class MaskTask:
    """Masks of the positives, for heads that predict no boxes (SOLO).

    Attributes:
        errors: (P,) mask loss of each positive in [0, 1], such as 1 - Dice coefficient, attached.
        outputs: What the errors were computed on, for the balance by gradient magnitudes.
        loss_weight: Factor of the errors in the loss.
    """

    errors: Tensor
    outputs: Tensor
    loss_weight: float = 1.0


@dataclass
class RankingProblem:
    """All examples of a batch, over all levels and images at once.

    Attributes:
        logits: (A, C) class logits of all priors; one column per class, none for background.
        labels: (A,) class of the object that a prior is assigned to; C for background.
        label_weights: (A,) 0 for priors that are ignored. Default: none is.
        positives: (P,) places of the priors with a class, ascending.
        boxes: Box regression of those, or None (SOLO).
        masks: Masks of those, for heads that have no boxes.
        quality: (P,) localisation quality of the positives in [0, 1], their continuous labels.
            Default: the IoU of ``boxes``, or 1 - error of ``masks``.
    """

    logits: Tensor
    labels: Tensor
    positives: Tensor
    label_weights: Tensor | None = None
    boxes: BoxTask | None = None
    masks: MaskTask | None = None
    quality: Tensor = None  # type: ignore[assignment]  # set when the problem is made

    def __post_init__(self) -> None:
        if self.quality is not None:
            return
        if self.boxes is not None:
            self.quality = self.boxes.iou()
        elif self.masks is not None:
            self.quality = 1 - self.masks.errors.detach()
        else:
            raise ValueError(
                "Expected boxes, masks or quality in a ranking problem, but got none of them."
            )

    @property
    def num_positives(self) -> int:
        """P."""
        return self.positives.numel()

    @cached_property
    def positive_places(self) -> Tensor:
        """(P,) place of each positive's own class among the A * C flat logits, ascending."""
        return self.positives * self.logits.shape[1] + self.labels[self.positives]

    @cached_property
    def ignored_places(self) -> Tensor | None:
        """(I,) places of all classes of the ignored priors, ascending; None: none is."""
        if self.label_weights is None:
            return None
        priors = (self.label_weights <= 0).nonzero()
        num_classes = self.logits.shape[1]
        classes = torch.arange(num_classes, device=priors.device)
        return (priors * num_classes + classes).view(-1)

    def positive_logits(self) -> Tensor:
        """(P, C) logits of the positives."""
        return self.logits[self.positives]


def find_positives(labels: Tensor, num_classes: int, label_weights: Tensor | None = None) -> Tensor:
    """Places of the priors that have a class and are not ignored, ascending: (P,)."""
    positive = (labels >= 0) & (labels < num_classes)
    if label_weights is not None:
        positive &= label_weights > 0
    return positive.nonzero().squeeze(1)
