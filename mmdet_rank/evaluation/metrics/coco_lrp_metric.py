"""CocoMetric with LRP Error beside AP."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from mmdet.datasets.api_wrappers import COCO, COCOeval
from mmdet.evaluation.metrics import CocoMetric, coco_metric
from mmdet.registry import METRICS
from mmengine.logging import MMLogger

from mmdet_rank.evaluation.coco import collect_matches, matches_by_name
from mmdet_rank.evaluation.lrp import EQUAL_IMPORTANCE, check_importance, check_taus
from mmdet_rank.evaluation.report import Evaluation

from .recording import Recorder, publish, with_globals

__all__ = ["CocoLRPMetric"]


@METRICS.register_module()
class CocoLRPMetric(CocoMetric):
    """MMDetection's CocoMetric, with optimal LRP and its components (thesis Eq. 5.4-5.7) beside.

    Takes the place of ``CocoMetric`` in any config: it has the same arguments and returns the same
    figures. For ``bbox`` and ``segm`` it adds ``bbox_oLRP``, ``bbox_oLRP_Loc``, ``bbox_oLRP_FP``,
    ``bbox_oLRP_FN`` and, by size of the objects, ``bbox_oLRP_s``, ``bbox_oLRP_m``, ``bbox_oLRP_l``:
    errors in [0, 1], lower is better, NaN where undefined; and ``bbox_precision``, ``bbox_recall``
    and ``bbox_F1`` at IoU 0.5, means over the categories at the confidence of the best mean F1. To
    keep the best checkpoint by it:
    ``CheckpointHook(save_best="coco/bbox_oLRP", rule="less")``.

    Categories go by their name in the annotation file. As in CocoMetric, the size of a mask's
    detection is that of the mask. The detections that count are those within the greatest of
    ``proposal_nums`` per image and category. Matches at IoU 0.5 to 0.95 in steps of 0.05 (or at
    ``iou_thrs``) are those that AP was computed from; any other ``tau`` takes one more pass.

    Args:
        *args: as for CocoMetric.
        tau: IoU from which on a match counts for LRP, or several, the first of which is that of all
            figures here; the others are in the report.
        importance: weights of true positives, false positives and false negatives in LRP (thesis
            Eq. 5.9).
        report_prefix: where the LRP report and the LRP-optimal thresholds go:
            ``PREFIX.bbox.lrp.json`` and ``PREFIX.bbox.thresholds.json``. None writes nothing.
        **kwargs: as for CocoMetric. With ``classwise`` there is ``bbox_{name}_oLRP`` for each
            category too, and its precision, recall and F1; with ``format_only`` nothing is
            evaluated.

    Raises:
        ValueError: for ``tau`` outside of [0, 1).

    >>> metric = CocoLRPMetric(metric=["bbox", "segm"], tau=0.5)
    """

    def __init__(
        self,
        *args: Any,
        tau: float | Sequence[float] = 0.5,
        importance: Sequence[float] = EQUAL_IMPORTANCE,
        report_prefix: str | None = None,
        **kwargs: Any,
    ) -> None:
        check_taus(tau)
        check_importance(importance)
        super().__init__(*args, **kwargs)
        self.tau = tau
        self.importance = importance
        self.report_prefix = report_prefix
        if self._coco_api is not None:
            # pycocotools stops without it, and MMDetection's data sets take it for 0.
            for annotation in self._coco_api.anns.values():
                annotation.setdefault("iscrowd", 0)

    def compute_metrics(self, results: list) -> dict[str, float]:
        """Compute CocoMetric's figures and those of LRP Error.

        Args:
            results: pairs of ground truth and prediction, as ``process`` has stored them.
        """
        recorder = Recorder(self._read)
        evaluators = {
            name: recorder.making(getattr(coco_metric, name))
            for name in ("COCOeval", "COCOevalMP")
            if hasattr(coco_metric, name)
        }
        figures = with_globals(CocoMetric.compute_metrics, **evaluators)(self, results)
        if self.format_only:
            return figures
        self._warn_of_names()
        evaluations = recorder.evaluations()
        for iou_type in self.metrics:
            if iou_type not in ("bbox", "segm"):
                continue
            evaluation = evaluations.get(iou_type)
            if evaluation is None:
                evaluation = self._evaluate_nothing(iou_type)
            figures |= self._publish(evaluation, iou_type)
        return figures

    def _publish(self, evaluation: Evaluation, iou_type: str) -> dict[str, float]:
        return publish(
            evaluation, iou_type, classwise=self.classwise, report_prefix=self.report_prefix
        )

    def _read(self, coco_eval: COCOeval) -> Evaluation | None:
        """Read the matches of an evaluation; None when it was of proposals, without categories."""
        if not coco_eval.params.useCats:
            return None
        names = {c["id"]: c["name"] for c in self._coco_api.loadCats(self.cat_ids)}
        # Categories of equal name (in a data set of one's own) are told apart by their id.
        doubles = [name for name in names.values() if list(names.values()).count(name) > 1]
        names = {id_: f"{n} ({id_})" if n in doubles else n for id_, n in names.items()}
        values = dict(zip(("AP", "AP50", "AP75"), coco_eval.stats[:3], strict=True))
        values["AR"] = coco_eval.stats[8]
        return Evaluation.gather(
            lambda tau: matches_by_name(collect_matches(coco_eval, tau), names),
            {key: float(v) if v > -1 else math.nan for key, v in values.items()},
            tau=self.tau,
            importance=self.importance,
        )

    def _evaluate_nothing(self, iou_type: str) -> Evaluation:
        """Evaluate results without any detection, of which CocoMetric returns no figure.

        oLRP is then 1, so that a first epoch without a detection does not stop ``save_best``.
        """
        nothing = COCO()
        nothing.dataset = {"images": [], "annotations": [], "categories": []}
        nothing.createIndex()
        coco_eval = COCOeval(self._coco_api, nothing, iou_type)
        coco_eval.params.catIds = self.cat_ids
        coco_eval.params.imgIds = self.img_ids
        coco_eval.params.maxDets = list(self.proposal_nums)
        coco_eval.evaluate()
        coco_eval.accumulate()
        coco_eval.summarize()
        return self._read(coco_eval)

    def _warn_of_names(self) -> None:
        """Warn when labels go by another order of names than the annotation file's.

        MMDetection gives label i to the i-th category of the annotation file.
        """
        logger = MMLogger.get_current_instance()
        names = [category["name"] for category in self._coco_api.loadCats(self.cat_ids)]
        classes: Sequence[str] = (self.dataset_meta or {}).get("classes", names)
        if list(classes) != names:
            logger.warning(
                f"The classes of the data set, {list(classes)[:5]}..., are not in the order of the "
                f"categories of the annotation file, {names[:5]}...: labels follow the annotation "
                "file, and so do the names in LRP reports. Write `classes` in the order of the "
                "annotation file, so that pictures and thresholds show the right names too."
            )
        if 0 in self._coco_api.anns:
            logger.warning(
                "The annotation file has an object of id 0, and pycocotools takes a match with it "
                "for no match, in AP as in LRP Error. Number annotations from 1."
            )
