"""RTMDet's head, trained by a ranking loss."""

from __future__ import annotations

import torch
from mmdet.models.dense_heads import RTMDetSepBNHead
from mmdet.registry import MODELS
from mmdet.structures.bbox import distance2bbox
from mmengine.structures import InstanceData
from torch import Tensor

from mmdet_rank.models.ranking_head import RankingBoxHead

from .levels import flatten_maps, flatten_targets
from .points import decoded_problem, repeat_over_images


@MODELS.register_module()
class RankRTMDetHead(RankingBoxHead, RTMDetSepBNHead):
    """RTMDetSepBNHead, the head of RTMDet's detectors, with RS, aLRP or AP Loss.

    Layers, names, assignment and prediction are those of `RTMDetSepBNHead`. Its soft targets are
    gone: the labels of RS Loss are the IoUs of the predicted boxes.

    Args:
        loss_cls: Config of a ranking loss.
        loss_bbox: Config of a box loss of the IoU family.
        criterion: Options of `RankingCriterion`: ``instance_weight``, ``balance``.
        **kwargs: As for `RTMDetSepBNHead`.
    """

    def loss_by_feat(
        self,
        cls_scores: list[Tensor],
        bbox_preds: list[Tensor],
        batch_gt_instances: list[InstanceData],
        batch_img_metas: list[dict],
        batch_gt_instances_ignore: list[InstanceData] | None = None,
    ) -> dict[str, Tensor]:
        """Losses of all levels and images at once; see `RTMDetHead.loss_by_feat`."""
        num_images = len(batch_img_metas)
        sizes = [level.shape[-2:] for level in cls_scores]
        priors, flags = self.get_anchors(sizes, batch_img_metas, device=cls_scores[0].device)
        logits = flatten_maps(cls_scores, self.num_classes)
        distances = flatten_maps(bbox_preds, 4)
        boxes = distance2bbox(repeat_over_images(priors[0], num_images), distances)
        # Assignment asks for the priors image by image.
        counts = [num_images * len(level) for level in priors[0]]
        scores_by_image, boxes_by_image = (
            torch.cat(
                [level.view(num_images, -1, rows.shape[1]) for level in rows.split(counts)], 1
            )
            for rows in (logits.detach().float(), boxes.detach())
        )
        priors, labels, label_weights, gt_boxes, *_ = self.get_targets(
            scores_by_image,
            boxes_by_image,
            priors,
            flags,
            batch_gt_instances,
            batch_img_metas,
            batch_gt_instances_ignore,
        )
        return self.criterion(
            decoded_problem(
                logits,
                flatten_targets(labels),
                boxes,
                flatten_targets(gt_boxes),
                flatten_targets(priors)[:, :2],
                distances,
                label_weights=flatten_targets(label_weights),
            )
        )
