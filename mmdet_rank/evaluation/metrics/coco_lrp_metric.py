"""CocoMetric with LRP Error beside AP."""

from __future__ import annotations

import contextlib
import io
import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from mmdet.datasets import api_wrappers
from mmdet.datasets.api_wrappers import COCO, COCOeval
from mmdet.evaluation.metrics import CocoMetric
from mmdet.registry import METRICS
from mmengine.fileio import get_local_path
from mmengine.logging import MMLogger

from mmdet_rank.datasets.checked_data import CheckedCOCO
from mmdet_rank.evaluation.coco import (
    average_figures,
    check_max_dets,
    class_figures,
    collect_matches,
    limit_notes,
    matches_by_name,
)
from mmdet_rank.evaluation.faster import (
    choose_backend,
    collect_faster_matches,
    make_faster_eval,
)
from mmdet_rank.evaluation.lrp import EQUAL_IMPORTANCE, check_importance, check_taus
from mmdet_rank.evaluation.report import Evaluation
from mmdet_rank.evaluation.skipping import SkippingCOCOeval
from mmdet_rank.files import load_json

from .publishing import precision_by_category, publish, result_files, stock_figures

__all__ = ["CocoLRPMetric"]

#: Figures of an evaluation by MMDetection's names, in the order of ``COCOeval.stats``.
_FIGURES = (
    *("mAP", "mAP_50", "mAP_75", "mAP_s", "mAP_m", "mAP_l"),
    *("AR@100", "AR@300", "AR@1000", "AR_s@1000", "AR_m@1000", "AR_l@1000"),
)
# The number of detections at which pycocotools has AP.
_COCO_LIMIT = 100


