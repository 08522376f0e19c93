"""YOLOv8's head, trained by a ranking loss."""

from __future__ import annotations

from mmdet.registry import MODELS

from mmdet_rank.criteria import RankedLosses, RankingProblem
from mmdet_rank.models.ranking_head import RankingHead

from .points import decoded_problem
from .yolov8_head import AlignedTargets, DenseOutputs, YOLOv8Head


@MODELS.register_module()
class RankYOLOv8Head(RankingHead, YOLOv8Head):
    """YOLOv8Head with RS, aLRP or AP Loss.

    Layers, names, assignment and prediction are those of `YOLOv8Head`. Its soft targets are gone:
    the labels of RS Loss are the IoUs of the predicted boxes themselves, all priors of all images
    are ranked at once, and the box loss is weighed and balanced by the criterion. The loss of the
    distributions is weighed and balanced as the box loss is. No loss is multiplied by the number
    of images.

    Args:
        loss_cls: Config of a ranking loss.
        loss_bbox: Config of a box loss of the IoU family; its ``loss_weight`` sets its share
            beside that of the distributions.
        criterion: Options of `RankingCriterion`: ``instance_weight``, ``balance``.
        **kwargs: As for `YOLOv8Head`.
    """

    def dense_losses(self, outputs: DenseOutputs, targets: AlignedTargets) -> RankedLosses:
        """Losses of all priors: those of the criterion, and ``loss_dfl`` beside the box loss."""
        losses = self.criterion(self.problem(outputs, targets))
        positive = targets.labels < self.num_classes
        errors = self.loss_dfl(
            outputs.dists[positive].reshape(-1, self.reg_max),
            self.distance_targets(outputs, targets)[positive].reshape(-1),
            reduction_override="none",
        )
        losses["loss_dfl"] = losses.box_loss_beside(errors.reshape(-1, 4).sum(dim=1))
        return losses

    def problem(self, outputs: DenseOutputs, targets: AlignedTargets) -> RankingProblem:
        """The ranking problem of all priors, image by image."""
        points = outputs.points.expand(len(outputs.boxes), -1, -1)
        return decoded_problem(
            outputs.logits.reshape(-1, self.num_classes),
            targets.labels.reshape(-1),
            outputs.boxes.reshape(-1, 4),
            targets.boxes.reshape(-1, 4),
            points.reshape(-1, 2),
            outputs.distances,
        )
