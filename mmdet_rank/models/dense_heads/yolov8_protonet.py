"""YOLOv8's prototypes of masks."""

from __future__ import annotations

import torch
from mmcv.cnn import ConvModule
from mmdet.models.dense_heads import YOLACTProtonet
from mmdet.registry import MODELS
from mmdet.utils import reduce_mean
from mmengine.structures import InstanceData
from torch import Tensor, nn
from torch.nn import functional as F

from mmdet_rank.models.layers.c2f import ACT_CFG, INIT_CFG, NORM_CFG
from mmdet_rank.ops.distributed import world_size

from .rank_yolact_protonet import RankYOLACTProtonet
from .yolov8_head import content_shape


@MODELS.register_module()
class RankYOLOv8Protonet(RankYOLACTProtonet):
    """`RankYOLACTProtonet` with the layers of YOLOv8, for a `RankYOLOv8SegHead`.

    Args:
        in_channels: Channels of the finest level.
        feat_channels: Channels between the layers.
        num_protos: Number of prototypes.
        norm_cfg: Config of the normalisation.
        act_cfg: Config of the activation.
        init_cfg: Config of the initialisation.
        **kwargs: As for `RankYOLACTProtonet`, but for ``num_classes``, since prototypes belong to
            no class: ``max_masks_to_train``, ``loss_mask``, ``test_cfg``.
    """

    box_head = "RankYOLOv8SegHead"

    def __init__(
        self,
        in_channels: int,
        feat_channels: int = 256,
        num_protos: int = 32,
        norm_cfg: dict = NORM_CFG,
        act_cfg: dict = ACT_CFG,
        init_cfg: dict | None = INIT_CFG,
        **kwargs,
    ) -> None:
        self.feat_channels = feat_channels
        self._layer_cfg = dict(norm_cfg=norm_cfg, act_cfg=act_cfg)
        super().__init__(1, in_channels, num_protos=num_protos, init_cfg=init_cfg, **kwargs)
        # NumClassCheckHook compares every such number with the data set's.
        del self.num_classes

    def _init_layers(self) -> None:
        width, options = self.feat_channels, self._layer_cfg
        self.protonet = nn.Sequential(
            ConvModule(self.in_channels, width, 3, padding=1, **options),
            nn.ConvTranspose2d(width, width, 2, stride=2),
            ConvModule(width, width, 3, padding=1, **options),
            ConvModule(width, self.num_protos, 1, **options),
        )

    def predict_by_feat(
        self,
        mask_preds: list[Tensor],
        segm_preds: None,
        results_list: list[InstanceData],
        batch_img_metas: list[dict],
        rescale: bool = True,
        **kwargs,
    ) -> list[InstanceData]:
        """Masks of each image, whose padding is not theirs; see `RankYOLACTProtonet`."""
        metas = [
            {"batch_input_shape": meta["img_shape"], **meta, "img_shape": content_shape(meta)}
            for meta in batch_img_metas
        ]
        return super().predict_by_feat(
            mask_preds, segm_preds, results_list, metas, rescale=rescale, **kwargs
        )


@MODELS.register_module()
class YOLOv8Protonet(RankYOLOv8Protonet):
    """The same layers, trained as YOLOv8 trains them, for a `YOLOv8SegHead`.

    The loss of a mask is binary cross entropy within the box of its object, divided by the area
    of the box; of all masks the mean is taken, times the number of images.

    Args:
        loss_mask_weight: Factor of the loss.
        loss_mask: Must be None, which overrides a base config.
        **kwargs: As for `RankYOLOv8Protonet`.

    Raises:
        ValueError: If ``loss_mask`` is given.
    """

    def __init__(
        self, *args, loss_mask_weight: float = 7.5, loss_mask: dict | None = None, **kwargs
    ) -> None:
        if loss_mask is not None:
            raise ValueError(
                "Expected no loss_mask in YOLOv8Protonet, whose loss is binary cross entropy as in "
                "YOLOv8, but got one. Remove it from the config, write loss_mask=None to override "
                "a base, or take RankYOLOv8Protonet."
            )
        super().__init__(*args, **kwargs)
        self.loss_mask_weight = loss_mask_weight
        del self.loss_mask

    def loss(
        self,
        x: tuple[Tensor, ...],
        batch_data_samples: list,
        positive_infos: list[InstanceData] | None = None,
        **kwargs,
    ) -> dict:
        """Losses of the masks; see `YOLACTProtonet.loss`."""
        chosen = [self._choose(own) for own in positive_infos or ()]
        return YOLACTProtonet.loss(self, x, batch_data_samples, positive_infos=chosen, **kwargs)

    def loss_by_feat(
        self,
        mask_preds: list[Tensor],
        segm_preds: None,
        batch_gt_instances: list[InstanceData],
        batch_img_metas: list[dict],
        positive_infos: list[InstanceData],
        **kwargs,
    ) -> dict:
        """Loss of the masks of all images; see `RankYOLACTProtonet.loss_by_feat`.

        Returns:
            ``loss_mask``, attached also without any positive.
        """
        padded = [meta.get("batch_input_shape", meta["img_shape"])[:2] for meta in batch_img_metas]
        whole = [torch.ones_like(preds, dtype=torch.float32) for preds in mask_preds]
        errors = []
        for preds, inside, objects, positives, (height, width) in zip(
            self.crop_mask_preds(mask_preds, batch_img_metas, positive_infos),
            self.crop_mask_preds(whole, batch_img_metas, positive_infos),
            batch_gt_instances,
            positive_infos,
            padded,
            strict=True,
        ):
            target = self._get_targets_single(preds, None, objects, positives)[1]
            target = inside * 0 if target is None else target * inside
            # Probabilities are what the layers give, and their entropy is forbidden in half.
            with torch.autocast(preds.device.type, enabled=False):
                entropy = F.binary_cross_entropy(preds.float(), target, reduction="none")
            sides = (positives.bboxes[:, 2:] - positives.bboxes[:, :2]).clamp(min=1.0)
            share = sides.prod(dim=1) / (height * width)
            errors.append(entropy.mean(dim=(1, 2)) / share)
        errors = torch.cat(errors)
        number = reduce_mean(errors.new_tensor(float(len(errors)))).clamp(min=1.0)
        factor = self.loss_mask_weight * len(batch_img_metas) * world_size()
        return dict(loss_mask=errors.sum() / number * factor)