@METRICS.register_module()
class CocoLRPMetric(CocoMetric):
    """MMDetection's CocoMetric, with optimal LRP and its components (thesis Eq. 5.4-5.7) beside.

    Takes the place of ``CocoMetric`` in any config: it has the same arguments and returns the same
    figures, also when nothing is detected, where AP is 0 and CocoMetric returns none. For ``bbox``
    and ``segm`` it adds ``bbox_oLRP``, ``bbox_oLRP_Loc``, ``bbox_oLRP_FP``, ``bbox_oLRP_FN`` and,
    by size of the objects, ``bbox_oLRP_s``, ``bbox_oLRP_m``, ``bbox_oLRP_l``: errors in [0, 1],
    lower is better, NaN where undefined; and ``bbox_precision``, ``bbox_recall`` and ``bbox_F1`` at
    IoU 0.5, means over the categories at the confidence of the best mean F1. To keep the best
    checkpoint by it:
    ``CheckpointHook(save_best="coco/bbox_oLRP", rule="less")``.

    Categories go by their name in the annotation file. As in CocoMetric, the size of a mask's
    detection is that of the mask. Matches at IoU 0.5 to 0.95 in steps of 0.05 (or at
    ``iou_thrs``) are those that AP was computed from; any other ``tau`` takes one more pass.

    Args:
        ann_file: as for CocoMetric. It is read and checked by ``mmdet_rank.annotations``, so that
            ids of any kind do: objects are numbered 1, 2, ... inside.
        *args: as for CocoMetric.
        tau: IoU from which on a match counts for LRP, or several, the first of which is that of all
            figures here; the others are in the report.
        importance: weights of true positives, false positives and false negatives in LRP (thesis
            Eq. 5.9).
        max_dets: how many detections of an image and category count, those of the highest scores,
            in all figures of ``bbox`` and ``segm`` (unless ``proposal_nums`` is given, which then
            limits AP50, AP75 and AP by size), but recall in ``metric_items``, such as ``AR@300``,
            whose names say how many.
        report_prefix: where the LRP report and the LRP-optimal thresholds go:
            ``PREFIX.bbox.lrp.json`` and ``PREFIX.bbox.thresholds.json``. None writes nothing.
        backend: ``pycocotools``; ``faster`` for faster-coco-eval, which gives the same figures in
            less time; ``auto`` for this where it is installed.
        **kwargs: as for CocoMetric. With ``classwise`` there is ``bbox_{name}_oLRP`` for each
            category too, and its precision, recall and F1; with ``format_only`` nothing is
            evaluated.

    Raises:
        ValueError: for ``tau`` outside of [0, 1), or another backend.
        ImportError: when faster-coco-eval is asked for and not installed.

    >>> metric = CocoLRPMetric(metric=["bbox", "segm"], tau=0.5)
    """

    def __init__(
        self,
        ann_file: str | None = None,
        *args: Any,
        tau: float | Sequence[float] = 0.5,
        importance: Sequence[float] = EQUAL_IMPORTANCE,
        max_dets: int = 100,
        report_prefix: str | None = None,
        backend: str = "auto",
        **kwargs: Any,
    ) -> None:
        check_taus(tau)
        choose_backend(backend)
        check_importance(importance)
        check_max_dets(max_dets)
        given = len(args) > 2 or "proposal_nums" in kwargs
        # Objects365 wants the categories sorted, which CocoMetric does as it reads.
        own = ann_file is not None and not kwargs.get("sort_categories")
        super().__init__(None if own else ann_file, *args, **kwargs)
        self.tau = tau
        self.importance = importance
        self.max_dets = max_dets
        # Proposals, and recall at a number of detections, have CocoMetric's own limits.
        self._limits = self.proposal_nums if given else [1, min(10, max_dets), max_dets]
        self.report_prefix = report_prefix
        self.backend = backend
        self._told = False
        if own and ann_file is not None:
            self._read_truth(ann_file)

    def _read_truth(self, path: str) -> None:
        """Read the annotation file as every other part does, in place of pycocotools."""
        use = "listing" if self.format_only else "evaluation"
        iou_types = ("bbox", "segm") if "segm" in self.metrics else ("bbox",)
        with get_local_path(path, backend_args=self.backend_args) as local_path:
            self._coco_api = CheckedCOCO(local_path, use, iou_types)

    def compute_metrics(self, results: list) -> dict[str, float]:
        """Compute CocoMetric's figures and those of LRP Error.

        Args:
            results: pairs of ground truth and prediction, as ``process`` has stored them.
        """
        self._tell_limit()
        with result_files(self, CocoMetric, results) as prefix:
            if self.format_only:
                return {}
            self._warn_of_names()
            figures: dict[str, float] = {}
            for metric in self.metrics:
                if metric in ("bbox", "segm"):
                    figures |= self._evaluate(metric, Path(f"{prefix}.{metric}.json"))
                else:
                    figures |= stock_figures(self, CocoMetric, results, metric)
        return figures

    def _evaluate(self, metric: str, file: Path) -> dict[str, float]:
        """Evaluate one kind of results: CocoMetric's figures, and those of LRP Error."""
        if not file.is_file():
            raise KeyError(f"{metric} is not in results")
        predictions = _with_scores(load_json(file))
        if predictions:
            if metric == "segm":
                for prediction in predictions:
                    # pycocotools would take the size of a detection from its box.
                    del prediction["bbox"]
            results, evaluator = self._coco_api.loadRes(predictions), self._evaluator()
        else:
            MMLogger.get_current_instance().error(
                "The testing results of the whole dataset is empty."
            )
            results, evaluator = _empty(), SkippingCOCOeval
        coco_eval = self._run(metric, results, evaluator, self._limits)
        if self._limits != self.proposal_nums and self._wants_recall():
            with contextlib.redirect_stdout(io.StringIO()):
                recalls = self._run(metric, results, evaluator, self.proposal_nums).stats[6:]
            coco_eval.stats = np.concatenate([coco_eval.stats[:6], recalls])
        figures = self._stock_figures(metric, coco_eval)
        return figures | self._publish(self._read(coco_eval), metric)

    def _evaluator(self) -> Callable[..., Any]:
        if choose_backend(self.backend, self._coco_api) == "faster":
            return make_faster_eval
        if getattr(self, "use_mp_eval", False):
            return api_wrappers.COCOevalMP
        return SkippingCOCOeval

    def _wants_recall(self) -> bool:
        """Tell whether figures are asked for whose names say of how many detections they are."""
        return any("@" in item for item in self.metric_items or ())

    def _run(
        self, metric: str, results: COCO, evaluator: Callable[..., Any], limits: Sequence[int]
    ) -> Any:
        coco_eval = evaluator(self._coco_api, results, metric)
        coco_eval.params.catIds = self.cat_ids
        coco_eval.params.imgIds = self.img_ids
        coco_eval.params.maxDets = list(limits)
        coco_eval.params.iouThrs = self.iou_thrs
        coco_eval.evaluate()
        coco_eval.accumulate()
        if self.max_dets == _COCO_LIMIT:
            coco_eval.summarize()
        else:
            _summarize_at(coco_eval, self._limit_of(coco_eval))
        return coco_eval

    def _limit_of(self, coco_eval: Any) -> int:
        """The limit of AP: that of LRP, or with other ``proposal_nums`` the greatest of them."""
        limits = coco_eval.params.maxDets
        return self.max_dets if self.max_dets in limits else limits[-1]

    def _stock_figures(self, metric: str, coco_eval: Any) -> dict[str, float]:
        """CocoMetric's figures of an evaluation."""
        figures = {}
        if self.classwise:
            # Sorted by id, as the evaluation has them, in whatever order the file lists them.
            ids = coco_eval.params.catIds
            names = [category["name"] for category in self._coco_api.loadCats(ids)]
            precision = coco_eval.eval["precision"][..., -1]
            figures = precision_by_category(names, precision, _FIGURES[:6])
        for item in self.metric_items or _FIGURES[:6]:
            if item not in _FIGURES:
                raise KeyError(f'metric item "{item}" is not supported')
            figures[f"{metric}_{item}"] = round(float(coco_eval.stats[_FIGURES.index(item)]), 3)
        line = " ".join(f"{value:.3f}" for value in coco_eval.stats[:6])
        MMLogger.get_current_instance().info(f"{metric}_mAP_copypaste: {line}")
        return figures

    def _tell_limit(self) -> None:
        """Warn once of objects that the limit of detections keeps from being found."""
        if self._coco_api is None or self.format_only or self._told:
            return
        self._told = True
        for note in limit_notes(self._coco_api.dataset["annotations"], [], self.max_dets):
            MMLogger.get_current_instance().warning(note)

    def _publish(self, evaluation: Evaluation, iou_type: str) -> dict[str, float]:
        return publish(
            evaluation, iou_type, classwise=self.classwise, report_prefix=self.report_prefix
        )

    def _read(self, coco_eval: Any) -> Evaluation:
        """Read the matches of an evaluation."""
        names = {c["id"]: c["name"] for c in self._coco_api.loadCats(self.cat_ids)}
        # Categories of equal name (in a data set of one's own) are told apart by their id.
        doubles = [name for name in names.values() if list(names.values()).count(name) > 1]
        names = {id_: f"{n} ({id_})" if n in doubles else n for id_, n in names.items()}
        limit = self._limit_of(coco_eval)
        collect = collect_matches if isinstance(coco_eval, COCOeval) else collect_faster_matches
        return Evaluation.gather(
            lambda tau: matches_by_name(collect(coco_eval, tau, self.max_dets), names),
            average_figures(coco_eval, limit),
            class_figures(coco_eval, names, limit),
            tau=self.tau,
            importance=self.importance,
            iou_type=coco_eval.params.iouType,
            max_dets=min(self.max_dets, coco_eval.params.maxDets[-1]),
        )

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


