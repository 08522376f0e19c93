"""The layers of YOLOv8's head."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from mmcv.cnn import ConvModule
from mmengine.model import BaseModule
from torch import Tensor, nn

from mmdet_rank.models.layers.c2f import ACT_CFG, INIT_CFG, NORM_CFG

#: The most channels that the class branch is widened to for the sake of many classes.
MAX_CLS_CHANNELS = 100


def prediction_branch(
    in_channels: int, channels: int, out_channels: int, norm_cfg: dict, act_cfg: dict
) -> nn.Sequential:
    """Two 3 x 3 convolutions with normalisation, and a 1 x 1 convolution without."""
    options = dict(padding=1, norm_cfg=norm_cfg, act_cfg=act_cfg)
    return nn.Sequential(
        ConvModule(in_channels, channels, 3, **options),
        ConvModule(channels, channels, 3, **options),
        nn.Conv2d(channels, out_channels, 1),
    )


class YOLOv8HeadModule(BaseModule):
    """Two branches per level: class logits, and a distribution over the distance to each side.

    Args:
        num_classes: Number of classes.
        in_channels: Channels of each level, the finest first.
        strides: Stride of each level.
        reg_max: Bins of the distributions; distances reach from 0 to ``reg_max - 1`` strides.
        norm_cfg: Config of the normalisation.
        act_cfg: Config of the activation.
        init_cfg: Config of the initialisation.
    """

    def __init__(
        self,
        num_classes: int,
        in_channels: Sequence[int],
        strides: Sequence[int],
        reg_max: int = 16,
        norm_cfg: dict = NORM_CFG,
        act_cfg: dict = ACT_CFG,
        init_cfg: dict | None = INIT_CFG,
    ) -> None:
        super().__init__(init_cfg)
        self.num_classes = num_classes
        self.strides = list(strides)
        self.reg_max = reg_max
        cls_channels = max(in_channels[0], min(num_classes, MAX_CLS_CHANNELS))
        reg_channels = max(16, in_channels[0] // 4, 4 * reg_max)
        options = dict(norm_cfg=norm_cfg, act_cfg=act_cfg)
        self.cls_preds = nn.ModuleList(
            prediction_branch(channels, cls_channels, num_classes, **options)
            for channels in in_channels
        )
        self.reg_preds = nn.ModuleList(
            prediction_branch(channels, reg_channels, 4 * reg_max, **options)
            for channels in in_channels
        )
        # The bins' distances, in strides; a constant, not part of checkpoints.
        self.register_buffer("proj", torch.arange(reg_max, dtype=torch.float), persistent=False)

    def init_weights(self) -> None:
        """Initialise; classes begin as rare as 5 objects in an image of 640 x 640 are."""
        super().init_weights()
        for cls_pred, reg_pred, stride in zip(
            self.cls_preds, self.reg_preds, self.strides, strict=True
        ):
            rate = torch.tensor(5 / self.num_classes / (640 / stride) ** 2)
            nn.init.constant_(cls_pred[-1].bias, rate.log().item())
            nn.init.constant_(reg_pred[-1].bias, 1.0)

    def forward(self, feats: tuple[Tensor, ...]) -> tuple[list[Tensor], ...]:
        """Outputs of all levels.

        Args:
            feats: Per level (B, channels, H, W).

        Returns:
            Per level: class logits (B, C, H, W); expected distances (B, 4, H, W) to left, top,
            right and bottom, in strides, float32 or better; logits of their distributions
            (B, H * W, 4, ``reg_max``).
        """
        levels = zip(feats, self.cls_preds, self.reg_preds, strict=True)
        outs = ((cls_pred(x), *self._distances(reg_pred(x))) for x, cls_pred, reg_pred in levels)
        return tuple(map(list, zip(*outs, strict=True)))

    def _distances(self, outputs: Tensor) -> tuple[Tensor, Tensor]:
        batch, _, height, width = outputs.shape
        dist = outputs.flatten(2).view(batch, 4, self.reg_max, -1).permute(0, 3, 1, 2)
        dtype = torch.promote_types(dist.dtype, torch.float32)
        # Boxes, the points that they are counted from and the targets of the distributions are of
        # this dtype: a product under autocast would leave them a pixel or two of half precision.
        with torch.autocast(dist.device.type, enabled=False):
            expected = dist.to(dtype).softmax(dim=3) @ self.proj.to(dtype)
        return expected.transpose(1, 2).reshape(batch, 4, height, width), dist
