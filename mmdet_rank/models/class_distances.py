"""Distances of samples to the objects of each class, for heads that know nothing of them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from mmdet.models.dense_heads import PISARetinaHead
from mmdet.models.dense_heads.base_dense_head import BaseDenseHead
from mmdet.models.seg_heads.base_semantic_head import BaseSemanticHead
from mmdet.registry import MODELS
from mmdet.structures import SampleList
from mmdet.structures.bbox import get_box_tensor
from mmengine.structures import InstanceData
from torch import Tensor, nn

from mmdet_rank.losses.reg_loss import REGLoss
from mmdet_rank.ops.reg import class_distance_maps, class_distances


@MODELS.register_module()
def WithClassDistances(head: str, **options) -> nn.Module:
    """A head of MMDetection or of this package that tells its `REGLoss` distances (REG 2.3).

    In a config, the head's own type moves to ``head``, and all else stays as it is:

        bbox_head=dict(
            type='WithClassDistances', head='RetinaHead',
            loss_cls=dict(type='REGLoss', use_sigmoid=True, beta=0.05, delta=64.0))

    One-stage heads give the distance, in pixels of the network's input, of the centre of each
    prior to the nearest object of each class of its image, 0 within its box; semantic heads
    (``loss_seg``) that of each pixel to the nearest one of the class, in pixels of their map, with
    ``use_sigmoid=True`` alone: softmax has only the term of a pixel's own class, at distance 0.
    Other heads are refused.

    Args:
        head: Registered type of a one-stage or of a semantic head.
        **options: Of that head.

    Raises:
        TypeError: If the head is none of these.
        ValueError: If its loss is not a REGLoss, or is one with softmax.

    Example:
        >>> head = WithClassDistances(
        ...     "FCOSHead",
        ...     num_classes=3,
        ...     in_channels=8,
        ...     loss_cls=dict(type="REGLoss", use_sigmoid=True),
        ... )
        >>> type(head).__name__
        'FCOSHeadWithClassDistances'
    """
    cls = MODELS.get(head)
    if cls is None:
        raise TypeError(f"Expected a registered head in WithClassDistances, but got {head!r}.")
    if isinstance(cls, type) and issubclass(cls, BaseDenseHead):
        mixin, name = PriorDistances, "loss_cls"
    elif isinstance(cls, type) and issubclass(cls, BaseSemanticHead):
        mixin, name = PixelDistances, "loss_seg"
    else:
        raise TypeError(
            f"Expected a one-stage or a semantic head in WithClassDistances, but got {head}, whose "
            "samples have no fixed places; use REGLoss there without distances."
        )
    # MMDetection's own head that calls its loss with the rows of each image together.
    order = {"rows_by_image": True} if issubclass(cls, PISARetinaHead) else {}
    built = type(f"{head}WithClassDistances", (mixin, cls), order)(**options)
    if not hasattr(built, "prior_generator") and mixin is PriorDistances:
        raise TypeError(
            f"Expected a head with priors in WithClassDistances, but got {head}; use REGLoss there "
            "without distances."
        )
    loss = getattr(built, name, None)
    if not isinstance(loss, REGLoss):
        raise ValueError(
            f"Expected {name} to be a REGLoss in WithClassDistances, but got "
            f"{type(loss).__name__}, which takes no distances."
        )
    if mixin is PixelDistances and not loss.use_sigmoid:
        raise ValueError(
            f"Expected use_sigmoid=True in {name} of {head} in WithClassDistances, but got False: "
            "softmax has only the term of a pixel's own class, whose distance is 0; set it to "
            "True, or use REGLoss there without distances."
        )
    return built


class PriorDistances:
    """Mix-in of one-stage heads: distances of priors while the losses are computed.

    A head whose loss gets the rows of each image together has ``rows_by_image = True``; level by
    level is the rule. What the first step of several images sees of that order is checked.
    """

    _order_checked = False
    prior_generator: Any
    num_classes: int
    loss_cls: REGLoss

    def loss_by_feat(self, cls_scores: list[Tensor], *inputs) -> dict:
        """The head's own losses; its inputs end in objects, meta information, ignored objects."""
        objects = inputs[-3]
        priors = self.prior_generator.grid_priors(
            [level.shape[-2:] for level in cls_scores], device=cls_scores[0].device
        )
        by_image = getattr(self, "rows_by_image", False)
        name = type(self).__name__
        source = DistancesOfLevels(name, priors, objects, self.num_classes, by_image)
        # It waits for the device, and the order of rows does not change. One image has no other.
        source.checks = len(objects) > 1 and not self._order_checked
        with self.loss_cls.measured_by(source):
            losses = super().loss_by_feat(cls_scores, *inputs)  # type: ignore[misc]
        self._order_checked = self._order_checked or source.checks
        return losses


