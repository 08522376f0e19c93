"""What all ranking losses begin with: positives, their ranks, and a way back to the negatives."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from .distributed import gather_rows, reduce_histogram, world_size
from .knots import KnotTable
from .negatives import LocatedNegatives, locate_negatives, scatter_spread
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
    """

    index: Tensor
    own: slice
    scores: Tensor
    features: Tensor
    false_positives: Tensor
    outranked: Tensor
    world: int
    table: KnotTable
    located: LocatedNegatives

    @property
    def num_positives(self) -> int:
        """P."""
        return self.scores.numel()

    def sum_over_positives(self, weights: Tensor | None = None, itself: bool = True) -> Tensor:
        """``sum_k w_k H(s_k - s_i)`` over the positives k (thesis Eq. 6.6): (P,).

        Args:
            weights: (P,) default 1, which gives rank+(i).
            itself: Whether i counts itself, by H(0) (RS Loss), or not at all.
        """
        weights = torch.ones_like(self.scores) if weights is None else weights
        histogram = self.table.histogram(self.scores, weights[None])
        total = self.table.count(histogram)[0]
        return total if itself else total - step_at_zero(self.table.delta) * weights

    def spread_over_positives(self, weights: Tensor) -> Tensor:
        """``sum_k w_k H(s_i - s_k)`` over the positives k: (P,), the adjoint of the above."""
        values, slopes = self.table.spread(weights)
        interval, distance = self.table.locate(self.scores.to(self.table.knots.dtype))
        interval = interval.long()
        return values[interval] + slopes[interval] * distance

    def gradient(self, positives: Tensor, shares: Tensor) -> Tensor:
        """Gradient of one's own examples: (N,).

        Args:
            positives: (P,) gradient of each positive's logit.
            shares: (P,) what positive i puts on a negative j per unit of H(s_j - s_i).
        """
        gradient = scatter_spread(self.located, *self.table.spread(shares))
        gradient[self.index] = positives[self.own].to(gradient.dtype)
        # Data parallel training averages gradients over the processes; the loss is a mean over
        # all positives already, so that the sum is what is wanted.
        return gradient.mul_(self.world) if self.world > 1 else gradient


@torch.no_grad()
def rank_examples(
    logits: Tensor,
    targets: Tensor,
    delta: float,
    features: Tensor | None = None,
    sync: bool = False,
) -> Ranking | None:
    """Rank the positives among all examples.

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
    dtype = torch.float64 if logits.dtype == torch.float64 else torch.float32
    table = KnotTable(columns[0], delta, dtype)
    histogram, located = locate_negatives(logits, targets, table)
    if world > 1:
        histogram = reduce_histogram(histogram)
    false_positives = table.count(histogram)
    # Errors are divided by N_FP: a trace of one, at the very foot of the step, is rounding.
    trace = 10 * torch.finfo(dtype).eps
    return Ranking(
        index=index,
        own=own,
        scores=columns[0],
        features=columns[1:],
        false_positives=false_positives,
        outranked=table.reached(histogram) & (false_positives > trace),
        world=world,
        table=table,
        located=located,
    )


def result_dtype(logits: Tensor) -> torch.dtype:
    """Losses come in float32, and in float64 for float64 logits."""
    return torch.float64 if logits.dtype == torch.float64 else torch.float32


def zero_loss(logits: Tensor) -> Tensor:
    """A zero attached to the graph of the logits, also when these are infinite or none."""
    return (logits[:0].sum() * 0).to(result_dtype(logits))
