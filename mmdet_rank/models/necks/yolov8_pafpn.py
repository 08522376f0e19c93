"""YOLOv8's neck."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from mmcv.cnn import ConvModule
from mmdet.registry import MODELS
from mmengine.model import BaseModule
from torch import Tensor, nn
from torch.nn import functional as F

from mmdet_rank.models.layers import C2f
from mmdet_rank.models.layers.c2f import ACT_CFG, INIT_CFG, NORM_CFG


@MODELS.register_module()
class YOLOv8PAFPN(BaseModule):
    """Path aggregation network of `C2f` blocks without shortcuts.

    Each level keeps its number of channels. Unlike `YOLOXPAFPN`, nothing is reduced before it is
    enlarged, and there are no convolutions at the end.

    Args:
        in_channels: Channels of the levels, the finest first.
        num_csp_blocks: Bottlenecks of each block (1 for n and s, 2 for m, 3 for l and x).
        norm_cfg: Config of the normalisation.
        act_cfg: Config of the activation.
        init_cfg: Config of the initialisation.

    Example:
        >>> neck = YOLOv8PAFPN([16, 32])
        >>> maps = neck((torch.zeros(1, 16, 8, 8), torch.zeros(1, 32, 4, 4)))
        >>> [tuple(level.shape[1:]) for level in maps]
        [(16, 8, 8), (32, 4, 4)]
    """

    def __init__(
        self,
        in_channels: Sequence[int],
        num_csp_blocks: int = 1,
        norm_cfg: dict = NORM_CFG,
        act_cfg: dict = ACT_CFG,
        init_cfg: dict | None = INIT_CFG,
    ) -> None:
        super().__init__(init_cfg)
        self.in_channels = list(in_channels)
        options = dict(norm_cfg=norm_cfg, act_cfg=act_cfg)
        self.top_down_layers = nn.ModuleList()
        self.downsample_layers = nn.ModuleList()
        self.bottom_up_layers = nn.ModuleList()
        pairs = list(zip(self.in_channels, self.in_channels[1:], strict=False))
        for low, high in reversed(pairs):
            self.top_down_layers.append(C2f(low + high, low, num_csp_blocks, False, **options))
        for low, high in pairs:
            self.downsample_layers.append(ConvModule(low, low, 3, stride=2, padding=1, **options))
            self.bottom_up_layers.append(C2f(low + high, high, num_csp_blocks, False, **options))

    def forward(self, inputs: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        """Maps of the same shapes as those of the backbone, the finest first."""
        inner = [inputs[-1]]
        for low, layer in zip(reversed(inputs[:-1]), self.top_down_layers, strict=True):
            enlarged = F.interpolate(inner[0], scale_factor=2.0, mode="nearest")
            inner.insert(0, layer(torch.cat([enlarged, low], dim=1)))
        outs = inner[:1]
        for high, downsample, layer in zip(
            inner[1:], self.downsample_layers, self.bottom_up_layers, strict=True
        ):
            outs.append(layer(torch.cat([downsample(outs[-1]), high], dim=1)))
        return tuple(outs)
