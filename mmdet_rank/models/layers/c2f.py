"""The two blocks that YOLOv8's backbone and neck are made of."""

from __future__ import annotations

import torch
from mmcv.cnn import ConvModule
from mmdet.models.backbones.csp_darknet import SPPBottleneck
from mmengine.model import BaseModule
from torch import Tensor, nn

NORM_CFG = dict(type="BN", momentum=0.03, eps=0.001)
ACT_CFG = dict(type="SiLU", inplace=True)
#: PyTorch's own initialisation of a convolution, by which YOLOv8 begins.
INIT_CFG = dict(
    type="Kaiming",
    layer="Conv2d",
    a=5**0.5,
    distribution="uniform",
    mode="fan_in",
    nonlinearity="leaky_relu",
)


class C2fBottleneck(BaseModule):
    """Two 3 x 3 convolutions of the same width, with or without a shortcut.

    Args:
        channels: Channels in and out.
        add_identity: Whether the input is added to the output.
        norm_cfg: Config of the normalisation.
        act_cfg: Config of the activation.
    """

    def __init__(self, channels: int, add_identity: bool, norm_cfg: dict, act_cfg: dict) -> None:
        super().__init__()
        options = dict(padding=1, norm_cfg=norm_cfg, act_cfg=act_cfg)
        self.conv1 = ConvModule(channels, channels, 3, **options)
        self.conv2 = ConvModule(channels, channels, 3, **options)
        self.add_identity = add_identity

    def forward(self, x: Tensor) -> Tensor:
        """(B, channels, H, W) to the same shape."""
        out = self.conv2(self.conv1(x))
        return x + out if self.add_identity else out


class C2f(BaseModule):
    """Cross stage partial block that joins the outputs of all of its bottlenecks.

    The input is doubled and halved by a 1 x 1 convolution; bottlenecks run one after the other on
    the second half, and both halves and every bottleneck's output are joined by another one.

    Args:
        in_channels: Channels in.
        out_channels: Channels out; the bottlenecks have half of them.
        num_blocks: Number of bottlenecks.
        add_identity: Whether the bottlenecks have a shortcut.
        norm_cfg: Config of the normalisation.
        act_cfg: Config of the activation.

    Example:
        >>> C2f(8, 16, num_blocks=2)(torch.zeros(1, 8, 4, 4)).shape
        torch.Size([1, 16, 4, 4])
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        num_blocks: int = 1,
        add_identity: bool = True,
        norm_cfg: dict = NORM_CFG,
        act_cfg: dict = ACT_CFG,
    ) -> None:
        super().__init__()
        half = out_channels // 2
        options = dict(norm_cfg=norm_cfg, act_cfg=act_cfg)
        self.main_conv = ConvModule(in_channels, 2 * half, 1, **options)
        self.final_conv = ConvModule((2 + num_blocks) * half, out_channels, 1, **options)
        self.blocks = nn.ModuleList(
            C2fBottleneck(half, add_identity, **options) for _ in range(num_blocks)
        )

    def forward(self, x: Tensor) -> Tensor:
        """(B, in_channels, H, W) to (B, out_channels, H, W)."""
        parts = list(self.main_conv(x).chunk(2, dim=1))
        for block in self.blocks:
            parts.append(block(parts[-1]))
        return self.final_conv(torch.cat(parts, dim=1))


class SPPF(SPPBottleneck):
    """`SPPBottleneck` with poolings of 5, 9 and 13, computed as one of 5 three times over.

    The two are equal, for the greatest of greatest values is the greatest of all.

    Example:
        >>> SPPF(8, 16)(torch.zeros(1, 8, 4, 4)).shape
        torch.Size([1, 16, 4, 4])
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        norm_cfg: dict = NORM_CFG,
        act_cfg: dict = ACT_CFG,
    ) -> None:
        super().__init__(in_channels, out_channels, norm_cfg=norm_cfg, act_cfg=act_cfg)

    def forward(self, x: Tensor) -> Tensor:
        """(B, in_channels, H, W) to (B, out_channels, H, W)."""
        parts = [self.conv1(x)]
        for _ in self.poolings:
            parts.append(self.poolings[0](parts[-1]))
        return self.conv2(torch.cat(parts, dim=1))