class PixelDistances:
    """Mix-in of semantic heads with sigmoid: distances of pixels while the loss is computed."""

    seg_rescale_factor: float
    loss_seg: REGLoss

    def loss(self, x: tuple[Tensor, ...], batch_data_samples: SampleList, *args) -> dict:
        """The head's own loss."""
        height, width = batch_data_samples[0].gt_sem_seg.sem_seg.shape[-2:]
        # The head's loss is computed on labels of this scale.
        sizes = (math.floor(size * self.seg_rescale_factor) for size in (height, width))
        shape = torch.Size((len(batch_data_samples), *sizes))
        name = type(self).__name__

        def distances(rows: Tensor, labels: Tensor) -> Tensor:
            if labels.numel() != shape.numel():
                raise _unfit(name, shape.numel(), labels.numel())
            # Of the loss's own labels: heads of panoptic segmentation merge classes.
            maps = class_distance_maps(labels.view(shape), rows.shape[1])
            return maps.movedim(1, -1).reshape(rows.shape)

        with self.loss_seg.measured_by(distances):
            return super().loss(x, batch_data_samples, *args)  # type: ignore[misc]


class DistancesOfLevels:
    """Distances of the priors that a head's loss is called for: of all, or level by level.

    Args:
        name: Of the head, for messages.
        priors: Per level (A, 2) points, (A, 4) boxes, or points with their strides.
        objects: Of each image, with ``bboxes`` and ``labels``.
        num_classes: Number of classes.
        by_image: Whether rows of all priors are ordered image by image.

    Attributes:
        checks: Whether positives are checked to have their class in their image, as they have not
            where rows are in another order.
    """

    checks = False

    def __init__(
        self,
        name: str,
        priors: Sequence[Tensor],
        objects: Sequence[InstanceData],
        num_classes: int,
        by_image: bool,
    ) -> None:
        self.name = name
        self.by_image = by_image
        self.levels = [self._of_level(level, objects, num_classes) for level in priors]
        self.calls = 0

    @staticmethod
    def _of_level(priors: Tensor, objects: Sequence[InstanceData], num_classes: int) -> Tensor:
        priors = get_box_tensor(priors)
        points = priors if priors.shape[1] == 2 else (priors[:, :2] + priors[:, 2:]) / 2
        return torch.stack(
            [
                class_distances(points, get_box_tensor(own.bboxes), own.labels, num_classes)
                for own in objects
            ]
        )

    def __call__(self, rows: Tensor, labels: Tensor) -> Tensor:
        """Distances of the priors whose logits (N, C) the loss is called for: (N, C)."""
        if len(rows) != sum(level[..., 0].numel() for level in self.levels):
            distances = self.levels[self.calls % len(self.levels)].flatten(0, 1)
            self.calls += 1
        elif self.by_image:
            distances = torch.cat(self.levels, dim=1).flatten(0, 1)
        else:
            distances = torch.cat([level.flatten(0, 1) for level in self.levels])
        if distances.shape != rows.shape:
            raise _unfit(self.name, len(distances), len(rows))
        if self.checks:
            self._check_order(distances, labels)
        return distances

    def _check_order(self, distances: Tensor, labels: Tensor) -> None:
        if labels.is_floating_point():
            own = distances[labels > 0]
        else:
            positives = (labels >= 0) & (labels < distances.shape[1])
            own = distances[positives].gather(1, labels[positives][:, None])
        if own.isinf().any():
            raise ValueError(
                f"Expected rows {'image by image' if self.by_image else 'level by level'} in the "
                f"loss of {self.name}, but a positive's class is in none of the objects of its "
                "image: the rows are in another order; use REGLoss there without "
                "WithClassDistances."
            )


def _unfit(name: str, expected: int, number: int) -> ValueError:
    return ValueError(
        f"Expected a loss of all {expected} priors or pixels with distances, but {name} calls it "
        f"for {number}; use REGLoss there without WithClassDistances."
    )
