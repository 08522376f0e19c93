"""What all ranking losses begin with: positives, their ranks, and a way back to all examples."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from .distributed import gather_rows, reduce_histogram, world_size
from .knots import KnotTable
from .negatives import LocatedNegatives, locate_negatives
from .positives import sums_over_positives
from .step import step_at_zero, wide_dtype


@dataclass
class Ranking:
    """Ranks of all positives; with ``sync``, of those of all processes, in order of process.

    Attributes:
        index: (P_own,) places of one's own positives in the flat tensors.
        own: Slice of one's own positives among all P.
        scores: (P,) their logits, wide floats.
        features: (R, P) what else was asked for about each positive, wide floats.
        false_positives: (P,) N_FP(i), negatives that outrank i, smoothed.
        outranked: (P,) bool, whether any negative counts for i, by more than rounding.
        world: Number of processes that rank together.
        table: Knots of all positives.
        negatives: One's own negatives among the knots.
    """

    index: Tensor
    own: slice
    scores: Tensor
    features: Tensor
    false_positives: Tensor
    outranked: Tensor
    world: int
    table: KnotTable
    negatives: LocatedNegatives

    @property
    def num_positives(self) -> int:
        """P."""
        return self.scores.numel()

    def sum_over_positives(self, *weights: Tensor, itself: bool = True) -> tuple[Tensor, ...]:
        """rank+(i), and ``sum_k w_k H(s_k - s_i)`` over the positives k (thesis Eq. 6.6).

        Args:
            weights: (P,) each; one more sum for each.
            itself: Whether i counts itself, by H(0) (RS Loss), or not at all.

        Returns:
            rank+ and one sum per weight, (P,) each.
        """
        rows = torch.stack([torch.ones_like(self.scores), *weights])
        sums = sums_over_positives(self.scores, rows, self.table.delta)
        if not itself:
            sums = sums - step_at_zero(self.table.delta) * rows
        return sums.unbind()

    def attach(
        self, logits: Tensor, targets: Tensor, values: Tensor, positives: Tensor, shares: Tensor
    ) -> tuple[Tensor, ...]:
        """Losses that backpropagate gradients of one's own making to the logits.

        The gradients are written only when asked for, in one pass for all losses and at the
        scale that they arrive with: no tensor of N entries waits for the backward pass.

        Args:
            logits: (N,) as they were ranked.
            targets: (N,) likewise.
            values: (L,) the losses.
            positives: (L, P) gradient of each positive's logit.
            shares: (L, P) what positive i puts on a negative j per unit of H(s_j - s_i).

        Returns:
            L scalars, float32 (float64 for float64 logits).
        """
        values = values.to(result_dtype(logits))
        return _RankingLoss.apply(logits, targets, values, positives, shares, self).unbind()


class _RankingLoss(torch.autograd.Function):
    @staticmethod
    def forward(ctx, logits, targets, values, positives, shares, ranking):
        ctx.save_for_backward(logits, targets, positives, shares)
        ctx.ranking = ranking
        return values.clone()

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx, grad_output):
        logits, targets, positives, shares = ctx.saved_tensors
        ranking = ctx.ranking
        # Data parallel training averages gradients over the processes; the loss is a mean over
        # all positives already, so that the sum is what is wanted.
        scale = grad_output.to(shares.dtype)[:, None] * ranking.world
        tables = ranking.table.spread((scale * shares).sum(0))
        gradient = ranking.negatives.spread(logits, targets, *tables)
        own = (scale * positives).sum(0)[ranking.own]
        gradient.index_copy_(0, ranking.index, own.to(gradient.dtype))
        return gradient, None, None, None, None, None


@torch.no_grad()
def rank_examples(
    logits: Tensor,
    targets: Tensor,
    delta: float,
    features: Tensor | None = None,
    sync: bool = False,
) -> Ranking | None:
    """Rank the positives among all examples.

    Takes one host sync, for the number of positives; with ``sync`` one more.

    Args:
        logits: (N,) any floating dtype.
        targets: (N,) as the losses take them.
        delta: Half width of the step.
        features: (R, P_own) per positive, in their order in ``targets``. Default: the targets of
            the positives as the only row.
        sync: Rank over all processes of the default group.

    Returns:
        None when there is no positive (on any process).

    Raises:
        ValueError: If there is not one feature per positive.
    """
    logits, targets = logits.detach(), targets.detach()
    wide = wide_dtype(logits.device)
    index = (targets > 0).nonzero().squeeze(1)
    if features is None:
        features = targets[index][None]
    elif features.shape[1] != index.numel():
        raise ValueError(
            f"Expected one entry per positive ({index.numel()}), but got {features.shape[1]}."
        )
    columns = torch.cat([logits[index][None].to(wide), features.detach().to(wide)])
    own, world = slice(0, index.numel()), 1
    if sync and world_size() > 1:
        columns, own = gather_rows(columns)
        world = world_size()
    if columns.shape[1] == 0:
        return None
    table = KnotTable(columns[0], delta, result_dtype(logits))
    negatives = locate_negatives(logits, targets, table)
    histogram = reduce_histogram(negatives.histogram) if world > 1 else negatives.histogram
    false_positives, reached = table.count(histogram)
    # Errors are divided by N_FP: a trace of one, at the very foot of the step, is rounding.
    trace = 10 * torch.finfo(table.knots.dtype).eps
    return Ranking(
        index=index,
        own=own,
        scores=columns[0],
        features=columns[1:],
        false_positives=false_positives,
        outranked=reached & (false_positives > trace),
        world=world,
        table=table,
        negatives=negatives,
    )


def result_dtype(logits: Tensor) -> torch.dtype:
    """Losses come in float32, and in float64 for float64 logits."""
    return torch.float64 if logits.dtype == torch.float64 else torch.float32


def zero_loss(logits: Tensor) -> Tensor:
    """A zero attached to the graph of the logits, also when these are infinite or none."""
    return (logits[:0].sum() * 0).to(result_dtype(logits))
