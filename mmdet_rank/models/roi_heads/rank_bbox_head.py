"""R-CNN's box head, trained by a ranking loss on one sigmoid per class."""

from __future__ import annotations

from typing import Any

from mmdet.models.roi_heads.bbox_heads import Shared2FCBBoxHead
from mmdet.models.task_modules.samplers import SamplingResult
from mmdet.registry import MODELS
from mmdet.structures.bbox import get_box_tensor
from mmengine.structures import InstanceData
from torch import Tensor

from mmdet_rank.criteria import BoxTask, RankedLosses, RankingProblem
from mmdet_rank.criteria.problem import find_positives
from mmdet_rank.losses.base import RankingLoss
from mmdet_rank.models.ranking_head import RankingAnchorHead


@MODELS.register_module()
class RankShared2FCBBoxHead(RankingAnchorHead, Shared2FCBBoxHead):
    """Shared2FCBBoxHead with RS, aLRP or AP Loss over the RoIs of all images (thesis 8.5.1.1).

    The classifier has one output per class and none for background. All other layers have the
    sizes and names of `Shared2FCBBoxHead`.

    Args:
        loss_cls: Config of a ranking loss.
        loss_bbox: Config of a box loss. For those of the IoU family ``reg_decoded_bbox`` must be
            True, as it is by default here.
        reg_decoded_bbox: Whether the box loss works on decoded boxes; see `RankingAnchorHead`.
        criterion: Options of `RankingCriterion`: ``instance_weight``, ``balance``,
            ``loss_weight``.
        **kwargs: As for `Shared2FCBBoxHead`.

    Raises:
        ValueError: If the classifier or the box regression is left out, or if ``loss_bbox`` is of
            the IoU family and ``reg_decoded_bbox`` is False.
        TypeError: If the loss does not rank.
    """

    # MMDetection's heads then ask the loss for the number of outputs and for probabilities.
    custom_cls_channels = True
    custom_activation = True

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        if not (kwargs.get("with_cls", True) and kwargs.get("with_reg", True)):
            raise ValueError(
                "Expected with_cls=True and with_reg=True in RankShared2FCBBoxHead, but got "
                f"with_cls={kwargs.get('with_cls', True)} and "
                f"with_reg={kwargs.get('with_reg', True)}: boxes give the ranking its labels."
            )
        name = (kwargs.get("loss_cls") or {}).get("type", "RankSortLoss")
        loss = MODELS.get(name) if isinstance(name, str) else name
        # MMDetection's head asks the loss for its channels before the criterion can refuse it.
        if loss is not None and not issubclass(loss, RankingLoss):
            raise TypeError(
                "Expected loss_cls to be RankSortLoss, aLRPLoss or APLoss in "
                f"RankShared2FCBBoxHead, but got {loss.__name__}; use MMDetection's "
                "Shared2FCBBoxHead for that loss."
            )
        super().__init__(*args, **kwargs)
        self._keep_ranked = False
        self._ranked: RankedLosses | None = None

    def keep_ranked(self) -> None:
        """Keep the result of every call of `loss` for a mask head, which must `take_ranked`."""
        self._keep_ranked = True
        self.criterion.add_task("mask")

    def take_ranked(self) -> RankedLosses:
        """The result of the last call of `loss`; once, for it holds on to the graph."""
        if self._ranked is None:
            raise RuntimeError("Expected keep_ranked() and a call of loss before take_ranked().")
        ranked, self._ranked = self._ranked, None
        return ranked

    def loss(
        self,
        cls_score: Tensor,
        bbox_pred: Tensor,
        rois: Tensor,
        labels: Tensor,
        label_weights: Tensor,
        bbox_targets: Tensor,
        bbox_weights: Tensor,
        reduction_override: str | None = None,
    ) -> dict[str, Tensor]:
        """Losses of all RoIs of the batch at once; see `BBoxHead.loss`.

        Args:
            cls_score: (A, C) logits.
            bbox_pred: (A, 4 * C) outputs of the regression, (A, 4) when class-agnostic.
            rois: (A, 5) index of the image and box in pixels.
            labels: (A,) class of each RoI, C for background.
            label_weights: (A,) 0 for RoIs that are ignored.
            bbox_targets: (A, 4) boxes if ``reg_decoded_bbox``, else deltas.
            bbox_weights: Not used: positives are weighed by the criterion.
            reduction_override: Must be None.

        Raises:
            ValueError: If ``reduction_override`` is given.
        """
        if reduction_override is not None:
            raise ValueError(
                f"Expected reduction_override=None, but got {reduction_override!r}: the loss of "
                "a ranking has no single entries."
            )
        problem = self._problem(cls_score, bbox_pred, rois, labels, label_weights, bbox_targets)
        losses = self.criterion(problem)
        if self._keep_ranked:
            self._ranked = losses
        return losses

    def _problem(
        self,
        cls_score: Tensor,
        bbox_pred: Tensor,
        rois: Tensor,
        labels: Tensor,
        label_weights: Tensor,
        bbox_targets: Tensor,
    ) -> RankingProblem:
        positives = find_positives(labels, self.num_classes, label_weights)
        priors, outputs = rois[positives, 1:], bbox_pred[positives]
        if not self.reg_class_agnostic:
            box_dim = self.bbox_coder.encode_size
            own_class = labels[positives][:, None, None].expand(-1, 1, box_dim)
            outputs = outputs.view(-1, self.num_classes, box_dim).gather(1, own_class).squeeze(1)
        targets = bbox_targets[positives]
        boxes = get_box_tensor(self.bbox_coder.decode(priors, outputs.float()))
        decoded = self.reg_decoded_bbox
        return RankingProblem(
            logits=cls_score,
            labels=labels,
            label_weights=label_weights,
            positives=positives,
            boxes=BoxTask(
                pred=boxes if decoded else outputs,
                target=targets,
                boxes=boxes,
                gt_boxes=(
                    targets if decoded else get_box_tensor(self.bbox_coder.decode(priors, targets))
                ),
                outputs=outputs,
            ),
        )

    def refine_bboxes(
        self,
        sampling_results: list[SamplingResult],
        bbox_results: dict,
        batch_img_metas: list[dict],
    ) -> list[InstanceData]:
        """Boxes for the next stage of a cascade; see `BBoxHead.refine_bboxes`.

        For a batch without any RoI these are empty, where `BBoxHead` gives None and the cascade
        ends: all processes must come to the same losses.
        """
        results = super().refine_bboxes(sampling_results, bbox_results, batch_img_metas)
        if results is None:
            empty = bbox_results["rois"].new_zeros(0, 4)
            results = [InstanceData(bboxes=empty.clone()) for _ in batch_img_metas]
        return results
