"""Refined Generalized Focal Loss as a registered module."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Protocol

import torch
import torch.nn.functional as F
from mmdet.models.losses.accuracy import accuracy
from mmdet.registry import MODELS
from mmengine.logging import print_log
from torch import Tensor, nn

from mmdet_rank.ops.reg import inverse_frequency_weights, refined_generalized_focal_loss

from .reduction import loss_reduction, reduced

#: Options of the spatial refinement, which has no effect without distances, and their defaults.
_REFINEMENT = dict(beta=1.0, delta=0.0, near=True, floor=0.25)


class DistanceSource(Protocol):
    """Whatever knows how far samples are from objects; see `models.class_distances`."""

    def __call__(self, rows: Tensor, labels: Tensor) -> Tensor:
        """Distances (N, C) of the samples whose logits (N, C) and targets a loss is called for."""


@MODELS.register_module()
class REGLoss(nn.Module):
    """Refined Generalized Focal Loss (REG 2.1 to 2.5): `ops.refined_generalized_focal_loss`.

    Takes the place of FocalLoss, QualityFocalLoss or VarifocalLoss in any head
    (``use_sigmoid=True``), of cross entropy in an R-CNN's head (which then has one output per
    class and none for background), and of CrossEntropyLoss in pixelwise segmentation
    (``use_sigmoid=False``). The total loss of 2.4 is the sum of both, each averaged over its own
    samples; its lambda is the ``loss_weight`` of the segmentation's.

    MMDetection's heads on anchors and points read ``use_sigmoid`` from the config, not from the
    class: it must be written there. With ``loss_weight=0.5`` the loss is within a factor of 2 of
    FocalLoss's with its alpha of 0.25, whatever the shares of positives and negatives.

    ``beta``, ``delta``, ``near`` and ``floor`` act on distances, which `models.WithClassDistances`
    gives: where they are set and there are none, the first call warns of it.

    Args:
        gamma: Focusing parameter.
        alpha: Weight of all classes, or a list of one per class.
        class_counts: Numbers of annotations per class, from which ``alpha`` is computed as the
            inverse frequency (A.8); given instead of ``alpha``. "auto" for those of the training
            set, which `ClassCountsHook` counts.
        per_class: Divide that by the number of classes (A.10.2), so that equally frequent
            classes weigh 1.
        alpha_on: What of a class alpha weighs: "both" of its terms, or the "positives".
        beta: Sharpness of the spatial refinement, in 1 / unit of the distances.
        delta: Distance at which it is half way between ``floor`` and 1.
        near: Whether samples near to objects count more (A.4), or less (2.3 as printed).
        floor: Least weight of the refinement, so that no false positive is left unpunished
            wherever it lies; 0 is the paper's formula.
        sigma: Standard deviation of the logits (2.5); 0 is the formula as printed.
        use_sigmoid: One probability per class (detection), or softmax (segmentation).
        reduction: "mean" over the samples, "sum" or "none".
        loss_weight: Factor of the loss.

    Example:
        >>> loss = REGLoss(class_counts=[30, 10])
        >>> loss(torch.zeros(1, 2), torch.tensor([0]))  # 0.25 * log 2 * (40 / 30 + 40 / 10)
        tensor(0.9242)
    """

    def __init__(
        self,
        gamma: float = 2.0,
        alpha: float | Sequence[float] = 1.0,
        class_counts: Sequence[float] | str | None = None,
        per_class: bool = False,
        alpha_on: str = "both",
        beta: float = 1.0,
        delta: float = 0.0,
        near: bool = True,
        floor: float = 0.25,
        sigma: float = 0.0,
        use_sigmoid: bool = True,
        reduction: str = "mean",
        loss_weight: float = 1.0,
    ) -> None:
        super().__init__()
        if class_counts is not None and alpha != 1.0:
            raise ValueError(
                "Expected alpha or class_counts in REGLoss, but got both; leave one out."
            )
        if isinstance(class_counts, str) and class_counts != "auto":
            raise ValueError(
                f"Expected class_counts 'auto' or a list of numbers, but got {class_counts!r}; "
                "give one number per class."
            )
        self.gamma = gamma
        self.alpha = alpha
        self.per_class = per_class
        self.alpha_on = alpha_on
        self.beta = beta
        self.delta = delta
        self.near = near
        self.floor = floor
        self.sigma = sigma
        self.use_sigmoid = use_sigmoid
        self.reduction = loss_reduction(reduction)
        self.loss_weight = loss_weight
        #: Whether `ClassCountsHook` has still to count the training set's annotations.
        self.counts_missing = class_counts == "auto"
        if class_counts is not None and not isinstance(class_counts, str):
            self.set_class_counts(class_counts)
        self._distances: DistanceSource | None = None
        self._told_of_distances = False

    def set_class_counts(self, counts: Sequence[float]) -> None:
        """Weigh classes by the inverse of their numbers of annotations (A.8, A.10.2)."""
        self.alpha = inverse_frequency_weights(counts, self.per_class).tolist()
        self.counts_missing = False

    @property
    def custom_cls_channels(self) -> bool:
        """Tells R-CNN's heads to ask for the number of outputs and for the probabilities."""
        return self.use_sigmoid

    @property
    def custom_activation(self) -> bool:
        """Tells R-CNN's heads to ask for the accuracy too."""
        return self.use_sigmoid

    def get_cls_channels(self, num_classes: int) -> int:
        """Outputs of an R-CNN's classifier: one per class, and one of background with softmax."""
        return num_classes if self.use_sigmoid else num_classes + 1

    def get_activation(self, cls_score: Tensor) -> Tensor:
        """Probabilities (N, C + 1) of an R-CNN's logits, the last one of background.

        With sigmoid, logits are (N, C) and the background's probability is 0, so that it never
        is the best class.
        """
        if not self.use_sigmoid:
            return cls_score.softmax(dim=-1)
        return F.pad(cls_score.sigmoid(), (0, 1))

    def get_accuracy(self, cls_score: Tensor, labels: Tensor) -> dict[str, Tensor]:
        """Share of an R-CNN's samples of a class whose best class is theirs, in percent."""
        known = labels < self.get_cls_channels(cls_score.shape[1])
        return dict(acc_classes=accuracy(cls_score[known], labels[known]))

    @contextmanager
    def measured_by(self, distances: DistanceSource) -> Iterator[None]:
        """Take distances from there while heads call the loss without any."""
        self._distances = distances
        try:
            yield
        finally:
            self._distances = None

    def forward(
        self,
        pred: Tensor,
        target: Tensor | tuple[Tensor, Tensor],
        weight: Tensor | None = None,
        avg_factor: float | None = None,
        reduction_override: str | None = None,
        distances: Tensor | None = None,
    ) -> Tensor:
        """MMDetection's call form.

        Args:
            pred: (N, C) logits; (B, A, C) of priors; or (N, C, ...) of pixels.
            target: One of: integer classes of the shape of ``pred`` without its classes, outside
                of 0..C-1 for background with sigmoid and for ignored with softmax; soft targets
                of the shape of ``pred`` in [0, 1], floating point; or a tuple of classes (N,) and
                their scores (N,), as QualityFocalLoss takes it.
            weight: Weights of the samples or pixels, of the shape of ``pred`` without classes.
            avg_factor: What the sum is divided by instead of the number of samples.
            reduction_override: Instead of the module's reduction.
            distances: Of the shape of ``pred``, to the nearest object of each class; see
                `ops.class_distances`. Default: those of `models.WithClassDistances`, or no
                spatial refinement.

        Returns:
            Scalar, or the shape of ``pred`` without classes for "none".

        Raises:
            ValueError: If shapes do not fit.
        """
        reduction = loss_reduction(self.reduction, reduction_override)
        if self.counts_missing:
            raise ValueError(
                "Expected the numbers of annotations for class_counts='auto' in REGLoss, but got "
                "none; add default_hooks=dict(class_counts=dict(type='ClassCountsHook')) to the "
                "config, or give the counts as a list."
            )
        if isinstance(target, (tuple, list)):
            target = _scores_of_classes(pred, target)
        axis = _class_axis(pred, target)
        samples = pred.shape[:axis] + pred.shape[axis + 1 :]
        for name, value, shape in (
            ("target", target, pred.shape if target.is_floating_point() else samples),
            ("weight", weight, samples),
            ("distances", distances, pred.shape),
        ):
            if value is not None and value.shape != shape:
                raise ValueError(
                    f"Expected {name} of shape {tuple(shape)} for logits {tuple(pred.shape)} in "
                    f"REGLoss, but got {tuple(value.shape)}; give one for each of its samples."
                )
        rows = _as_rows(pred, axis)
        labels = _as_rows(target, axis) if target.is_floating_point() else target.reshape(-1)
        if distances is not None:
            distances = _as_rows(distances, axis)
        elif self._distances is not None:
            distances = self._distances(rows, labels)
        else:
            self._tell_of_distances()
        loss = refined_generalized_focal_loss(
            rows,
            labels,
            alpha=self.alpha,
            alpha_on=self.alpha_on,
            gamma=self.gamma,
            distances=distances,
            beta=self.beta,
            delta=self.delta,
            near=self.near,
            floor=self.floor,
            sigma=self.sigma,
            use_sigmoid=self.use_sigmoid,
        ).view(samples)
        return self.loss_weight * reduced(loss, weight, reduction, avg_factor)

    def _tell_of_distances(self) -> None:
        """Warn, once, of options that have no effect without distances."""
        if self._told_of_distances:
            return
        self._told_of_distances = True
        given = [
            f"{name}={getattr(self, name)}"
            for name, default in _REFINEMENT.items()
            if getattr(self, name) != default
        ]
        if given:
            print_log(
                f"REGLoss has {', '.join(given)}, but gets no distances, without which this has "
                "no effect. Wrap the head: type='WithClassDistances', head='RetinaHead' or what "
                "its type is; or leave the options out.",
                logger="current",
                level=logging.WARNING,
            )


