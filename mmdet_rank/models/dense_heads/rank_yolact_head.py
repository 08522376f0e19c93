"""YOLACT's box head, trained by a ranking loss and without hard example mining."""

from __future__ import annotations

from typing import Any

import torch
from mmdet.models.dense_heads import YOLACTHead
from mmdet.registry import MODELS
from mmengine.structures import InstanceData
from torch import Tensor

from mmdet_rank.criteria import RankedLosses, RankingProblem

from .grid_anchor_head import RankingGridAnchorHead
from .levels import anchor_head_problem, flatten_maps
from .ranked_positives import RankedPositives

#: Where the continuous labels come from.
LABELS = ("iou", "dice", "mean", "binary")


@MODELS.register_module()
class RankYOLACTHead(RankingGridAnchorHead, YOLACTHead):
    """YOLACTHead with RS, aLRP or AP Loss, and no OHEM (thesis 8.5.2.2).

    All anchors of all images are ranked at once, one logit per class and none for background.
    ``train_cfg.assigner`` may also be MMDetection's ``ATSSAssigner``. Layers, their names and
    prediction are those of `YOLACTHead`. The mask head beside it gets its instance weights and its
    balance by `get_positive_infos`; see `RankYOLACTProtonet`.

    Args:
        loss_cls: Config of a ranking loss.
        loss_bbox: Config of a box loss. For those of the IoU family ``reg_decoded_bbox`` must be
            True, as it is by default here.
        reg_decoded_bbox: Whether the box loss works on decoded boxes; see `RankingAnchorHead`.
        criterion: Options of `RankingCriterion`: ``instance_weight``, ``balance``. Masks are
            weighed and balanced by the same options, each task by its own loss.
        label: Continuous labels of RS Loss (thesis Table P.3): "iou" of the boxes, "dice" of the
            masks, their "mean", or "binary" for none, 1 for every positive. With those of masks the
            losses come from the mask head, which has to train all masks.
        use_ohem: Must be False.
        **kwargs: As for `YOLACTHead`.

    Raises:
        ValueError: If ``use_ohem`` is True, ``label`` is unknown or does not go with the loss or
            with weights by IoU, or ``loss_bbox`` is of the IoU family and ``reg_decoded_bbox`` is
            False.
    """

    def __init__(
        self, *args: Any, label: str = "iou", use_ohem: bool = False, **kwargs: Any
    ) -> None:
        if use_ohem:
            raise ValueError(
                "Expected use_ohem=False in RankYOLACTHead, but got True: a ranking loss takes all "
                "anchors and mines no hard ones. Remove use_ohem from the config."
            )
        super().__init__(*args, use_ohem=False, **kwargs)
        if label not in LABELS:
            raise ValueError(f"Expected label to be one of {LABELS}, but got {label!r}.")
        if label != "iou" and not self.loss_cls.continuous_labels:
            raise ValueError(
                f"Expected RankSortLoss with label={label!r}, but got "
                f"{type(self.loss_cls).__name__}, which has no continuous labels; remove label."
            )
        if label == "binary" and getattr(self.criterion, "instance_weight", None) == "iou":
            raise ValueError(
                "Expected labels by IoU with instance_weight='iou' in RankYOLACTHead, but got "
                "label='binary', by which all weigh the same; write instance_weight='score' or "
                "'none'."
            )
        self.label = label
        self.criterion.add_task("mask")

    def loss_by_feat(
        self,
        cls_scores: list[Tensor],
        bbox_preds: list[Tensor],
        coeff_preds: list[Tensor],
        batch_gt_instances: list[InstanceData],
        batch_img_metas: list[dict],
        batch_gt_instances_ignore: list[InstanceData] | None = None,
    ) -> dict:
        """Losses of all levels and images at once; see `YOLACTHead.loss_by_feat`."""
        problem = anchor_head_problem(
            self,
            cls_scores,
            bbox_preds,
            batch_gt_instances,
            batch_img_metas,
            batch_gt_instances_ignore,
        )
        positives, order = self._positives_by_image(problem, coeff_preds)

        def rank(dice: Tensor) -> tuple[RankedLosses, Tensor]:
            quality = torch.empty_like(dice).index_copy(0, order, dice)
            share = 0.5 if self.label == "mean" else 1.0
            problem.quality = share * quality + (1 - share) * problem.quality.to(quality)
            losses = self.criterion(problem)
            return losses, losses.weights[order]

        if self.label in ("dice", "mean"):
            self._raw_positive_infos["positives"] = RankedPositives(positives, rank)
            return {}
        if self.label == "binary":
            problem.quality = torch.ones_like(problem.quality)
        losses = self.criterion(problem)
        counts = [len(image.pos_inds) for image in positives]
        for image, weights in zip(positives, losses.weights[order].split(counts), strict=True):
            image.weights = weights
        self._raw_positive_infos["positives"] = RankedPositives(positives, losses)
        return losses

    def get_positive_infos(self) -> RankedPositives:
        """Positives of each image of the last batch; see `RankedPositives`."""
        return self._raw_positive_infos["positives"]

    def _positives_by_image(
        self, problem: RankingProblem, coeff_preds: list[Tensor]
    ) -> tuple[list[InstanceData], Tensor]:
        """The problem's positives, image by image, each image's in the order of its anchors.

        Returns:
            Them, and (P,) their places among the problem's positives.
        """
        images = torch.cat(
            [
                torch.arange(len(level), device=level.device).repeat_interleave(
                    level[0].numel() // self.num_protos
                )
                for level in coeff_preds
            ]
        )
        # Within an image the problem's order is the anchors' own, which a stable sort keeps.
        order = images[problem.positives].argsort(stable=True)
        sampling_results = self._raw_positive_infos["sampling_results"]
        counts = [len(result.pos_inds) for result in sampling_results]
        coeffs = flatten_maps(coeff_preds, self.num_protos)[problem.positives[order]]
        positives = [
            InstanceData(
                pos_assigned_gt_inds=result.pos_assigned_gt_inds,
                pos_inds=result.pos_inds,
                bboxes=result.pos_gt_bboxes,
                coeffs=own_coeffs,
            )
            for result, own_coeffs in zip(sampling_results, coeffs.split(counts), strict=True)
        ]
        return positives, order
