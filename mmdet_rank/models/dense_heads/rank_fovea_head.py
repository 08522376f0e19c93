"""FoveaBox's head, trained by a ranking loss."""

from __future__ import annotations

from typing import Any

from mmdet.models.dense_heads import FoveaHead
from mmdet.registry import MODELS
from mmengine.structures import InstanceData
from torch import Tensor

from mmdet_rank.models.ranking_head import RankingBoxHead, check_loss_on_boxes, warn_of_pixels

from .levels import flatten_maps
from .points import point_problem, repeat_over_images


@MODELS.register_module()
class RankFoveaHead(RankingBoxHead, FoveaHead):
    """FoveaHead with RS, aLRP or AP Loss (thesis 7.4.4).

    Layers, names, assignment and prediction are those of `FoveaHead`.

    Args:
        loss_cls: Config of a ranking loss.
        loss_bbox: Config of a box loss. For those of the IoU family ``reg_decoded_bbox`` must be
            True, as it is by default.
        reg_decoded_bbox: Whether the box loss works on decoded boxes, or on the logarithms of
            the distances to their sides (for smooth L1), as in `FoveaHead`; see
            `RankingAnchorHead`.
        criterion: Options of `RankingCriterion`: ``instance_weight``, ``balance``.
        **kwargs: As for `FoveaHead`.

    Raises:
        ValueError: If ``loss_bbox`` is of the IoU family and ``reg_decoded_bbox`` is False.
    """

    def __init__(self, *args: Any, reg_decoded_bbox: bool | None = None, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.reg_decoded_bbox = True if reg_decoded_bbox is None else reg_decoded_bbox
        check_loss_on_boxes(self)
        if reg_decoded_bbox is None:
            warn_of_pixels(self)

    def loss_by_feat(
        self,
        cls_scores: list[Tensor],
        bbox_preds: list[Tensor],
        batch_gt_instances: list[InstanceData],
        batch_img_metas: list[dict],
        batch_gt_instances_ignore: list[InstanceData] | None = None,
    ) -> dict:
        """Losses of all levels and images at once; see `FoveaHead.loss_by_feat`."""
        sizes = [level.shape[-2:] for level in cls_scores]
        points = self.prior_generator.grid_priors(sizes, device=cls_scores[0].device)
        labels, targets = self.get_targets(batch_gt_instances, sizes, points)
        edges = [
            level.new_full((len(level), 1), float(edge))
            for level, edge in zip(points, self.base_edge_list, strict=True)
        ]
        num_images = len(batch_img_metas)
        edges = repeat_over_images(edges, num_images)
        outputs = flatten_maps(bbox_preds, 4).float()
        return self.criterion(
            point_problem(
                flatten_maps(cls_scores, self.num_classes),
                outputs,
                outputs.exp() * edges,
                repeat_over_images(points, num_images),
                labels,
                targets,
                targets.exp() * edges,
                decoded=self.reg_decoded_bbox,
            )
        )
