"""LRP Error and panoptic quality as a metric of panoptic segmentation."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from mmdet.evaluation.functional import INSTANCE_OFFSET
from mmdet.registry import METRICS
from mmengine.evaluator import BaseMetric
from mmengine.fileio import get_local_path
from mmengine.logging import MMLogger

from mmdet_rank.annotations.panoptic import check_panoptic
from mmdet_rank.evaluation.lrp import EQUAL_IMPORTANCE, check_importance
from mmdet_rank.evaluation.panoptic import (
    PQ_TAU,
    VOID,
    check_panoptic_tau,
    panoptic_counts,
    panoptic_report,
    read_panoptic_png,
)
from mmdet_rank.evaluation.report import class_table, summary_table
from mmdet_rank.files import load_json, write_json

__all__ = ["PanopticLRPMetric"]


@METRICS.register_module()
class PanopticLRPMetric(BaseMetric):
    """LRP Error of panoptic segmentation (thesis Eq. 5.2-5.6), with PQ, SQ and RQ (Eq. 5.1) beside.

    Needs no panopticapi. Returns ``LRP``, ``LRP_Loc``, ``LRP_FP``, ``LRP_FN``, ``PQ``, ``SQ`` and
    ``RQ`` over all categories, and each with ``_th`` for things and ``_st`` for stuff: all in
    [0, 1] (where CocoPanopticMetric has percent), NaN where undefined. Each image is matched as it
    comes, so that processes exchange counts alone.

    Args:
        ann_file: COCO panoptic annotation file. Without it categories come from the data set's
            metainfo (``classes``, ``thing_classes``) and segments from the data samples.
        seg_prefix: folder of the ground truth's PNG files. Without it the path is that of the data
            sample, ``seg_map_path``.
        tau: IoU above which segments match for LRP, in [0.5, 1). PQ always uses 0.5.
        classwise: also log the figures of each category.
        report_prefix: the report goes to ``PREFIX.panoptic.lrp.json``; None writes nothing.
        backend_args: as for MMDetection's metrics, for reading ``ann_file``.
        collect_device: where results of processes are collected, ``cpu`` or ``gpu``.
        prefix: beginning of the names of the figures, ``coco_panoptic`` by default.
        importance: weights of true positives, false positives and false negatives in LRP (thesis
            Eq. 5.9).

    Raises:
        ValueError: for ``tau`` outside of [0.5, 1), or weights that are not three positive numbers.
    """

    default_prefix: str | None = "coco_panoptic"

    def __init__(
        self,
        ann_file: str | None = None,
        seg_prefix: str | None = None,
        tau: float = 0.5,
        classwise: bool = False,
        report_prefix: str | None = None,
        backend_args: dict | None = None,
        collect_device: str = "cpu",
        prefix: str | None = None,
        importance: Sequence[float] = EQUAL_IMPORTANCE,
    ) -> None:
        check_panoptic_tau(tau)
        check_importance(importance)
        super().__init__(collect_device=collect_device, prefix=prefix)
        self.seg_prefix = seg_prefix
        self.tau = tau
        self.importance = importance
        self.classwise = classwise
        self.report_prefix = report_prefix
        self._annotations: dict | None = None
        self._file_categories: list[dict] | None = None
        if ann_file is not None:
            with get_local_path(ann_file, backend_args=backend_args) as local_path:
                found = check_panoptic(load_json(local_path), str(ann_file))
            self._annotations = found.images
            self._file_categories = found.categories

    def _categories(self) -> list[dict]:
        """Return the categories in the order of the detector's labels.

        MMDetection gives label i to the i-th category of the annotation file that is among the
        data set's classes.
        """
        classes = self.dataset_meta["classes"]
        if self._file_categories is not None:
            return [c for c in self._file_categories if c["name"] in classes]
        things = self.dataset_meta["thing_classes"]
        return [
            {"id": label, "name": name, "isthing": name in things}
            for label, name in enumerate(classes)
        ]

    def process(self, data_batch: dict, data_samples: Sequence[dict]) -> None:
        """Match the segments of a batch of images.

        Args:
            data_batch: not used.
            data_samples: predictions with ``pred_panoptic_seg``, ``img_id`` and ``img_path``.
        """
        categories = self._categories()
        order = {category["id"]: row for row, category in enumerate(categories)}
        for sample in data_samples:
            gt_map, gt_segments = self._ground_truth(sample, categories)
            dt_map, dt_segments = self._prediction(sample, categories)
            self.results.append(
                {
                    level: panoptic_counts(
                        gt_map,
                        gt_segments,
                        dt_map,
                        dt_segments,
                        order,
                        tau=level,
                        where=f"image {sample['img_id']}",
                    )
                    for level in {self.tau, PQ_TAU}
                }
            )

    def compute_metrics(self, results: list[dict]) -> dict[str, float]:
        """Add up the counts of all images and compute the figures.

        Args:
            results: counts by IoU threshold for each image.
        """
        report = panoptic_report(
            sum(counts[self.tau] for counts in results),
            sum(counts[PQ_TAU] for counts in results),
            self._categories(),
            tau=self.tau,
            importance=self.importance,
        )
        logger = MMLogger.get_current_instance()
        if self.classwise:
            logger.info(f"panoptic LRP Error by category, in percent:\n{class_table(report)}")
        logger.info(f"panoptic LRP Error in percent:\n{summary_table(report)}")
        if self.report_prefix is not None:
            write_json(Path(f"{self.report_prefix}.panoptic.lrp.json"), report)
        return {
            f"{key}{suffix}": math.nan if value is None else value
            for group, suffix in (("all", ""), ("things", "_th"), ("stuff", "_st"))
            for key, value in report[group].items()
        }

    def _ground_truth(self, sample: dict, categories: list[dict]) -> tuple[np.ndarray, list[dict]]:
        """Return segment ids by pixel, and the segments, of the ground truth."""
        if self._annotations is not None:
            annotation = self._annotations[sample["img_id"]]
            known = {category["id"] for category in categories}
            file_name, segments = annotation["file_name"], annotation["segments_info"]
            # A segment of a class that the data set leaves out is nothing to find.
            segments = [s for s in segments if s["category_id"] in known]
        else:
            file_name = Path(sample["img_path"]).with_suffix(".png").name
            segments = [
                {
                    "id": segment["id"],
                    "category_id": segment["category"],
                    # MMDetection marks crowds as segments of a thing that are not things.
                    "iscrowd": int(
                        categories[segment["category"]]["isthing"] and not segment["is_thing"]
                    ),
                }
                for segment in sample["segments_info"]
            ]
        path = (
            sample["seg_map_path"] if self.seg_prefix is None else Path(self.seg_prefix) / file_name
        )
        gt_map = read_panoptic_png(path)
        gt_map[~np.isin(gt_map, [segment["id"] for segment in segments])] = VOID
        return gt_map, segments

    def _prediction(self, sample: dict, categories: list[dict]) -> tuple[np.ndarray, list[dict]]:
        """Return segment ids by pixel, and the segments, of the prediction.

        MMDetection writes ``label + INSTANCE_OFFSET * instance`` in each pixel.
        """
        predicted = sample["pred_panoptic_seg"]
        values = predicted["sem_seg"].cpu().numpy()[0]
        ids, dt_map = np.unique(values, return_inverse=True)
        labels = ids % INSTANCE_OFFSET
        void = (labels >= len(categories)) | (labels == predicted.get("ignore_index", -1))
        numbers = np.where(void, VOID, np.arange(1, len(ids) + 1))
        segments = [
            {"id": int(number), "category_id": categories[label]["id"]}
            for number, label in zip(numbers, labels, strict=True)
            if number != VOID
        ]
        return numbers[dt_map.reshape(values.shape)], segments
