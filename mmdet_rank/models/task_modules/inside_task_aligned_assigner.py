"""Task-aligned assignment whose candidates lie within their object, as YOLOv8 has it."""

from __future__ import annotations

import torch
from mmdet.models.task_modules.assigners import AssignResult, TaskAlignedAssigner
from mmdet.registry import TASK_UTILS
from mmengine.structures import InstanceData
from torch import Tensor
from torchvision.ops import complete_box_iou


@TASK_UTILS.register_module()
class CompleteIoU2D:
    """Complete IoU of pairs of boxes, not below 0; degenerate boxes have 0.

    Example:
        >>> boxes = torch.tensor([[0.0, 0.0, 4.0, 4.0]]), torch.tensor([[0.0, 0.0, 8.0, 2.0]])
        >>> CompleteIoU2D()(*boxes)
        tensor([[0.2530]])
    """

    def __call__(self, bboxes1: Tensor, bboxes2: Tensor, **kwargs) -> Tensor:
        """(N, 4) and (M, 4) boxes to (N, M)."""
        return complete_box_iou(bboxes1, bboxes2).nan_to_num(0.0).clamp(min=0.0)


@TASK_UTILS.register_module()
class InsideTaskAlignedAssigner(TaskAlignedAssigner):
    """`TaskAlignedAssigner` that looks for its candidates among the priors within the object.

    MMDetection's takes the ``topk`` priors of the greatest ``score^alpha * overlap^beta`` and then
    drops those whose centre is outside of the object; a small object, for which the boxes of
    priors around it overlap as well as its own, may lose most of its positives that way. Here the
    places are for priors within it. A prior that several objects take goes to the one of the
    greatest overlap in both. There is no loop over objects, and nothing waits for the device.

    Args:
        topk: Candidates per object.
        iou_calculator: Config of what computes overlaps; by default the complete IoU.
    """

    def __init__(self, topk: int = 10, iou_calculator: dict = dict(type="CompleteIoU2D")) -> None:
        super().__init__(topk, iou_calculator)

    @torch.no_grad()
    def assign(
        self,
        pred_instances: InstanceData,
        gt_instances: InstanceData,
        gt_instances_ignore: InstanceData | None = None,
        alpha: float = 0.5,
        beta: float = 6.0,
    ) -> AssignResult:
        """Assign the objects of an image to its priors.

        Args:
            pred_instances: ``priors`` (A, 4 or more) whose centres count, ``bboxes`` (A, 4) and
                ``scores`` (A, C), predicted.
            gt_instances: ``bboxes`` (G, 4) and ``labels`` (G,).
            gt_instances_ignore: Not used.
            alpha: Exponent of the score.
            beta: Exponent of the overlap.

        Returns:
            The result; ``assign_metrics`` (A,) are ``score^alpha * overlap^beta`` of the prior
            and its object, and ``max_overlaps`` (A,) their overlap; both 0 for background.
        """
        priors, scores = pred_instances.priors, pred_instances.scores
        boxes, labels = gt_instances.bboxes, gt_instances.labels
        num_gts, num_priors = len(boxes), len(priors)
        if not num_gts or not num_priors:
            inds = labels.new_zeros(num_priors)
            result = AssignResult(num_gts, inds, scores.new_zeros(num_priors), labels=inds - 1)
            result.assign_metrics = scores.new_zeros(num_priors)
            return result
        overlaps = self.iou_calculator(pred_instances.bboxes, boxes)
        metrics = scores[:, labels] ** alpha * overlaps**beta
        centers = (priors[:, None, :2] + priors[:, None, 2:4]) / 2
        inside = torch.cat([centers - boxes[:, :2], boxes[:, 2:] - centers], dim=2).amin(dim=2)
        metrics = metrics * (inside > 1e-9)
        places = metrics.topk(min(self.topk, num_priors), dim=0).indices
        candidates = torch.zeros_like(metrics, dtype=torch.bool).scatter_(0, places, True)
        candidates &= metrics > 0
        best_overlaps, best = overlaps.masked_fill(~candidates, -1.0).max(dim=1)
        positive = best_overlaps >= 0
        result = AssignResult(
            num_gts,
            torch.where(positive, best + 1, 0),
            best_overlaps.clamp(min=0.0),
            labels=torch.where(positive, labels[best], -1),
        )
        own_metrics = metrics.gather(1, best[:, None]).squeeze(1)
        result.assign_metrics = torch.where(positive, own_metrics, 0.0)
        return result
