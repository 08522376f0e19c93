"""YOLACT's mask head, trained by Dice loss beside a ranking loss."""

from __future__ import annotations

import sys

import torch
from mmdet.models.dense_heads import YOLACTProtonet
from mmdet.models.losses import DiceLoss
from mmdet.registry import MODELS
from mmengine.config import ConfigDict
from mmengine.structures import InstanceData
from torch import Tensor

from mmdet_rank.criteria import RankedLosses
from mmdet_rank.losses.mask_loss import MaskLoss, mask_errors

from .ranked_positives import RankedPositives

#: Options that YOLACT's prediction of masks reads in addition to the box head's.
MASK_TEST_CFG = dict(mask_thr=0.5, mask_thr_binary=0.5)

#: 1 - the Dice coefficient of a mask; the published code adds 1e-5, and DiceLoss its eps twice.
_DICE = DiceLoss(eps=5e-6, activate=False)

#: Options of the stock head that have nothing left to act on, and what to do instead.
_GONE = {
    "with_seg_branch": "there is no semantic segmentation branch",
    "loss_segm": "there is no semantic segmentation branch",
    "loss_mask_weight": "the loss is balanced against the classification loss; for a weight of "
    "your own use criterion=dict(balance='constant') in the bbox_head and loss_weight in loss_mask",
}


