"""The U-Net of the crack papers: an encoder without a decoder, and a decoder for any encoder."""

from __future__ import annotations

import torch
from mmcv.cnn import ConvModule
from mmseg.models.backbones import UNet
from mmseg.models.backbones.resnet import BasicBlock
from mmseg.models.decode_heads.decode_head import BaseDecodeHead
from mmseg.registry import MODELS
from torch import Tensor, nn
from torch.nn import functional as F


@MODELS.register_module()
class UNetEncoder(UNet):
    """The contracting half of `UNet`: like VGG, 3 x 3 convolutions and max pooling.

    Args:
        **kwargs: As for `UNet`: ``base_channels``, ``num_stages``, ``enc_num_convs``.

    Returns, from ``forward``:
        One feature map per stage, the finest first, strides 1, 2, 4, ...
    """

    def __init__(self, **kwargs) -> None:
        super().__init__(**kwargs)
        del self.decoder

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        """Feature maps of images (B, C, H, W), whose sides the largest stride must divide."""
        self._check_input_divisible(x)
        outputs = []
        for stage in self.encoder:
            x = stage(x)
            outputs.append(x)
        return tuple(outputs)


@MODELS.register_module()
class ResidualUNetHead(BaseDecodeHead):
    """The decoder of König et al. 2021, which the crack paper trains on all of its encoders.

    From the coarsest level up: nearest neighbour upsampling, concatenation with the encoder's
    features, a convolution and two residual blocks; at the finest level two convolutions instead.
    Each convolution is 3 x 3 with normalisation and ReLU.

    Args:
        in_channels: Channels of the encoder's feature maps, the finest first.
        decoder_channels: Channels of each decoder level, the finest (the image's size) first. As
            many as feature maps less one, plus one for each halving before the finest feature map.
        **kwargs: As for `BaseDecodeHead`: ``num_classes``, ``out_channels``, ``threshold``,
            ``loss_decode``, ``norm_cfg``. Unlike there, the last layer begins as torch begins it:
            from weights close to 0, as `BaseDecodeHead` sets them, all of its few channels learn
            background first, and rare foreground stays below one half for hundreds of iterations.

    Raises:
        ValueError: If there are too few decoder levels.
    """

    def __init__(
        self,
        in_channels: list[int],
        decoder_channels: list[int],
        norm_cfg: dict | None = None,
        dropout_ratio: float = 0.0,
        init_cfg: dict | None = None,
        **kwargs,
    ) -> None:
        if len(decoder_channels) < len(in_channels) - 1:
            raise ValueError(
                f"Expected at least {len(in_channels) - 1} decoder_channels for "
                f"{len(in_channels)} feature maps, but got {len(decoder_channels)}."
            )
        super().__init__(
            in_channels=list(in_channels),
            in_index=list(range(len(in_channels))),
            input_transform="multiple_select",
            channels=decoder_channels[0],
            norm_cfg=norm_cfg or dict(type="BN"),
            dropout_ratio=dropout_ratio,
            init_cfg=init_cfg,
            **kwargs,
        )
        # From the coarsest: levels with features of the encoder, then those without.
        skips = list(in_channels[-2::-1])
        skips += [0] * (len(decoder_channels) - len(skips))
        previous = in_channels[-1]
        self.levels = nn.ModuleList()
        for skip, channels in zip(skips, decoder_channels[::-1], strict=True):
            finest = len(self.levels) == len(decoder_channels) - 1
            self.levels.append(self._level(previous + skip, channels, finest))
            previous = channels

    def _level(self, in_channels: int, channels: int, finest: bool) -> nn.Sequential:
        options = dict(kernel_size=3, padding=1, norm_cfg=self.norm_cfg, act_cfg=self.act_cfg)
        first = ConvModule(in_channels, channels, **options)
        if finest:
            return nn.Sequential(first, ConvModule(channels, channels, **options))
        blocks = (BasicBlock(channels, channels, norm_cfg=self.norm_cfg) for _ in range(2))
        return nn.Sequential(first, *blocks)

    def forward(self, inputs: tuple[Tensor, ...]) -> Tensor:
        """Logits (B, out_channels, H, W) of the encoder's feature maps, the finest first."""
        features = self._transform_inputs(inputs)
        x = features[-1]
        for place, level in enumerate(self.levels):
            x = F.interpolate(x, scale_factor=2, mode="nearest")
            if place < len(features) - 1:
                x = torch.cat([features[-2 - place], x], dim=1)
            x = level(x)
        return self.cls_seg(x)
