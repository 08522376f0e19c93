"""Score-based losses in the heads that rank: baselines without an auxiliary branch."""

from __future__ import annotations

import torch
from mmdet.models.losses import QualityFocalLoss
from mmdet.registry import MODELS
from mmdet.utils import reduce_mean
from torch import Tensor, nn

from mmdet_rank.losses.base import RankingLoss

from .instance_weights import INSTANCE_WEIGHTS
from .localization import box_errors
from .problem import RankingProblem

_WEIGHTS = tuple(name for name in INSTANCE_WEIGHTS if name != "ranking")


class ScoredLosses(dict[str, Tensor]):
    """Losses of a head by name, with the weights that other errors of its boxes have.

    Args:
        losses: The losses.
        weights: (P,) of the positives, detached.
        total: Sum of the weights, the mean over the processes.
    """

    def __init__(self, losses: dict[str, Tensor], weights: Tensor, total: Tensor) -> None:
        super().__init__(losses)
        self.weights = weights
        self.total = total

    def box_loss_beside(self, errors: Tensor) -> Tensor:
        """Loss of errors of the boxes (L1 beside IoU), weighed as those of the box loss.

        Args:
            errors: (P,) with their own loss weight in.
        """
        return (errors * self.weights).sum() / self.total


@MODELS.register_module()
class ScoreCriterion(nn.Module):
    """Focal or quality focal loss in a head that has no auxiliary branch (thesis Table 8.4).

    MMDetection's ATSS and PAA have a centerness and an IoU branch, so that a ranking loss is
    compared with two things at once. This takes the place of `RankingCriterion` in the same head::

        bbox_head=dict(
            type="RankATSSHead",
            loss_cls=dict(type="QualityFocalLoss"),
            loss_bbox=dict(type="GIoULoss", loss_weight=2.0),
            criterion=dict(type="ScoreCriterion", instance_weight="score"))

    Losses are divided by the number of positives of all processes, those of boxes by the sum of
    their weights, as in MMDetection's heads.

    Args:
        loss_cls: FocalLoss, QualityFocalLoss (its labels are the IoUs), or another loss on class
            labels and (A, C) logits.
        loss_bbox: MMDetection's box loss.
        instance_weight: What a positive's box loss is weighed by: "score", "iou", "centerness" or
            "none".

    Raises:
        TypeError: If ``loss_cls`` is a ranking loss.
        ValueError: If there is no box loss, or ``instance_weight`` is unknown.
    """

    def __init__(
        self, loss_cls: nn.Module, loss_bbox: nn.Module | None, instance_weight: str = "none"
    ) -> None:
        super().__init__()
        if isinstance(loss_cls, RankingLoss):
            raise TypeError(
                "Expected FocalLoss, QualityFocalLoss or the like in ScoreCriterion, but got "
                f"{type(loss_cls).__name__}; leave criterion.type out for a ranking loss."
            )
        if loss_bbox is None:
            raise ValueError("Expected a head with boxes for ScoreCriterion, but got no loss_bbox.")
        if instance_weight not in _WEIGHTS:
            raise ValueError(
                f"Expected instance_weight to be one of {_WEIGHTS}, but got {instance_weight!r}."
            )
        self.loss_cls = loss_cls
        self.loss_bbox = loss_bbox
        self.instance_weight = instance_weight

    def add_task(self, name: str) -> None:
        """Refuse a task beside the boxes.

        Raises:
            ValueError: Always.
        """
        raise ValueError(f"Expected a head of boxes alone for ScoreCriterion, but got {name!r}.")

    def forward(self, problem: RankingProblem) -> ScoredLosses:
        """Losses of a head; see `RankingCriterion.forward`.

        Args:
            problem: All examples of the batch.

        Returns:
            Dict of ``loss_cls``, ``loss_bbox`` and ``num_pos``.
        """
        boxes = problem.boxes
        if boxes is None:
            raise ValueError("Expected a problem with boxes for ScoreCriterion, but got none.")
        num_pos = problem.logits.new_tensor(float(problem.num_positives), dtype=torch.float32)
        target: Tensor | tuple[Tensor, Tensor] = problem.labels
        if isinstance(self.loss_cls, QualityFocalLoss):
            quality = num_pos.new_zeros(problem.labels.shape)
            quality[problem.positives] = problem.quality.detach().float()
            target = (problem.labels, quality)
        cls = self.loss_cls(
            problem.logits.float(),
            target,
            problem.label_weights,
            avg_factor=reduce_mean(num_pos).clamp(min=1),
        )
        with torch.no_grad():
            weights = INSTANCE_WEIGHTS[self.instance_weight](problem, self.loss_cls)
            total = reduce_mean(weights.sum()).clamp(min=1e-6)
        losses = ScoredLosses(dict(loss_cls=cls), weights, total)
        errors = box_errors(self.loss_bbox, boxes.pred, boxes.target)
        losses["loss_bbox"] = losses.box_loss_beside(errors)
        losses["num_pos"] = num_pos
        return losses
