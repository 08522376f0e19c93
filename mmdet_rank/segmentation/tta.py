"""Predictions of several views of an image, merged to one."""

from __future__ import annotations

import torch
from mmengine.structures import PixelData
from mmseg.models.segmentors import SegTTAModel
from mmseg.registry import MODELS
from mmseg.structures import SegDataSample


@MODELS.register_module()
class PixelTTAModel(SegTTAModel):
    """`SegTTAModel` whose scores are merged too, and whose one channel is read as it is.

    A segmentor with one output channel gives probabilities; `SegTTAModel` takes the sigmoid of
    them once more, so that all of an image is foreground. It also keeps the scores of the last
    view, of which `PixelMetric` would compute AP, ODS and OIS.

    Args:
        **kwargs: As for `SegTTAModel`: ``module``, ``data_preprocessor``.
    """

    def merge_preds(self, data_samples_list: list[list[SegDataSample]]) -> list[SegDataSample]:
        """Average the probabilities of each image's views.

        Args:
            data_samples_list: Predictions of the views of each image.

        Returns:
            The first view of each image with ``pred_sem_seg`` and ``seg_logits`` of all views:
            mean probabilities of one channel, logits of the mean probabilities of several.
        """
        return [self._merged(views) for views in data_samples_list]

    def _merged(self, views: list[SegDataSample]) -> SegDataSample:
        scores = torch.stack([view.seg_logits.data.float() for view in views])
        if self.module.out_channels == 1:
            scores = scores.mean(0)
            pred = (scores > self.module.decode_head.threshold).to(scores)
        else:
            scores = scores.log_softmax(1).logsumexp(0)
            pred = scores.argmax(0, keepdim=True)
        merged = views[0]
        merged.set_data(dict(seg_logits=PixelData(data=scores), pred_sem_seg=PixelData(data=pred)))
        return merged
