"""U-Nets of segmentation-models-pytorch as a backbone of MMSegmentation."""

from __future__ import annotations

from mmengine.model import BaseModule
from mmseg.registry import MODELS
from torch import Tensor


@MODELS.register_module()
class SMPUNet(BaseModule):
    """Encoder and decoder of ``segmentation_models_pytorch.Unet``, without its last layer.

    Args:
        encoder_name: Name of the encoder there, such as "efficientnet-b7".
        encoder_weights: Name of pretrained weights, which are downloaded, or None.
        decoder_channels: Channels of the decoder's five levels, the coarsest first; the last is
            the number of channels that the decode head gets.

    Raises:
        ImportError: If the package is not installed.
    """

    def __init__(
        self,
        encoder_name: str = "efficientnet-b7",
        encoder_weights: str | None = None,
        decoder_channels: tuple[int, ...] = (256, 128, 64, 32, 16),
    ) -> None:
        super().__init__()
        try:
            import segmentation_models_pytorch as smp
        except ImportError as error:
            raise ImportError(
                "Expected segmentation-models-pytorch for SMPUNet, but it cannot be imported; "
                "install it: pip install segmentation-models-pytorch"
            ) from error
        model = smp.Unet(
            encoder_name,
            encoder_weights=encoder_weights,
            decoder_channels=list(decoder_channels),
            encoder_depth=len(decoder_channels),
        )
        self.encoder = model.encoder
        self.decoder = model.decoder

    def forward(self, x: Tensor) -> tuple[Tensor]:
        """One feature map (B, decoder_channels[-1], H, W)."""
        return (self.decoder(self.encoder(x)),)
