"""YOLOv8's backbone."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from mmcv.cnn import ConvModule
from mmdet.models.utils import make_divisible
from mmdet.registry import MODELS
from mmengine.model import BaseModule
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from mmdet_rank.models.layers import SPPF, C2f
from mmdet_rank.models.layers.c2f import ACT_CFG, INIT_CFG, NORM_CFG

#: Bottlenecks of the four stages at depth 1.
NUM_BLOCKS = (3, 6, 6, 3)


@MODELS.register_module()
class YOLOv8CSPDarknet(BaseModule):
    """A stem and four stages, each halving the size of the map: a convolution, then a `C2f`.

    The last stage ends in an `SPPF`. Sizes n to x differ by depth, width and the last stage's
    channels: n 1/3, 1/4, 1024; s 1/3, 1/2, 1024; m 2/3, 3/4, 768; l 1, 1, 512; x 1, 5/4, 512.

    Args:
        deepen_factor: What the numbers of bottlenecks (3, 6, 6, 3) are multiplied by.
        widen_factor: What the channels are multiplied by.
        last_stage_out_channels: Channels of the last stage before that.
        out_indices: Outputs: 0 is the stem, 1 to 4 the stages, strides 2 to 32. Stages after the
            last of them are left out.
        frozen_stages: Parameters up to this output are not trained; -1 for none.
        norm_cfg: Config of the normalisation.
        act_cfg: Config of the activation: SiLU, or LeakyReLU as on the web page of REG.
        norm_eval: Whether batch normalisation keeps its statistics in training.
        init_cfg: Config of the initialisation.

    Example:
        >>> import torch
        >>> backbone = YOLOv8CSPDarknet(deepen_factor=1 / 3, widen_factor=1 / 4)
        >>> [tuple(level.shape[1:]) for level in backbone(torch.zeros(1, 3, 64, 64))]
        [(64, 8, 8), (128, 4, 4), (256, 2, 2)]
    """

    def __init__(
        self,
        deepen_factor: float = 1.0,
        widen_factor: float = 1.0,
        last_stage_out_channels: int = 1024,
        out_indices: Sequence[int] = (2, 3, 4),
        frozen_stages: int = -1,
        norm_cfg: dict = NORM_CFG,
        act_cfg: dict = ACT_CFG,
        norm_eval: bool = False,
        init_cfg: dict | None = INIT_CFG,
    ) -> None:
        super().__init__(init_cfg)
        self.out_indices = tuple(out_indices)
        self.frozen_stages = frozen_stages
        self.norm_eval = norm_eval
        options: dict[str, Any] = dict(norm_cfg=norm_cfg, act_cfg=act_cfg)
        channels = [
            make_divisible(width * widen_factor, 8)
            for width in (64, 128, 256, 512, last_stage_out_channels)
        ]
        self.stem = ConvModule(3, channels[0], 3, stride=2, padding=1, **options)
        self.layers = ["stem"]
        # A stage after the last that is returned would be parameters without a gradient.
        for i, num_blocks in enumerate(NUM_BLOCKS[: max(self.out_indices, default=0)]):
            width = channels[i + 1]
            stage = [
                ConvModule(channels[i], width, 3, stride=2, padding=1, **options),
                C2f(width, width, max(round(num_blocks * deepen_factor), 1), **options),
            ]
            if i == len(NUM_BLOCKS) - 1:
                stage.append(SPPF(width, width, **options))
            self.add_module(f"stage{i + 1}", nn.Sequential(*stage))
            self.layers.append(f"stage{i + 1}")
        # From the beginning: data-parallel training waits for gradients of what it finds then.
        for name in self.layers[: self.frozen_stages + 1]:
            getattr(self, name).requires_grad_(False)

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        """Maps of the chosen outputs for images (B, 3, H, W)."""
        outs = []
        for i, name in enumerate(self.layers):
            x = getattr(self, name)(x)
            if i in self.out_indices:
                outs.append(x)
        return tuple(outs)

    def train(self, mode: bool = True) -> YOLOv8CSPDarknet:
        """Switch to training, but for what is frozen."""
        super().train(mode)
        for name in self.layers[: self.frozen_stages + 1]:
            getattr(self, name).eval().requires_grad_(False)
        if mode and self.norm_eval:
            for module in self.modules():
                if isinstance(module, _BatchNorm):
                    module.eval()
        return self