@MODELS.register_module()
class RankYOLACTProtonet(YOLACTProtonet):
    """YOLACTProtonet for a box head that ranks (thesis 8.4.3, 8.5.2.2).

    The semantic segmentation branch is gone, its parameters too; the loss of a mask is the Dice
    loss of the whole mask, in float32, not divided by the area of its object; masks count by
    their instance weights (the classification score, for RS Loss), and the loss is balanced
    against the classification loss. Both come from the box head, which must be a `RankYOLACTHead`.

    Also unlike `YOLACTProtonet`, images may be padded to the size of the batch: boxes are cropped
    in the padded image, and the padding is cut off predicted masks before they are resized.

    Args:
        max_masks_to_train: At most so many masks of an image are trained, chosen at random; None
            for all of them.
        loss_mask: Config of a `DiceLoss`, or of one of this package's losses on masks. Its
            ``activate`` is always False: the head's masks are probabilities.
        test_cfg: As for `YOLACTProtonet`; ``mask_thr`` and ``mask_thr_binary`` are 0.5 unless
            given.
        **kwargs: As for `YOLACTProtonet`.

    Raises:
        ValueError: If an option of what is gone is given, or if ``loss_mask`` is not a loss on
            masks.
    """

    #: The box head that the positives come from, for messages.
    box_head = "RankYOLACTHead"

    def __init__(
        self,
        *args,
        max_masks_to_train: int | None = 100,
        loss_mask: dict = dict(type="DiceLoss", eps=5e-6),
        test_cfg: dict | None = None,
        **kwargs,
    ) -> None:
        for name, reason in _GONE.items():
            if kwargs.pop(name, None):
                raise ValueError(
                    f"Expected no {name} in RankYOLACTProtonet: {reason}. Remove it from the "
                    f"config, or write {name}=None to override a base."
                )
        if test_cfg is not None:
            test_cfg = ConfigDict(MASK_TEST_CFG | dict(test_cfg))
        super().__init__(
            *args,
            max_masks_to_train=sys.maxsize if max_masks_to_train is None else max_masks_to_train,
            with_seg_branch=False,
            loss_segm=None,
            test_cfg=test_cfg,
            **kwargs,
        )
        self.loss_mask = MODELS.build(loss_mask)
        if not isinstance(self.loss_mask, (DiceLoss, MaskLoss)):
            raise ValueError(
                "Expected loss_mask to be a DiceLoss, or a loss on masks of this package, in "
                f"RankYOLACTProtonet, but got {type(self.loss_mask).__name__}."
            )
        self.loss_mask.activate = False

    def forward(
        self, x: tuple[Tensor, ...], positive_infos: list[InstanceData]
    ) -> tuple[list[Tensor], None]:
        """Probabilities of the masks, also under autocast in float32; see `YOLACTProtonet`.

        One that half precision rounds to 1 would have an infinite gradient, or none.
        """
        prototypes = self.protonet(x[0]).permute(0, 2, 3, 1).contiguous()
        with torch.autocast(prototypes.device.type, enabled=False):
            masks = [
                torch.sigmoid(own.float() @ positives.coeffs.float().t())
                for own, positives in zip(prototypes, positive_infos, strict=True)
            ]
        return masks, None

    def loss(
        self,
        x: tuple[Tensor, ...],
        batch_data_samples: list,
        positive_infos: RankedPositives | None = None,
        **kwargs,
    ) -> dict:
        """Losses of the masks; see `YOLACTProtonet.loss`.

        Raises:
            TypeError: If the box head is not a `RankYOLACTHead`.
            ValueError: If its labels come from the masks, and not all masks are trained.
        """
        if not isinstance(positive_infos, RankedPositives):
            raise TypeError(
                f"Expected the positives of a {self.box_head} in {type(self).__name__}, but got "
                f"{type(positive_infos).__name__}; set bbox_head.type to {self.box_head}."
            )
        waiting = not isinstance(positive_infos.ranked, RankedLosses)
        if waiting and self.max_masks_to_train != sys.maxsize:
            raise ValueError(
                f"Expected max_masks_to_train=None in {type(self).__name__} for labels by Dice, "
                f"but got {self.max_masks_to_train}: every positive needs its mask."
            )
        chosen = RankedPositives(map(self._choose, positive_infos), positive_infos.ranked)
        return super().loss(x, batch_data_samples, positive_infos=chosen, **kwargs)

    def _choose(self, positives: InstanceData) -> InstanceData:
        number = len(positives)
        if number <= self.max_masks_to_train:
            return positives
        return positives[torch.randperm(number)[: self.max_masks_to_train]]

    def loss_by_feat(
        self,
        mask_preds: list[Tensor],
        segm_preds: None,
        batch_gt_instances: list[InstanceData],
        batch_img_metas: list[dict],
        positive_infos: RankedPositives,
        **kwargs,
    ) -> dict:
        """Loss of the masks of all images at once; see `YOLACTProtonet.loss_by_feat`.

        Args:
            mask_preds: Per image (H, W, n) probabilities of its positives' masks.
            segm_preds: None.
            batch_gt_instances: Objects of each image, with masks.
            batch_img_metas: Meta information of each image.
            positive_infos: Positives of each image.
            **kwargs: Not used.

        Returns:
            ``loss_mask`` and its factor ``balance_mask``, attached also without any positive; where
            the box head's labels come from the masks, its losses too.
        """
        cropped = self.crop_mask_preds(mask_preds, batch_img_metas, positive_infos)
        targets = []
        for preds, gt_instances, positives in zip(
            cropped, batch_gt_instances, positive_infos, strict=True
        ):
            target = self._get_targets_single(preds, None, gt_instances, positives)[1]
            targets.append(torch.zeros_like(preds) if target is None else target)
        preds = torch.cat(cropped).float()
        errors = mask_errors(self.loss_mask, preds, torch.cat(targets))
        ranked, beside = positive_infos.ranked, {}
        if isinstance(ranked, RankedLosses):
            weights = torch.cat([positives.weights for positives in positive_infos])
        else:
            dice = 1 - mask_errors(_DICE, preds.detach(), torch.cat(targets))
            ranked, weights = ranked(dice.clamp(0, 1))
            beside = dict(ranked)
        losses = ranked.mask_losses(errors, preds, self.loss_mask.loss_weight, weights)
        return beside | losses

    def crop_mask_preds(
        self,
        mask_preds: list[Tensor],
        batch_img_metas: list[dict],
        positive_infos: list[InstanceData],
    ) -> list[Tensor]:
        """Masks set to 0 outside of their boxes; see `YOLACTProtonet.crop_mask_preds`."""
        padded = [dict(meta, img_shape=_padded_shape(meta)) for meta in batch_img_metas]
        return super().crop_mask_preds(mask_preds, padded, positive_infos)

    def predict_by_feat(
        self,
        mask_preds: list[Tensor],
        segm_preds: None,
        results_list: list[InstanceData],
        batch_img_metas: list[dict],
        rescale: bool = True,
        **kwargs,
    ) -> list[InstanceData]:
        """Masks of each image; see `YOLACTProtonet.predict_by_feat`.

        Unlike there, masks have the size of the network's input when ``rescale`` is False also in
        an image without any object.
        """
        if not rescale:
            batch_img_metas = [
                dict(meta, ori_shape=meta["img_shape"], scale_factor=(1.0, 1.0))
                for meta in batch_img_metas
            ]
        return super().predict_by_feat(
            mask_preds, segm_preds, results_list, batch_img_metas, rescale=rescale, **kwargs
        )

    def _predict_by_feat_single(
        self, mask_preds: Tensor, bboxes: Tensor, img_meta: dict, rescale: bool, cfg=None
    ) -> Tensor:
        sizes = zip(
            mask_preds.shape[-2:], img_meta["img_shape"], _padded_shape(img_meta), strict=False
        )
        height, width = (max(round(size * own / padded), 1) for size, own, padded in sizes)
        return super()._predict_by_feat_single(
            mask_preds[:, :height, :width], bboxes, img_meta, rescale, cfg
        )


def _padded_shape(img_meta: dict) -> tuple[int, int]:
    """Height and width of the image as the network sees it, padding included."""
    return tuple(img_meta.get("batch_input_shape", img_meta["img_shape"])[:2])
