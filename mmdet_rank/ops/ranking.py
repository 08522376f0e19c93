"""The beginning of all ranking losses: positives, their ranks, and a way back to all examples."""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from .distributed import gather_rows, reduce_histogram, world_size
from .kernels import use_kernels
from .knots import Histogram, KnotTable
from .negatives import locate_negatives
from .positives import PairSums
from .roles import Roles


def unit_step(difference: Tensor, delta: float) -> Tensor:
    """Smoothed unit step H (thesis Eq. 6.5), or the hard step of Eq. 6.1 when ``delta`` is 0.

    Args:
        difference: Score differences ``s_j - s_i``, any shape, floating point.
        delta: Half width of the linear part, in units of the logits. At least 0.

    Returns:
        Same shape as ``difference``: 0 below ``-delta``, 1 above ``delta``, linear between.
        With ``delta=0``: 1 where ``difference >= 0``, else 0.

    Example:
        >>> unit_step(torch.tensor([-2.0, 0.0, 0.25, 2.0]), 0.5)
        tensor([0.0000, 0.5000, 0.7500, 1.0000])
        >>> unit_step(torch.tensor([-2.0, 0.0]), 0.0)
        tensor([0., 1.])
    """
    if delta == 0:
        return (difference >= 0).to(difference.dtype)
    return (difference / (2 * delta) + 0.5).clamp(0, 1)


def step_at_zero(delta: float) -> float:
    """H(0): what an example adds to its own rank when it is counted like every other one."""
    return 0.5 if delta > 0 else 1.0


def run_eagerly(function: Callable) -> Callable:
    """Decorator: one clean graph break around the function instead of dozens inside.

    The number of positives changes with every batch, and a compiler that traced into the ranking
    sums would compile them again and again.
    """
    eager = None

    @functools.wraps(function)
    def wrapper(*args, **kwargs):
        nonlocal eager
        # Asked first: to disable the compiler loads it, which takes a second.
        if not torch.compiler.is_compiling():
            return function(*args, **kwargs)
        if eager is None:
            eager = torch.compiler.disable(function)
        return eager(*args, **kwargs)

    return wrapper


@dataclass
class Blame:
    """Verdict of a loss, or of several at once, on the examples once their ranks are known.

    Attributes:
        values: The losses, L scalars; none where only weights are asked for.
        positives: (L, P) gradient of each positive's logit, wide floats.
        shares: (P,) what positive i puts, for the first loss, on a negative j per unit of
            H(s_j - s_i). The other losses blame positives alone.
        weights: (P,) sums of H / rank over those that a positive outranks, where asked for.
    """

    values: tuple[Tensor, ...] = ()
    positives: Any = None
    shares: Any = None
    weights: Any = None


@dataclass
class Ranking:
    """Ranks of all positives; with ``sync``, of those of all processes, in order of process.

    Attributes:
        roles: Which of one's own examples are what.
        own: Slice of one's own positives among all P.
        scores: (P,) their logits, wide floats; for the kernels of any dtype.
        features: (R, P) what else was asked for about each positive, likewise.
        world: Number of processes that rank together.
        by_kernels: Whether the Triton kernels do the work.
        table: Knots of all positives.
        negatives: One's own negatives among the knots.
        histogram: The negatives of all processes among the knots.
    """

    roles: Roles
    own: slice
    scores: Tensor
    features: Tensor
    world: int
    by_kernels: bool
    table: Any  # KnotTable, or SortedKnots of the kernels
    negatives: Any  # LocatedNegatives and others, by what found them
    histogram: Histogram

    @property
    def num_positives(self) -> int:
        """P."""
        return self.scores.numel()

    @functools.cached_property
    def _count(self) -> tuple[Tensor, Tensor]:
        false_positives, reached = self.table.count(self.histogram)
        return false_positives, reached & (false_positives > self.trace)

    @property
    def trace(self) -> float:
        """How much of N_FP, at the foot of the step, may be rounding: errors are divided by it."""
        return 10 * torch.finfo(self.table.knots.dtype).eps

    @property
    def false_positives(self) -> Tensor:
        """(P,) N_FP(i), negatives that outrank i, smoothed."""
        return self._count[0]

    @property
    def outranked(self) -> Tensor:
        """(P,) bool, whether any negative counts for i, by more than rounding."""
        return self._count[1]

    @functools.cached_property
    def pairs(self) -> PairSums:
        """Sums over the positives, with the first feature for a label."""
        return PairSums(self.scores, self.table.delta, self.features[0])

    def sum_over_positives(self, *weights: Tensor, itself: bool = True) -> tuple[Tensor, ...]:
        """rank+(i), and ``sum_k w_k H(s_k - s_i)`` over the positives k (thesis Eq. 6.6).

        Args:
            weights: (P,) each; one more sum for each.
            itself: Whether i counts itself, by H(0) (RS Loss), or not at all.

        Returns:
            rank+ and one sum per weight, (P,) each.
        """
        rows = torch.stack([torch.ones_like(self.scores), *weights])
        sums = self.pairs.outranking(rows)
        if not itself:
            sums = sums - step_at_zero(self.table.delta) * rows
        return sums.unbind()

    def blame(self, loss: str, by_torch: Callable[[Ranking], Blame]) -> Blame:
        """Verdict of a loss: by its kernel where kernels work, else by its torch code.

        Args:
            loss: Name of the loss in ``kernels.positives.LOSSES``.
            by_torch: The same from torch's operators.
        """
        with torch.no_grad():
            if self.by_kernels:
                from .kernels.positives import blame

                return blame(self, loss)
            return by_torch(self)

    def attach(self, logits: Tensor, blame: Blame) -> tuple[Tensor, ...]:
        """Losses that backpropagate gradients of one's own making to the logits.

        The gradients are written only when asked for, in one pass for all losses and at the
        scale that they arrive with.

        Args:
            logits: (N,) as they were ranked.
            blame: What the losses say.

        Returns:
            L scalars, float32 (float64 for float64 logits).
        """
        dtype = result_dtype(logits)
        values = tuple(value.to(dtype) for value in blame.values)
        targets, index = self.roles.targets, self.roles.index
        source = index if targets is None else targets
        return _RankingLoss.apply(logits, source, values, blame, self)

    def gradient(self, logits: Tensor, blame: Blame, scales: tuple[Tensor | None, ...]) -> Tensor:
        """(N,) gradient of the sum of the losses, each times a scalar; None is 0."""
        if self.by_kernels:
            from .kernels.positives import spread

            return self.negatives.write(logits, *spread(self, blame, scales))
        zero = blame.shares.new_zeros(())
        # Data parallel training averages gradients over the processes; the loss is a mean over
        # all positives already, so that the sum is what is wanted.
        scale = torch.stack([zero if s is None else s.to(zero.dtype) for s in scales]) * self.world
        tables = self.table.spread(scale[0] * blame.shares)
        gradient = self.negatives.spread(logits, *tables)
        own = (scale @ blame.positives)[self.own]
        return gradient.index_copy_(0, self.roles.index, own.to(gradient.dtype))


