"""How much a localisation loss counts beside the ranking loss (the columns of thesis Table 8.1).

Each balance returns a detached factor for the loss of one task; the loss's own ``loss_weight``
then counts with ``constant`` alone: the others divide by the loss that it is part of.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable

import torch
import torch.distributed as dist
from torch import Tensor, nn

from mmdet_rank.ops.distributed import world_size
from mmdet_rank.ops.ranking import wide_dtype

#: Single negatives of millions have gradients below float16's smallest step. This factor, undone
#: afterwards, lifts them, and leaves the greatest finite: none is greater than the ranking loss,
#: on each of several processes, or than 1.
HALF_SCALE = 2.0**14

#: No loss is taken for smaller than this when a factor divides by it. Losses of the IoU family
#: keep gradients of full size at perfect boxes, so that an unbounded factor would explode there.
SMALLEST_LOSS = 1e-2


def gradient(loss: Tensor, source: Tensor) -> Tensor:
    """Gradient of a scalar loss at the outputs of a branch, float32, the graph being kept.

    Args:
        loss: Scalar, float32.
        source: The tensor that it was computed on, any floating dtype.

    Raises:
        ValueError: If the loss does not depend on it.

    Example:
        >>> x = torch.zeros(2, dtype=torch.float16, requires_grad=True)
        >>> gradient((x.float() * 1e-9).sum(), x)
        tensor([1.0004e-09, 1.0004e-09])
    """
    scale = torch.ones_like(loss.detach())
    if source.dtype == torch.float16:
        scale = HALF_SCALE / (loss.detach() * world_size()).clamp(min=1)
    found = torch.autograd.grad(loss * scale, source, retain_graph=True, allow_unused=True)[0]
    if found is None:
        raise ValueError(
            "Expected a loss of the outputs whose gradients are measured (by balance='magnitude', "
            "or RankingDiagnosticsHook), but it was computed apart from them, as torch.compile "
            "does; do without that, or do not compile."
        )
    return found.detach().float() / scale


class Balance(nn.Module):
    """Base of the balances.

    Args:
        sync: Take losses and magnitudes over all processes.
    """

    def __init__(self, sync: bool = False) -> None:
        super().__init__()
        self.sync = sync

    @abstractmethod
    def forward(
        self, cls_loss: Tensor, task_loss: Tensor, logits: Tensor, outputs: Tensor
    ) -> Tensor:
        """Factor of a task's loss: detached scalar, finite.

        Args:
            cls_loss: Scalar ranking loss.
            task_loss: Scalar loss of the task.
            logits: The tensor that ``cls_loss`` was computed on.
            outputs: The tensor that ``task_loss`` was computed on.
        """

    def _ratio(self, numerator: Tensor, denominator: Tensor, smallest: float) -> Tensor:
        both = torch.stack([numerator.detach().float(), denominator.detach().float()])
        if self.sync and world_size() > 1:
            dist.all_reduce(both)
            both /= world_size()
        return both[0] / both[1].clamp(min=smallest)


class ConstantBalance(Balance):
    """1: the loss counts by its own ``loss_weight``."""

    def forward(
        self, cls_loss: Tensor, task_loss: Tensor, logits: Tensor, outputs: Tensor
    ) -> Tensor:
        """See `Balance`."""
        return torch.ones_like(task_loss.detach())


class ValueBalance(Balance):
    """Ranking loss / task loss, every iteration (thesis 8.4.2, Fig. 8.2c).

    The formula in the text of 8.4.2 is printed upside down; the figure's caption and the published
    code agree with this one, which gives both tasks the same value.
    """

    def forward(
        self, cls_loss: Tensor, task_loss: Tensor, logits: Tensor, outputs: Tensor
    ) -> Tensor:
        """See `Balance`."""
        return self._ratio(cls_loss, task_loss, SMALLEST_LOSS)


class MagnitudeBalance(Balance):
    """Ratio of the summed gradient magnitudes at the outputs of the two branches (8.4.2).

    As with values, what is printed as ``|dL_box/db| / |dL_RS/ds|`` is meant the other way round.
    """

    def forward(
        self, cls_loss: Tensor, task_loss: Tensor, logits: Tensor, outputs: Tensor
    ) -> Tensor:
        """See `Balance`."""
        if not (cls_loss.requires_grad and task_loss.requires_grad and outputs.requires_grad):
            return torch.ones_like(task_loss.detach())
        of_logits, of_outputs = (
            gradient(loss, source).abs().sum()
            for loss, source in ((cls_loss, logits), (task_loss, outputs))
        )
        return self._ratio(of_logits, of_outputs, SMALLEST_LOSS)


class EpochBalance(Balance):
    """aLRP's self-balance (thesis 7.3.2): mean total / mean localisation loss of the last epoch.

    All state is in buffers, and so in checkpoints: a resumed training goes on with the factor of
    an uninterrupted one. Losses are averaged over all processes in every iteration, not once at
    the end of a period: the sums are then the same on all of them, also in a checkpoint, which
    only the first process writes. Iterations whose losses are not finite are left out, and a period
    of nothing else leaves the factor as it is.

    Args:
        period: Iterations of an epoch. Default: `SelfBalanceHook` asks the data loader.
        initial: Factor during the first epoch (thesis Table 7.3: 1 to 500 do alike).
        sync: Not needed: the factor is always global.
    """

    def __init__(
        self, period: int | None = None, initial: float = 50.0, sync: bool = False
    ) -> None:
        super().__init__(sync)
        if period is not None and period < 1:
            raise ValueError(f"Expected a self-balance period of at least 1, but got {period}.")
        self.period = period
        self.initial = float(initial)
        self.register_buffer("factor", torch.tensor(self.initial))
        self.register_buffer("sums", torch.zeros(2, dtype=torch.float64))
        self.register_buffer("iterations", torch.zeros((), dtype=torch.int64))
        # The counter on the host, where it decides without waiting for the device.
        self._seen = 0

    def forward(
        self, cls_loss: Tensor, task_loss: Tensor, logits: Tensor, outputs: Tensor
    ) -> Tensor:
        """See `Balance`; counts an iteration when training."""
        factor = self.factor.clone()
        if self.training and torch.is_grad_enabled():
            self._count(cls_loss.detach(), task_loss.detach())
        return factor

    def reset(self) -> None:
        """Begin as without any history, such as that of the training whose weights were loaded."""
        self.factor.fill_(self.initial)
        self.sums.zero_()
        self.iterations.zero_()
        self._seen = 0

    def _count(self, cls_loss: Tensor, task_loss: Tensor) -> None:
        if self.period is None:
            raise ValueError(
                "The epoch self-balance does not know how long an epoch is. Add "
                "default_hooks=dict(self_balance=dict(type='SelfBalanceHook')) to the config, or "
                "give the period: criterion=dict(balance=dict(type='epoch', period=...))."
            )
        losses = torch.stack([cls_loss + task_loss, task_loss]).to(self.sums.dtype)
        if world_size() > 1:
            dist.all_reduce(losses)
            losses /= world_size()
        # An iteration whose loss is not finite, which a gradient scaler skips, does not count.
        self.sums += torch.where(losses.isfinite().all(), losses, 0.0)
        self.iterations += 1
        self._seen += 1
        if self._seen < self.period:
            return
        factor = self.sums[0] / self.sums[1].clamp(min=SMALLEST_LOSS * self.period)
        self.factor.copy_(torch.where(self.sums[0] > 0, factor, self.factor))
        self.sums.zero_()
        self.iterations.zero_()
        self._seen = 0

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> EpochBalance:
        # On its way to a device without float64, the sums must be narrowed before they move.
        self.sums = self.sums.to(wide_dtype(fn(self.factor).device))
        super()._apply(fn, recurse)
        self.sums = self.sums.to(wide_dtype(self.sums.device))
        return self

    def _load_from_state_dict(self, *args, **kwargs) -> None:
        super()._load_from_state_dict(*args, **kwargs)
        self._seen = int(self.iterations)


#: Balances by the name that configs use.
BALANCES: dict[str, type[Balance]] = {
    "constant": ConstantBalance,
    "value": ValueBalance,
    "magnitude": MagnitudeBalance,
    "epoch": EpochBalance,
}


def build_balance(balance: str | dict, sync: bool = False) -> Balance:
    """A balance from its name, or from a dict of its ``type`` and options.

    Raises:
        ValueError: If there is none of that name.

    Example:
        >>> build_balance(dict(type="epoch", period=100)).period
        100
    """
    options = dict(type=balance) if isinstance(balance, str) else dict(balance)
    name = options.pop("type", None)
    if name not in BALANCES:
        raise ValueError(f"Expected balance to be one of {sorted(BALANCES)}, but got {name!r}.")
    return BALANCES[name](**options, sync=sync)
