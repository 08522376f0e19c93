"""SOLOv2's head, trained by a ranking loss with Dice coefficients as labels."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np
import torch
from mmdet.models.dense_heads import SOLOV2Head
from mmdet.models.losses import DiceLoss
from mmdet.registry import MODELS
from mmengine.structures import InstanceData
from torch import Tensor

from mmdet_rank.criteria import MaskTask, RankingProblem
from mmdet_rank.criteria.problem import find_positives
from mmdet_rank.losses.mask_loss import MaskLoss, mask_errors
from mmdet_rank.models.ranking_head import RankingHead

from .levels import flatten_maps


@MODELS.register_module()
class RankSOLOV2Head(RankingHead, SOLOV2Head):
    """SOLOV2Head with RS, aLRP or AP Loss (thesis 8.5.2.2, Table 8.8).

    The label of a positive is the Dice coefficient of its predicted and target mask, as there
    are no boxes whose IoU could be taken (appendix P.4); the loss of masks is Dice loss by
    default, weighed and balanced as all localisation losses are (8.4.2). Layers and their names
    are those of `SOLOV2Head`, light variant included.

    A cell of the grid that several objects claim belongs to the first of them, as in the
    published code: its one kernel is trained on one mask, the one that its label belongs to.

    Args:
        loss_cls: Config of a ranking loss.
        loss_mask: Config of a `DiceLoss` on logits, or of one of this package's losses on masks.
        criterion: Options of `RankingCriterion`: ``instance_weight``, ``balance``.
        **kwargs: As for `SOLOV2Head`.

    Raises:
        ValueError: If ``loss_mask`` is not a loss on masks of logits, or weighs 0, or if the
            dynamic kernels are larger than 1 x 1, whose masks would be smaller than their targets.
    """

    def __init__(
        self,
        *args: Any,
        loss_mask: dict = dict(type="DiceLoss"),
        **kwargs: Any,
    ) -> None:
        if kwargs.get("dynamic_conv_size", 1) != 1:
            raise ValueError(
                "Expected dynamic_conv_size=1 in RankSOLOV2Head, but got "
                f"{kwargs['dynamic_conv_size']}."
            )
        super().__init__(*args, loss_mask=loss_mask, **kwargs)
        if not (isinstance(self.loss_mask, (DiceLoss, MaskLoss)) and self.loss_mask.activate):
            raise ValueError(
                "Expected loss_mask to be a DiceLoss with activate=True, or a loss on masks of "
                f"this package, in RankSOLOV2Head, but got {loss_mask}."
            )
        if not self.loss_mask.loss_weight > 0:
            raise ValueError(
                "Expected a loss_weight above 0 of loss_mask in RankSOLOV2Head, but got "
                f"{self.loss_mask.loss_weight}: its value is the label of the classification."
            )

    def forward(self, x: tuple[Tensor, ...]) -> tuple[list[Tensor], list[Tensor], Tensor]:
        """Kernels, logits and mask features; see `SOLOV2Head.forward`.

        Raises:
            ValueError: If the levels do not halve exactly, so that the mask branch cannot add them
                up.
        """
        branch = self.mask_feature_head
        used = x[branch.start_level : branch.end_level + 1]
        for finer, coarser in pairwise(used):
            if tuple(finer.shape[-2:]) != tuple(2 * size for size in coarser.shape[-2:]):
                raise ValueError(
                    "Expected feature maps that halve from level to level in RankSOLOV2Head, but "
                    f"got {tuple(finer.shape[-2:])} and {tuple(coarser.shape[-2:])}; set "
                    "pad_size_divisor=32 in the data_preprocessor."
                )
        return super().forward(x)

    def loss_by_feat(
        self,
        mlvl_kernel_preds: list[Tensor],
        mlvl_cls_preds: list[Tensor],
        mask_feats: Tensor,
        batch_gt_instances: list[InstanceData],
        batch_img_metas: list[dict],
        **kwargs,
    ) -> dict:
        """Losses of all levels and images at once; see `SOLOV2Head.loss_by_feat`."""
        targets = [
            self._get_targets_single(gt_instances, (mask_feats.shape[-2], mask_feats.shape[-1]))
            for gt_instances in batch_gt_instances
        ]
        preds: list[Tensor] = []
        mask_targets: list[Tensor] = []
        labels: list[Tensor] = []
        for level, kernels in enumerate(mlvl_kernel_preds):
            for image, (of_image, features) in enumerate(zip(targets, mask_feats, strict=True)):
                own_targets, own_labels = of_image[0][level], of_image[1][level]
                cells = of_image[3][level]
                own_kernels = kernels[image].flatten(1)[:, cells]
                preds.append(torch.einsum("cn,chw->nhw", own_kernels, features))
                mask_targets.append(own_targets)
                labels.append(own_labels.flatten())
        mask_logits = torch.cat(preds).float()
        masks = torch.cat(mask_targets)
        errors = mask_errors(self.loss_mask, mask_logits, masks)
        flat_labels = torch.cat(labels)
        weight = self.loss_mask.loss_weight
        return self.criterion(
            RankingProblem(
                logits=flatten_maps(mlvl_cls_preds, self.num_classes),
                labels=flat_labels,
                positives=find_positives(flat_labels, self.num_classes),
                masks=MaskTask(errors / weight, outputs=mask_logits, loss_weight=weight),
                quality=self._quality(mask_logits, masks),  # type: ignore[arg-type]
            )
        )

    def _quality(self, mask_logits: Tensor, masks: Tensor) -> Tensor | None:
        """Dice coefficients, the labels of the classification; None where they are 1 - error."""
        if isinstance(self.loss_mask, DiceLoss):
            return None
        return 1 - DiceLoss()(mask_logits.detach(), masks, reduction_override="none")

    def _get_targets_single(
        self, gt_instances: InstanceData, featmap_sizes: tuple[int, int] | None = None
    ) -> tuple[list[Tensor], list[Tensor], list[Tensor], list[list[int]]]:
        """Targets of an image; see `SOLOV2Head`. Cells come in ascending order, each once."""
        backwards = np.arange(len(gt_instances.labels))[::-1].copy()
        # Later objects overwrite the label of a cell, so that the first one goes last.
        reversed_instances = InstanceData(
            bboxes=gt_instances.bboxes.flip(0),
            labels=gt_instances.labels.flip(0),
            masks=gt_instances.masks[backwards],
        )
        masks, labels, flags, cells = super()._get_targets_single(reversed_instances, featmap_sizes)
        # Of a cell's several masks the last one belongs to its label.
        last = [{cell: place for place, cell in enumerate(of_level)} for of_level in cells]
        cells = [sorted(of_level) for of_level in last]
        masks = [
            of_level[[places[cell] for cell in own_cells]]
            for of_level, places, own_cells in zip(masks, last, cells, strict=True)
        ]
        return masks, labels, flags, cells

    def predict_by_feat(
        self,
        mlvl_kernel_preds: list[Tensor],
        mlvl_cls_scores: list[Tensor],
        mask_feats: Tensor,
        batch_img_metas: list[dict],
        rescale: bool = True,
        **kwargs,
    ) -> list[InstanceData]:
        """Masks of each image; see `SOLOV2Head.predict_by_feat`.

        Unlike there, masks have the size of the network's input when ``rescale`` is False, and an
        image without any mask gets results of the same types as all others.
        """
        if not rescale:
            batch_img_metas = [dict(meta, ori_shape=meta["img_shape"]) for meta in batch_img_metas]
        results = super().predict_by_feat(
            mlvl_kernel_preds, mlvl_cls_scores, mask_feats, batch_img_metas, **kwargs
        )
        for result in results:
            result.labels = result.labels.long()
            result.masks = result.masks.bool()
        return results