def _scores_of_classes(pred: Tensor, target: Sequence[Tensor]) -> Tensor:
    """Soft targets (N, C) from classes (N,) and their scores (N,)."""
    shapes = [tuple(part.shape) for part in target]
    if pred.dim() != 2 or shapes != [tuple(pred.shape[:1])] * 2:
        raise ValueError(
            f"Expected classes and scores of shape {tuple(pred.shape[:1])} each for logits (N, C) "
            f"of shape {tuple(pred.shape)} in REGLoss, but got {' and '.join(map(str, shapes))}; "
            "give both for each sample, or soft targets of the shape of the logits."
        )
    labels, scores = target
    own = labels[:, None] == torch.arange(pred.shape[1], device=pred.device)
    return own * scores.to(torch.promote_types(scores.dtype, torch.float32))[:, None]


def _class_axis(pred: Tensor, target: Tensor) -> int:
    """Where the classes of logits are: last for priors (B, A, C), else 1."""
    last = pred.dim() - 1
    if pred.dim() != 3 or target.shape == pred.shape[:1] + pred.shape[2:]:
        return min(1, last)
    return last


def _as_rows(values: Tensor, axis: int) -> Tensor:
    """Rows (N, C) of what has its classes at an axis."""
    return values.movedim(axis, -1).reshape(-1, values.shape[axis])
