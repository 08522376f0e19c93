"""How much each positive counts in a localisation loss (the rows of thesis Table 8.1)."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from mmdet_rank.losses.base import RankingLoss
from mmdet_rank.ops.ranking_weights import ranking_weights

from .problem import RankingProblem

#: Half width of the step in ranking-based weights: the best of thesis Table N.2, which the row of
#: Table 8.1 has.
DELTA_LOC = 1.5


def score_weights(problem: RankingProblem, loss: RankingLoss) -> Tensor:
    """Highest probability over the classes."""
    return problem.positive_logits().float().sigmoid().amax(dim=1)


def iou_weights(problem: RankingProblem, loss: RankingLoss) -> Tensor:
    """IoU of prediction and object (or the quality that stands for it)."""
    return problem.quality.float()


def centerness_weights(problem: RankingProblem, loss: RankingLoss) -> Tensor:
    """Centerness of the prior within its object; 0 for a centre outside."""
    if problem.boxes is None or problem.boxes.centers is None:
        raise ValueError(
            "Expected priors with centres for instance_weight='centerness', but this head has "
            "none; use 'score', 'iou', 'ranking' or 'none'."
        )
    centers, gt_boxes = problem.boxes.centers.float(), problem.boxes.gt_boxes.float()
    before = (centers - gt_boxes[:, :2]).clamp(min=0)
    after = (gt_boxes[:, 2:] - centers).clamp(min=0)
    ratio = torch.minimum(before, after) / torch.maximum(before, after).clamp(min=1e-6)
    return ratio.prod(dim=1).sqrt()


def rank_weights(
    problem: RankingProblem, loss: RankingLoss, delta_loc: float | None = DELTA_LOC
) -> Tensor:
    """Sum of H / rank over the positives that do not outrank it (thesis 8.4.2, Eq. N.3).

    The step H is smoothed by ``delta_loc``; with None it is hard, and the ranks alone are smoothed
    by the ``delta`` of the loss ("default" in thesis Table N.2).

    Of a loss that unites ranks and localisation (aLRP), the very weights of its localisation part:
    with ``sync``, as there, times the number of processes that gradients are averaged over.
    """
    logits = problem.logits.reshape(-1)
    places = dict(positives=problem.positive_places, ignored=problem.ignored_places)
    if loss.unifies_localization:
        with torch.enable_grad():
            errors = torch.zeros_like(problem.quality, dtype=torch.float32).requires_grad_()
            loc = loss.rank(logits.detach(), loc_errors=errors, **places).loc
            return torch.autograd.grad(loc, errors)[0]  # type: ignore[arg-type]
    return ranking_weights(
        logits,
        **places,
        delta=loss.delta if delta_loc is None else delta_loc,
        hard=delta_loc is None,
        sync=loss.sync,
    )


def equal_weights(problem: RankingProblem, loss: RankingLoss) -> Tensor:
    """All alike."""
    return torch.ones_like(problem.quality, dtype=torch.float32)


WeightFunction = Callable[..., Tensor]

#: (problem, ranking loss) -> (P,) weights, by the name that configs use; "ranking"
#: has the option ``delta_loc``.
INSTANCE_WEIGHTS: dict[str, WeightFunction] = {
    "score": score_weights,
    "iou": iou_weights,
    "centerness": centerness_weights,
    "ranking": rank_weights,
    "none": equal_weights,
}
