"""The figures of binary segmentation as a metric of MMSegmentation."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from mmengine.evaluator import BaseMetric
from mmseg.registry import METRICS

from mmdet_rank.evaluation.pixels import count_hits, count_scores, hit_figures, score_figures


@METRICS.register_module()
class PixelMetric(BaseMetric):
    """IoU, F1, precision and recall of the foreground over all pixels, and AP, ODS, OIS.

    The first four are of the prediction as the model makes it, by its threshold; the others look
    at all thresholds (`evaluation.pixels.score_figures`): ODS and OIS choose theirs on the very
    data that they are of.

    Args:
        foreground: Label of the foreground.
        ignore_index: Label of pixels that are left out.
        collect_device: As for `BaseMetric`.
        prefix: As for `BaseMetric`.
    """

    default_prefix = "pixels"

    def __init__(
        self,
        foreground: int = 1,
        ignore_index: int = 255,
        collect_device: str = "cpu",
        prefix: str | None = None,
    ) -> None:
        super().__init__(collect_device=collect_device, prefix=prefix)
        self.foreground = foreground
        self.ignore_index = ignore_index

    def process(self, data_batch: dict, data_samples: Sequence[dict]) -> None:
        """Count the pixels of a batch."""
        for sample in data_samples:
            label = sample["gt_sem_seg"]["data"].squeeze(0).cpu().numpy()
            pred = sample["pred_sem_seg"]["data"].squeeze(0).cpu().numpy()
            scores = sample["seg_logits"]["data"].float()
            # One channel is a probability already, by the segmentor.
            if len(scores) == 1:
                probs = scores[0] if self.foreground == 1 else 1 - scores[0]
            else:
                probs = scores.softmax(0)[self.foreground]
            valid, mask = label != self.ignore_index, label == self.foreground
            self.results.append(
                (
                    count_hits(pred == self.foreground, mask, valid),
                    count_scores(probs.cpu().numpy(), mask, valid).astype(np.int32),
                )
            )

    def compute_metrics(self, results: list) -> dict[str, float]:
        """The figures, in [0, 1]."""
        hits = sum((own for own, _ in results), np.zeros(3, dtype=np.int64))
        return hit_figures(hits) | score_figures([counts for _, counts in results])
