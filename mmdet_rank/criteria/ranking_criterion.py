"""The one way from a ranking problem to losses, for every head."""

from __future__ import annotations

import logging
from types import EllipsisType
from typing import Any, NamedTuple

import torch
from mmdet.registry import MODELS
from mmengine.logging import print_log
from torch import Tensor, nn

from mmdet_rank.losses.base import SMALLEST_LABEL, RankedLoss, RankingLoss, scatter_labels

from .balance import ConstantBalance, gradient
from .instance_weights import DELTA_LOC, INSTANCE_WEIGHTS
from .localization import LocalizationTask, box_errors, unit_box_errors
from .problem import RankingProblem
from .ranked_losses import RankedLosses

#: A warning comes after so many iterations in a row without any positive.
PATIENCE = 100


class _Localization(NamedTuple):
    """The localisation task of a problem: boxes, or masks where there are no boxes."""

    name: str
    errors: Tensor
    outputs: Tensor
    unit_errors: Tensor | None
    loss_weight: float


@MODELS.register_module()
class RankingCriterion(nn.Module):
    """Ranking loss and box loss of a head, weighed and balanced as thesis 8.4.2 lays out.

    Args:
        loss_cls: Ranking loss.
        loss_bbox: MMDetection's box loss, None for heads without boxes.
        instance_weight: What a positive's box loss is weighed by: "score", "iou", "centerness",
            "ranking" or "none". Default: what the loss's paper uses.
        balance: How the box loss is balanced: "value", "magnitude", "epoch" or "constant", or a
            dict of the ``type`` and its options. Default: what the loss's paper uses.
        loss_weight: Factor of all losses of the head, after balancing (0.2 for an RPN).
        delta_loc: Half width of the step in ``instance_weight="ranking"`` (thesis Table N.2); None
            for a hard step over ranks that are smoothed as the loss's own. Only for these weights,
            and not for aLRP Loss, whose weights are part of its definition. Default: 1.5.

    Raises:
        TypeError: If ``loss_cls`` is not a ranking loss.
        ValueError: If an option is unknown, or does not go with the loss or with another option.
    """

    def __init__(
        self,
        loss_cls: RankingLoss,
        loss_bbox: Any = None,
        instance_weight: str | None = None,
        balance: str | dict | None = None,
        loss_weight: float = 1.0,
        delta_loc: float | EllipsisType | None = ...,
    ) -> None:
        super().__init__()
        if not isinstance(loss_cls, RankingLoss):
            raise TypeError(
                "Expected loss_cls to be RankSortLoss, aLRPLoss or APLoss in a Rank... head, but "
                f"got {type(loss_cls).__name__}; use MMDetection's own head for that loss."
            )
        instance_weight = instance_weight or loss_cls.default_instance_weight
        if instance_weight not in INSTANCE_WEIGHTS:
            raise ValueError(
                f"Expected instance_weight to be one of {sorted(INSTANCE_WEIGHTS)}, but got "
                f"{instance_weight!r}."
            )
        if loss_cls.unifies_localization and instance_weight != "ranking":
            raise ValueError(
                f"Expected instance_weight 'ranking' or none at all with {type(loss_cls).__name__},"
                f" but got {instance_weight!r}: that loss ranks localisation errors itself."
            )
        if loss_cls.unifies_localization and getattr(loss_bbox, "loss_weight", 1.0) <= 0:
            raise ValueError(
                f"Expected a loss_weight above 0 of loss_bbox with {type(loss_cls).__name__}, but "
                f"got {loss_bbox.loss_weight}: that loss ranks localisation errors; without them "
                "it is APLoss."
            )
        # None is a value of its own, so that ... stands for an option that is not given.
        if isinstance(delta_loc, EllipsisType):
            delta_loc = DELTA_LOC
        elif delta_loc is not None and not delta_loc >= 0:
            raise ValueError(f"Expected delta_loc >= 0 or None, but got {delta_loc}.")
        elif loss_cls.unifies_localization:
            raise ValueError(
                f"Expected no delta_loc with {type(loss_cls).__name__}, whose weights are part of "
                f"its definition, but got {delta_loc}; remove it."
            )
        elif instance_weight != "ranking":
            raise ValueError(
                f"Expected instance_weight='ranking' with delta_loc, but got {instance_weight!r}, "
                "which has no such step; write instance_weight='ranking', or remove delta_loc."
            )
        self.loss_cls = loss_cls
        self.loss_bbox = loss_bbox
        self.instance_weight = instance_weight
        self.balance = balance or loss_cls.default_balance
        self.loss_weight = loss_weight
        self.delta_loc = delta_loc
        #: Localisation tasks by name: "bbox" for heads with a box loss, "mask" for those without.
        self.tasks = nn.ModuleDict()
        self.add_task("mask" if loss_bbox is None else "bbox")
        #: What the diagnostics hook asks for: the last problem, when it set this to True.
        self.keep_problem = False
        self.kept: dict[str, Tensor] = {}
        self._empty_iterations = 0

    def add_task(self, name: str) -> None:
        """Add a task with a balance of its own, such as "mask" beside boxes; once.

        It is weighed, balanced and synchronised as the loss and the options say; see
        `RankedLosses.mask_losses`.
        """
        if name not in self.tasks:
            self.tasks[name] = LocalizationTask(
                self.balance,
                self.loss_cls.sync,
                # aLRP's weights (Eq. K.3) are shares of the loss, not to be scaled to a sum of 1.
                normalize=not self.loss_cls.unifies_localization,
            )

    def forward(self, problem: RankingProblem) -> RankedLosses:
        """Losses of a head, with the targets, weights and positives that its other tasks need.

        Args:
            problem: All examples of the batch.

        Returns:
            Dict of ``loss_cls``; with boxes ``loss_bbox`` and its factor ``balance_bbox``, with
            masks instead ``loss_mask`` and ``balance_mask``; ``num_pos``; and what the ranking
            loss has to log. The keys are always the same, and all losses are attached to the
            graph also when there is no positive.
        """
        task = self._localization(problem)
        unit_errors = None
        if self.loss_cls.unifies_localization:
            unit_errors = 1 - problem.quality if task is None else task.unit_errors
        ranked = self.loss_cls.rank(
            problem.logits.reshape(-1),
            loc_errors=unit_errors,
            positives=problem.positive_places,
            labels=self.labels(problem),
            ignored=problem.ignored_places,
        )
        self._watch(problem, ranked)
        losses = RankedLosses(
            dict(loss_cls=ranked.cls * self.loss_weight),
            problem,
            ranked,
            self,
            unit_errors,
        )
        if task is not None:
            if ranked.loc is not None:
                loss, factor = self.tasks[task.name].balanced(
                    ranked.loc * self._constant(task.loss_weight),
                    ranked.cls,
                    problem.logits,
                    task.outputs,
                )
            else:
                loss, factor = self.tasks[task.name](
                    task.errors, losses.weights, ranked.cls, problem.logits, task.outputs
                )
            losses[f"loss_{task.name}"] = loss * self.loss_weight
            losses[f"balance_{task.name}"] = factor
        losses["num_pos"] = ranked.cls.detach().new_tensor(float(problem.num_positives))
        losses.update(ranked.parts)
        return losses

    def labels(self, problem: RankingProblem) -> Tensor | None:
        """(P,) continuous labels of the positives; None: 1 each."""
        if not self.loss_cls.continuous_labels:
            return None
        dtype = torch.promote_types(problem.logits.dtype, torch.float32)
        return problem.quality.detach().float().to(dtype).clamp(min=SMALLEST_LABEL)

    def targets(self, problem: RankingProblem) -> Tensor:
        """Flat targets of the problem's logits, (A * C,), which the loss is told by places."""
        quality = None
        if self.loss_cls.continuous_labels:
            quality = problem.logits.new_zeros(problem.labels.shape, dtype=torch.float32)
            quality[problem.positives] = problem.quality.detach().float()
        targets = scatter_labels(problem.logits, problem.labels, quality)
        if problem.label_weights is not None:
            ignored = problem.label_weights <= 0
            targets.view_as(problem.logits).masked_fill_(ignored[:, None], -1.0)
        return targets

    @torch.no_grad()
    def weights(self, problem: RankingProblem) -> Tensor:
        """(P,) instance weights of the positives, for this task or another of the same head."""
        options = {"delta_loc": self.delta_loc} if self.instance_weight == "ranking" else {}
        return INSTANCE_WEIGHTS[self.instance_weight](problem, self.loss_cls, **options)

    def box_shares(self, errors: Tensor) -> Tensor:
        """Errors of boxes, (P,) with their weight in, as instance weights multiply them."""
        if not self.loss_cls.unifies_localization:
            return errors
        errors = unit_box_errors(self.loss_bbox, errors)
        return errors * self._constant(self.loss_bbox.loss_weight)

    def mask_shares(self, errors: Tensor, loss_weight: float) -> Tensor:
        """Errors of masks, (n,) with ``loss_weight`` in, as instance weights multiply them.

        Raises:
            ValueError: If the weight is not above 0 with a loss that ranks errors itself.
        """
        if not self.loss_cls.unifies_localization:
            return errors
        if not loss_weight > 0:
            raise ValueError(
                f"Expected a loss_weight above 0 of loss_mask with {type(self.loss_cls).__name__}, "
                f"but got {loss_weight}; to train no masks, leave the mask head out."
            )
        return errors / loss_weight * self._constant(loss_weight)

    def _constant(self, loss_weight: float) -> float:
        """Weight of aLRP's localisation part, whose errors in [0, 1] have no weight in."""
        balances = (task.balance for task in self.tasks.values())
        return loss_weight if any(isinstance(b, ConstantBalance) for b in balances) else 1.0

    def _localization(self, problem: RankingProblem) -> _Localization | None:
        if problem.boxes is not None and self.loss_bbox is not None:
            boxes = problem.boxes
            errors = box_errors(self.loss_bbox, boxes.pred, boxes.target)
            outputs = boxes.pred if boxes.outputs is None else boxes.outputs
            unit_errors = None
            if self.loss_cls.unifies_localization:
                unit_errors = unit_box_errors(self.loss_bbox, errors)
            weight = getattr(self.loss_bbox, "loss_weight", 1.0)
            return _Localization("bbox", errors, outputs, unit_errors, weight)
        if problem.masks is not None:
            masks = problem.masks
            errors = masks.errors * masks.loss_weight
            return _Localization("mask", errors, masks.outputs, masks.errors, masks.loss_weight)
        return None

    def _watch(self, problem: RankingProblem, ranked: RankedLoss) -> None:
        if not self.training:
            return
        self._empty_iterations = 0 if problem.num_positives else self._empty_iterations + 1
        if self._empty_iterations == PATIENCE:
            print_log(
                f"No prior was assigned to any object for {PATIENCE} iterations in a row. If the "
                "images have objects, check their sizes against the anchors, the assigner's "
                "thresholds, and the class names of the data set.",
                logger="current",
                level=logging.WARNING,
            )
        if self.keep_problem and ranked.cls.requires_grad:
            self.kept = dict(
                gradient=gradient(ranked.cls, problem.logits).reshape(-1),
                targets=self.targets(problem),
                scores=self._own_class_logits(problem),
                quality=problem.quality.detach(),
            )

    def _own_class_logits(self, problem: RankingProblem) -> Tensor:
        labels = problem.labels[problem.positives]
        return problem.positive_logits().detach().gather(1, labels[:, None]).squeeze(1)


def build_criterion(
    criterion: dict | None, loss_cls: nn.Module, loss_bbox: nn.Module | None = None
) -> RankingCriterion:
    """A head's criterion from its config and the losses that the head has built.

    Args:
        criterion: Options of `RankingCriterion`, or of another registered module by ``type``.
        loss_cls: The head's ranking loss.
        loss_bbox: The head's box loss, if it has boxes.
    """
    options = dict(type="RankingCriterion") | dict(criterion or {})
    return MODELS.build(options | dict(loss_cls=loss_cls, loss_bbox=loss_bbox))
