"""LVISMetric with LRP Error beside AP."""

from __future__ import annotations

import importlib.util
from collections.abc import Sequence
from typing import Any

from mmdet.evaluation.metrics import LVISMetric
from mmdet.registry import METRICS
from mmengine.logging import MMLogger

from mmdet_rank.evaluation.coco import matches_by_name
from mmdet_rank.evaluation.lrp import EQUAL_IMPORTANCE, check_importance, check_taus

from .publishing import precision_by_category, publish, result_files, stock_figures

__all__ = ["LVISLRPMetric"]


#: Figures of LVISMetric.
_FIGURES = ("AP", "AP50", "AP75", "APs", "APm", "APl", "APr", "APc", "APf")


@METRICS.register_module()
class LVISLRPMetric(LVISMetric):
    """MMDetection's LVISMetric, with optimal LRP and its components (thesis Eq. 5.4-5.7) beside.

    Takes the place of ``LVISMetric``: it has the same arguments and returns the same figures, and
    adds those that ``CocoLRPMetric`` adds, by the federated rules of LVIS. It needs the lvis
    package, and unlike LVISMetric it also runs where that package alone does not, on NumPy 1.24 and
    later. Without any detection it returns no figures, as LVISMetric does. Objects are numbered
    1, 2, ... inside, so that ids of any kind do.

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
                "Expected the lvis package for LVISLRPMetric, but it is not installed; install it "
                "with `pip install --no-deps lvis`."
            )
        check_taus(tau)
        check_importance(importance)
        super().__init__(*args, **kwargs)
        if self._lvis_api is not None:
            from mmdet_rank.evaluation.lvis import with_numbered_objects

            self._lvis_api = with_numbered_objects(self._lvis_api)
        self.tau = tau
        self.importance = importance
        self.report_prefix = report_prefix

    def compute_metrics(self, results: list) -> dict[str, float]:
        """Compute LVISMetric's figures and those of LRP Error.

        Args:
            results: pairs of ground truth and prediction, as ``process`` has stored them.
        """
        with result_files(self, LVISMetric, results) as prefix:
            if self.format_only:
                return {}
            figures: dict[str, float] = {}
            for metric in self.metrics:
                if metric in ("bbox", "segm"):
                    figures |= self._evaluate(metric, f"{prefix}.{metric}.json")
                else:
                    figures |= stock_figures(self, LVISMetric, results, metric)
        return figures

    def _evaluate(self, metric: str, file: str) -> dict[str, float]:
        """Evaluate one kind of results: LVISMetric's figures, and those of LRP Error."""
        from lvis import LVISResults

        from mmdet_rank.evaluation.lvis import FederatedEval

        try:
            detections = LVISResults(self._lvis_api, file)
        except IndexError:
            MMLogger.get_current_instance().info(
                "The testing results of the whole dataset is empty."
            )
            return {}
        lvis_eval = FederatedEval(self._lvis_api, detections, metric)
        lvis_eval.params.imgIds = self.img_ids
        lvis_eval.evaluate()
        lvis_eval.accumulate()
        lvis_eval.summarize()
        figures = {}
        if self.classwise:
            names = [c["name"] for c in self._lvis_api.load_cats(lvis_eval.params.cat_ids)]
            figures = precision_by_category(names, lvis_eval.eval["precision"], _FIGURES[:6])
        for key, value in lvis_eval.get_results().items():
            if key in (self.metric_items or _FIGURES):
                figures[f"{metric}_{key}"] = round(float(value), 3)
        lvis_eval.print_results()
        return figures | publish(
            self._read(lvis_eval),
            metric,
            classwise=self.classwise,
            report_prefix=self.report_prefix,
        )

    def _read(self, lvis_eval: Any) -> Any:
        """Read the matches of an evaluation."""
        from mmdet_rank.evaluation.lvis import (
            collect_lvis_matches,
            lvis_class_figures,
            lvis_figures,
        )
        from mmdet_rank.evaluation.report import Evaluation

        names = {c["id"]: c["name"] for c in self._lvis_api.load_cats(None)}
        return Evaluation.gather(
            lambda tau: matches_by_name(collect_lvis_matches(lvis_eval, tau), names),
            lvis_figures(lvis_eval),
            lvis_class_figures(lvis_eval, names),
            tau=self.tau,
            importance=self.importance,
            iou_type=lvis_eval.params.iou_type,
            max_dets=lvis_eval.params.max_dets,
        )
