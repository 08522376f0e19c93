"""The part that all heads share: how they are built from a config.

Each class here is a mixin. It stands before a head of MMDetection among the bases of a class:
``class RankRetinaHead(RankingAnchorHead, RetinaHead)``.
"""

from __future__ import annotations

import logging
from typing import Any

from mmdet.models.losses import (
    BalancedL1Loss,
    BoundedIoULoss,
    CIoULoss,
    DIoULoss,
    EIoULoss,
    GIoULoss,
    IoULoss,
    L1Loss,
    SIoULoss,
    SmoothL1Loss,
)
from mmengine.logging import print_log
from torch import nn

from mmdet_rank.criteria import build_criterion
from mmdet_rank.losses.complete_iou_loss import CompleteIoULoss

#: Box losses that take corners of boxes: of deltas their values mean nothing.
_OF_BOXES = (
    IoULoss,
    BoundedIoULoss,
    GIoULoss,
    DIoULoss,
    CIoULoss,
    EIoULoss,
    SIoULoss,
    CompleteIoULoss,
)
#: Box losses of single coordinates, whose options are made for deltas.
_OF_COORDINATES = (L1Loss, SmoothL1Loss, BalancedL1Loss)


class RankingHead:
    """A head whose classification is trained by a ranking loss, through ``self.criterion``.

    Args:
        *args: As for MMDetection's head.
        loss_cls: Config of a ranking loss.
        criterion: Options of `RankingCriterion`: ``instance_weight``, ``balance``,
            ``loss_weight``.
        **kwargs: As for MMDetection's head.
    """

    def __init__(
        self,
        *args: Any,
        loss_cls: dict = dict(type="RankSortLoss"),
        criterion: dict | None = None,
        **kwargs: Any,
    ) -> None:
        # MMDetection's heads read use_sigmoid from the config, not from the loss.
        own = dict(use_sigmoid=True) | dict(loss_cls)
        super().__init__(*args, loss_cls=own, **kwargs)  # type: ignore[call-arg]  # a mix-in
        self._build_criteria(criterion)

    def loss(self, *args: Any, **kwargs: Any) -> dict:
        """Losses and figures by name, as MMDetection's head returns them, in a plain dict.

        Data-parallel training looks for tensors in what a detector returns, and into no dict of
        another class: with ``static_graph=True`` the gradients of each process would stay its own.
        """
        return dict(super().loss(*args, **kwargs))  # type: ignore[misc]  # a mix-in

    def _build_criteria(self, options: dict | None) -> None:
        loss_cls = self.loss_cls  # type: ignore[attr-defined]  # the head's own
        self.criterion = build_criterion(options, loss_cls, getattr(self, "loss_bbox", None))


class RankingBoxHead(RankingHead):
    """A ranking head with boxes.

    Args:
        *args: As for MMDetection's head.
        loss_bbox: Config of a box loss.
        **kwargs: As for MMDetection's head and `RankingHead`.
    """

    def __init__(self, *args: Any, loss_bbox: dict = dict(type="GIoULoss"), **kwargs: Any) -> None:
        super().__init__(*args, loss_bbox=loss_bbox, **kwargs)


def check_loss_on_boxes(head: nn.Module) -> None:
    """Refuse a box loss of the IoU family that would be computed on what the branch puts out.

    Args:
        head: Has ``loss_bbox`` and ``reg_decoded_bbox``.

    Raises:
        ValueError: If ``loss_bbox`` is of the IoU family and ``reg_decoded_bbox`` is False.
    """
    if isinstance(head.loss_bbox, _OF_BOXES) and not head.reg_decoded_bbox:
        raise ValueError(
            f"Expected reg_decoded_bbox=True in {type(head).__name__}, but got False: "
            f"{type(head.loss_bbox).__name__} is computed on decoded boxes. Remove it from the "
            "config, write reg_decoded_bbox=True to override a base, or take a loss of single "
            "coordinates such as SmoothL1Loss."
        )


def warn_of_pixels(head: nn.Module) -> None:
    """Warn of a loss of single coordinates in a head that nobody told whether to decode boxes.

    MMDetection's heads do not decode them by default, those of this package do, so that a loss
    inherited from a config of MMDetection's would work on pixels without a word.

    Args:
        head: Has ``loss_bbox``, and decodes boxes by default.
    """
    if isinstance(head.loss_bbox, _OF_COORDINATES):
        loss, name = type(head.loss_bbox).__name__, type(head).__name__
        print_log(
            f"{loss} in {name} works on decoded boxes, in pixels: reg_decoded_bbox is True by "
            "default, unlike in MMDetection. Write reg_decoded_bbox=False for a loss of deltas, "
            f"as in MMDetection's own head, or reg_decoded_bbox=True if {loss} of pixels is meant.",
            logger="current",
            level=logging.WARNING,
        )


class RankingAnchorHead(RankingBoxHead):
    """A ranking head whose boxes are decoded from anchors or RoIs.

    Args:
        *args: As for MMDetection's head.
        reg_decoded_bbox: Whether the box loss works on decoded boxes, as those of the IoU family
            must. Default: True, unlike in MMDetection; with a loss of single coordinates, such as
            SmoothL1Loss, there is a warning unless it is written.
        **kwargs: As for MMDetection's head and `RankingBoxHead`.

    Raises:
        ValueError: If ``loss_bbox`` is of the IoU family and ``reg_decoded_bbox`` is False.
    """

    def __init__(self, *args: Any, reg_decoded_bbox: bool | None = None, **kwargs: Any) -> None:
        decoded = True if reg_decoded_bbox is None else reg_decoded_bbox
        super().__init__(*args, reg_decoded_bbox=decoded, **kwargs)
        check_loss_on_boxes(self)
        if reg_decoded_bbox is None:
            warn_of_pixels(self)


class RankingHeadWithoutCenterness(RankingBoxHead):
    """A ranking head that has no auxiliary branch where MMDetection's has one.

    A subclass removes the layer of that branch.

    Args:
        *args: As for MMDetection's head.
        loss_centerness: Must be None, which overrides a base config.
        **kwargs: As for MMDetection's head and `RankingBoxHead`.

    Raises:
        ValueError: If ``loss_centerness`` is given.
    """

    def __init__(self, *args: Any, loss_centerness: dict | None = None, **kwargs: Any) -> None:
        if loss_centerness is not None:
            raise ValueError(
                f"Expected no loss_centerness in {type(self).__name__}, which has no auxiliary "
                "branch, but got one; remove it from the config, or write loss_centerness=None "
                "to override a base."
            )
        super().__init__(*args, **kwargs)
        del self.loss_centerness  # type: ignore[attr-defined]
