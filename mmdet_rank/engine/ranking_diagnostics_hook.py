"""Figures of the ranking, logged while a model trains."""

from __future__ import annotations

from mmdet.registry import HOOKS
from mmengine.hooks import Hook
from mmengine.runner import Runner
from torch import Tensor

from mmdet_rank.criteria import RankingCriterion
from mmdet_rank.engine.wrapped import unwrapped
from mmdet_rank.ops.ranking import wide_dtype


@HOOKS.register_module()
class RankingDiagnosticsHook(Hook):
    """Logs the balance of gradients and the rank correlation of scores and IoUs.

    For every criterion of the model: ``grad_ratio``, the summed gradient magnitude of the
    positives over that of the negatives (1 for losses that rank alone, thesis Theorem 2), and
    ``rank_correlation``, Spearman's coefficient between the positives' scores and their
    localisation qualities (thesis 8.5.1). Figures are those of the process that logs.

    Args:
        interval: Every so many iterations; each costs a second backward pass from the loss to
            the logits.

    Raises:
        ValueError: If the interval is below 1.
    """

    def __init__(self, interval: int = 50) -> None:
        if interval < 1:
            raise ValueError(f"Expected an interval of at least 1, but got {interval}.")
        self.interval = interval

    def before_train_iter(self, runner: Runner, batch_idx: int, data_batch=None) -> None:
        """Ask the criteria to keep what they see."""
        wanted = self.every_n_train_iters(runner, self.interval)
        for _, criterion in _criteria(runner):
            criterion.keep_problem = wanted

    def after_train_iter(self, runner: Runner, batch_idx: int, data_batch=None, outputs=None):
        """Log what they saw."""
        if not self.every_n_train_iters(runner, self.interval):
            return
        for prefix, criterion in _criteria(runner):
            kept, criterion.kept = criterion.kept, {}
            for key, value in diagnose(**kept).items() if kept else ():
                runner.message_hub.update_scalar(f"train/{prefix}{key}", value)


def _criteria(runner: Runner) -> list[tuple[str, RankingCriterion]]:
    modules = unwrapped(runner).named_modules()
    found = [(name, m) for name, m in modules if isinstance(m, RankingCriterion)]
    # One criterion needs no name in the log; several are told apart by their head's.
    if len(found) == 1:
        return [("", found[0][1])]
    return [(f"{name.removesuffix('.criterion').replace('.', '/')}/", m) for name, m in found]


def diagnose(
    gradient: Tensor, targets: Tensor, scores: Tensor, quality: Tensor
) -> dict[str, float]:
    """Figures of one iteration; those that are undefined are left out.

    Args:
        gradient: (N,) gradient of the ranking loss with respect to the logits.
        targets: (N,) above 0: positive; 0: negative; below 0: ignored.
        scores: (P,) scores of the positives for their own classes.
        quality: (P,) localisation quality of the positives.

    Example:
        >>> import torch
        >>> diagnose(torch.tensor([-0.5, 0.25, 0.25]), torch.tensor([0.9, 0.0, 0.0]),
        ...          torch.tensor([1.0, 2.0, 3.0]), torch.tensor([0.5, 0.6, 0.9]))
        {'grad_ratio': 1.0, 'rank_correlation': 1.0}
    """
    figures = {}
    magnitude = gradient.to(wide_dtype(gradient.device)).abs()
    negatives = magnitude[targets == 0].sum()
    if negatives > 0:
        figures["grad_ratio"] = (magnitude[targets > 0].sum() / negatives).item()
    correlation = spearman(scores, quality)
    if correlation is not None:
        figures["rank_correlation"] = correlation
    return figures


def spearman(first: Tensor, second: Tensor) -> float | None:
    """Spearman's rank correlation with ties at their mean rank; None where it is undefined."""
    # SciPy's statistics take a second to import, which not every run needs.
    from scipy.stats import spearmanr

    if len(first) < 2 or (first == first[0]).all() or (second == second[0]).all():
        return None
    return round(float(spearmanr(first.cpu(), second.cpu()).statistic), 12)
