"""The part that all heads share: how they are built from a config.

Each class here is a mixin. It stands before a head of MMDetection among the bases of a class:
``class RankRetinaHead(RankingAnchorHead, RetinaHead)``.
"""

from __future__ import annotations

from typing import Any

from mmdet_rank.criteria import build_criterion


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


class RankingAnchorHead(RankingBoxHead):
    """A ranking head whose boxes are decoded from anchors or RoIs.

    Args:
        *args: As for MMDetection's head.
        reg_decoded_bbox: Whether the box loss works on decoded boxes, as those of the IoU family
            must.
        **kwargs: As for MMDetection's head and `RankingBoxHead`.
    """

    def __init__(self, *args: Any, reg_decoded_bbox: bool = True, **kwargs: Any) -> None:
        super().__init__(*args, reg_decoded_bbox=reg_decoded_bbox, **kwargs)


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
