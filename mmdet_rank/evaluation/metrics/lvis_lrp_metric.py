"""LVISMetric with LRP Error beside AP."""

from __future__ import annotations

import importlib.util
from collections.abc import Sequence
from typing import Any

from mmdet.evaluation.metrics import LVISMetric
from mmdet.registry import METRICS

from mmdet_rank.evaluation.coco import matches_by_name
from mmdet_rank.evaluation.lrp import EQUAL_IMPORTANCE, check_importance, check_taus

from .recording import Recorder, publish, with_globals

__all__ = ["LVISLRPMetric"]


@METRICS.register_module()
class LVISLRPMetric(LVISMetric):
    """MMDetection's LVISMetric, with optimal LRP and its components (thesis Eq. 5.4-5.7) beside.

    Takes the place of ``LVISMetric``: it has the same arguments and returns the same figures, and
    adds those that ``CocoLRPMetric`` adds, by the federated rules of LVIS. It needs the lvis
    package, and unlike LVISMetric it also runs where that package alone does not, on NumPy 1.24 and
    later. Without any detection it returns no figures, as LVISMetric does.

    Args:
        *args: as for LVISMetric.
        tau: IoU from which on a match counts for LRP, or several, the first of which is that of all
            figures here; the others are in the report.
        importance: weights of true positives, false positives and false negatives in LRP (thesis
            Eq. 5.9).
        report_prefix: where ``PREFIX.bbox.lrp.json`` and ``PREFIX.bbox.thresholds.json`` go.
        **kwargs: as for LVISMetric.

    Raises:
        ImportError: when the lvis package is not installed.
        ValueError: for ``tau`` outside of [0, 1).
    """

    def __init__(
        self,
        *args: Any,
        tau: float | Sequence[float] = 0.5,
        importance: Sequence[float] = EQUAL_IMPORTANCE,
        report_prefix: str | None = None,
        **kwargs: Any,
    ) -> None:
        if importlib.util.find_spec("lvis") is None:
            raise ImportError(
                "Expected the lvis package for LVISLRPMetric but it is not installed; install it "
                "with `pip install --no-deps lvis`."
            )
        check_taus(tau)
        check_importance(importance)
        super().__init__(*args, **kwargs)
        self.tau = tau
        self.importance = importance
        self.report_prefix = report_prefix

    def compute_metrics(self, results: list) -> dict[str, float]:
        """Compute LVISMetric's figures and those of LRP Error.

        Args:
            results: pairs of ground truth and prediction, as ``process`` has stored them.
        """
        from mmdet_rank.evaluation.lvis import FederatedEval

        recorder = Recorder(self._read)
        compute = with_globals(LVISMetric.compute_metrics, LVISEval=recorder.making(FederatedEval))
        figures = compute(self, results)
        if self.format_only:
            return figures
        for iou_type, evaluation in recorder.evaluations().items():
            figures |= publish(
                evaluation, iou_type, classwise=self.classwise, report_prefix=self.report_prefix
            )
        return figures

    def _read(self, lvis_eval: Any) -> Any:
        """Read the matches of an evaluation; None when it was of proposals, without categories."""
        from mmdet_rank.evaluation.lvis import collect_lvis_matches, lvis_figures
        from mmdet_rank.evaluation.report import Evaluation

        # LVISMetric evaluates proposals by setting an attribute that the lvis package calls
        # `use_cats`, so the category-wise evaluation that runs then is no evaluation of classes.
        if getattr(lvis_eval.params, "useCats", 1) == 0:
            return None
        names = {c["id"]: c["name"] for c in self._lvis_api.load_cats(None)}
        return Evaluation.gather(
            lambda tau: matches_by_name(collect_lvis_matches(lvis_eval, tau), names),
            lvis_figures(lvis_eval),
            tau=self.tau,
            importance=self.importance,
        )
