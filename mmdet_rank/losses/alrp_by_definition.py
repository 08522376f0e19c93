"""aLRP Loss by its definition, pair by pair, for the experiment with a wrong target."""

from __future__ import annotations

import torch
from mmdet.registry import MODELS
from torch import Tensor

from mmdet_rank.ops import unit_step
from mmdet_rank.ops.identity_update import attach_gradient

from .alrp_loss import aLRPLoss
from .base import RankedLoss


@MODELS.register_module()
class aLRPLossByDefinition(aLRPLoss):
    """aLRP Loss whose gradient is summed over all pairs, with the target as an option (L.3).

    The target of a positive's error is its localisation error over its rank, for no ranking can
    undo that. With 0 in its place (thesis Fig. L.1) positives are raised forever, also where no
    negative is left to lower for it, so that the two sides of the gradient drift apart.

    For small problems: positives times logits in float64, 1 GB for 1,000 times 100,000.

    Args:
        target: "localization" for aLRP Loss as it is, "zero" for the wrong one.
        delta: As of `aLRPLoss`, and so are all other options but ``sync``.
        **kwargs: Likewise.

    Raises:
        ValueError: If ``target`` is neither, or ``sync`` is True.
    """

    def __init__(self, target: str = "localization", delta: float = 1.0, **kwargs) -> None:
        super().__init__(delta=delta, **kwargs)
        if target not in ("localization", "zero"):
            raise ValueError(f"Expected target 'localization' or 'zero', but got {target!r}.")
        if self.sync:
            raise ValueError(
                "Expected sync=False in aLRPLossByDefinition, but got True; it ranks in one "
                "process. Use aLRPLoss."
            )
        self.target = target

    def rank(
        self,
        logits: Tensor,
        targets: Tensor | None = None,
        loc_errors: Tensor | None = None,
        *,
        positives: Tensor | None = None,
        labels: Tensor | None = None,
        ignored: Tensor | None = None,
    ) -> RankedLoss:
        """Loss of flat logits; see `aLRPLoss.rank`."""
        places = dict(positives=positives, labels=labels, ignored=ignored)
        ranked = super().rank(logits, targets, loc_errors, **places)
        if targets is not None:
            positives, ignored = ((targets > 0).nonzero()[:, 0], (targets < 0).nonzero()[:, 0])
        if positives is None or not len(positives):
            return ranked
        errors = logits.new_zeros(len(positives), dtype=torch.float64)
        if loc_errors is not None:
            errors = loc_errors.detach().double() / (1 - self.tau)
        value, gradient = self._identity_update(logits.detach(), positives, ignored, errors)
        cls = ranked.cls.detach() if self.target == "localization" else value * self.loss_weight
        dtype = ranked.cls.dtype
        gradient = (gradient * self.loss_weight).to(dtype)
        return RankedLoss(attach_gradient(logits, cls.to(dtype), gradient), ranked.loc)

    def _identity_update(
        self, logits: Tensor, positives: Tensor, ignored: Tensor | None, errors: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Mean excess over the target, and the gradient (Eq. 6.18 to 6.24 with 7.2 to 7.6)."""
        own = logits.double()
        step = unit_step(own[None, :] - own[positives, None], self.delta)
        above = step[:, positives].fill_diagonal_(1.0)
        step[:, positives] = 0
        if ignored is not None:
            step[:, ignored] = 0
        num_fp = step.sum(1)
        rank = above.sum(1) + num_fp
        current = (num_fp + above @ errors) / rank
        wrong = self.target == "zero"
        excess = current if wrong else current - errors / rank
        terms = step * (excess / num_fp.clamp(min=torch.finfo(torch.float64).tiny))[:, None]
        gradient = terms.sum(0)
        gradient[positives] = -(excess if wrong else terms.sum(1))
        return excess.mean(), gradient / len(positives)
