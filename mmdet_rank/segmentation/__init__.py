"""Segmentation by MMSegmentation: data, network, losses and metric of thin, rare foreground.

In a config: ``custom_imports = dict(imports=["mmdet_rank.register", "mmdet_rank.segmentation"],
allow_failed_imports=False)``. Needs the extra ``seg``.
"""

import importlib.util

import mmdet_rank.register  # noqa: F401  (stands in for missing operators first)
from mmdet_rank._stack import without_onedl

if importlib.util.find_spec("mmseg") is None:
    raise ImportError(
        "Expected MMSegmentation for mmdet_rank.segmentation, but it is not installed; do: "
        "pip install onedl-mmsegmentation==1.4.2 segmentation-models-pytorch"
    )

with without_onedl():
    from ..losses.pixel_loss import PIXEL_LOSSES, PixelLoss, PixelRankingLoss
    from .augmentation import CrackAugmentation, SeededAlbu
    from .mask_folder import LoadMask, MaskFolderDataset
    from .pixel_metric import PixelMetric
    from .residual_unet import ResidualUNetHead, UNetEncoder
    from .smp_unet import SMPUNet
    from .tta import PixelTTAModel

__all__ = [
    "PIXEL_LOSSES",
    "CrackAugmentation",
    "LoadMask",
    "MaskFolderDataset",
    "PixelLoss",
    "PixelMetric",
    "PixelRankingLoss",
    "PixelTTAModel",
    "ResidualUNetHead",
    "SMPUNet",
    "SeededAlbu",
    "UNetEncoder",
]