class _RankingLoss(torch.autograd.Function):
    @staticmethod
    def forward(ctx, logits, source, values, blame, ranking):
        # What says which are the positives is kept to have torch notice when it is changed.
        ctx.save_for_backward(logits, source)
        ctx.set_materialize_grads(False)
        ctx.ranking = ranking
        ctx.blame = Blame((), blame.positives, blame.shares)
        return values

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx, *scales):
        logits, _ = ctx.saved_tensors
        return ctx.ranking.gradient(logits, ctx.blame, scales), None, None, None, None


@torch.no_grad()
def rank_examples(
    logits: Tensor,
    roles: Roles,
    delta: float,
    features: Tensor | None = None,
    sync: bool = False,
) -> Ranking | None:
    """Rank the positives among all examples.

    The host does not wait for the device; with ``sync`` it waits once.

    Args:
        logits: (N,) any floating dtype.
        roles: Which of them are what.
        delta: Half width of the step.
        features: (R, P_own) per positive. Default: their labels as the only row.
        sync: Rank over all processes of the default group.

    Returns:
        None when there is no positive (on any process).

    Raises:
        ValueError: If there is not one feature per positive.
    """
    keep, logits = logits.requires_grad, logits.detach()
    index = roles.index
    if features is None:
        features = roles.labels[None]
    elif features.shape[1] != index.numel():
        raise ValueError(
            f"Expected one entry per positive ({index.numel()}), but got {features.shape[1]}."
        )
    scores, features = logits[index], features.detach()
    own, world = slice(0, index.numel()), 1
    if sync and world_size() > 1:
        wide = wide_dtype(logits.device)
        columns, own = gather_rows(torch.cat([scores[None].to(wide), features.to(wide)]))
        scores, features = columns[0], columns[1:]
        world = world_size()
    if scores.numel() == 0:
        return None
    dtype = result_dtype(logits)
    by_kernels = dtype == torch.float32 and use_kernels(logits.device, scores.numel())
    if by_kernels:
        from .kernels.knots import SortedKnots
        from .kernels.negatives import CountedNegatives

        table = SortedKnots(scores, delta, logits.numel())
        negatives = CountedNegatives(logits, roles, table, keep)
    else:
        wide = wide_dtype(logits.device)
        scores, features = scores.to(wide), features.to(wide)
        table = KnotTable(scores, delta, dtype)
        negatives = locate_negatives(logits, roles, table)
    histogram = reduce_histogram(negatives.histogram) if world > 1 else negatives.histogram
    return Ranking(
        roles=roles,
        own=own,
        scores=scores,
        features=features,
        world=world,
        by_kernels=by_kernels,
        table=table,
        negatives=negatives,
        histogram=histogram,
    )


def wide_dtype(device: torch.device) -> torch.dtype:
    """The widest float of a device: sums over many examples lose digits in float32."""
    return torch.float32 if device.type == "mps" else torch.float64


def result_dtype(logits: Tensor) -> torch.dtype:
    """Losses come in float32, and in float64 for float64 logits."""
    return torch.float64 if logits.dtype == torch.float64 else torch.float32


def zero_loss(logits: Tensor) -> Tensor:
    """A zero attached to the graph of the logits, also when these are infinite or none."""
    return (logits[:0].sum() * 0).to(result_dtype(logits))