def _summarize_at(coco_eval: Any, limit: int) -> None:
    """Summarize with AP at a limit of detections.

    pycocotools has it at 100, whatever the other limits are, and says -1 where 100 is not among
    them.
    """
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        coco_eval.summarize()
    average = average_figures(coco_eval, limit)["AP"]
    coco_eval.stats[0] = -1.0 if math.isnan(average) else average
    first, rest = printed.getvalue().split("\n", 1)
    head = first.rsplit("maxDets=", 1)[0]
    print(f"{head}maxDets={limit:>3d} ] = {coco_eval.stats[0]:.3f}\n{rest}", end="")


def _with_scores(predictions: list[dict]) -> list[dict]:
    """Leave out detections whose score is no number, which have no place in an order.

    One of them must not end a training of days.
    """
    kept = [found for found in predictions if math.isfinite(found["score"])]
    if len(kept) < len(predictions):
        first = next(found for found in predictions if not math.isfinite(found["score"]))
        MMLogger.get_current_instance().warning(
            f"{len(predictions) - len(kept)} of {len(predictions)} detections have a score that is "
            f"no finite number (the first in image {first['image_id']}), and are left out: the "
            "model may have diverged; see its loss, or try a lower learning rate."
        )
    return kept


def _empty() -> COCO:
    """Results without any detection, of which AP is 0 and oLRP 1.

    CocoMetric returns no figure of them; an epoch without a detection must not stop ``save_best``,
    by whichever figure it goes.
    """
    nothing = COCO()
    nothing.dataset = {"images": [], "annotations": [], "categories": []}
    nothing.createIndex()
    return nothing
