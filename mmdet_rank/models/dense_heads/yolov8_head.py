"""YOLOv8's head, on MMDetection's assigners and losses."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from mmdet.models.dense_heads.base_dense_head import BaseDenseHead
from mmdet.models.task_modules.assigners import AssignResult
from mmdet.registry import MODELS, TASK_UTILS
from mmdet.structures.bbox import bbox2distance, distance2bbox
from mmdet.utils import reduce_mean
from mmengine.structures import InstanceData
from torch import Tensor

from mmdet_rank.models.layers.c2f import ACT_CFG, NORM_CFG
from mmdet_rank.ops.distributed import world_size

from .yolov8_head_module import YOLOv8HeadModule

#: The assignment that YOLOv8 is trained by.
ASSIGNER = dict(type="InsideTaskAlignedAssigner", topk=10)


@dataclass
class DenseOutputs:
    """Outputs of the head for the A priors of all levels, for B images.

    Attributes:
        logits: (B, A, C) of classes.
        distances: (B, A, 4) expected distances in strides, of which the boxes are computed.
        dists: (B, A, 4, bins) logits of their distributions.
        boxes: (B, A, 4) predicted boxes in pixels.
        points: (A, 2) places of the priors in pixels.
        strides: (A, 1) of their levels.
    """

    logits: Tensor
    distances: Tensor
    dists: Tensor
    boxes: Tensor
    points: Tensor
    strides: Tensor


@dataclass
class AlignedTargets:
    """Targets that task-aligned assignment gives the A priors of B images.

    Attributes:
        labels: (B, A) class, C for background.
        scores: (B, A) soft target of that class, in [0, 1]; 0 for background.
        boxes: (B, A, 4) box of the object; zeros for background.
        gt_inds: (B, A) place of the object in its image; -1 for background.
    """

    labels: Tensor
    scores: Tensor
    boxes: Tensor
    gt_inds: Tensor


@MODELS.register_module()
class YOLOv8Head(BaseDenseHead):
    """Decoupled head without anchors: a class score per place, and a box as four distributions.

    Positives are found by task-aligned assignment (TOOD), and their class scores are trained
    towards its metric, ``score^alpha * overlap^beta``, scaled so that the greatest of an object is
    its greatest overlap. All losses are divided by the sum of these soft targets and multiplied by
    the number of images.

    Args:
        num_classes: Number of classes.
        in_channels: Channels of each level, the finest first.
        strides: Stride of each level.
        reg_max: Bins of the distributions; distances reach from 0 to ``reg_max - 1`` strides.
        norm_cfg: Config of the normalisation.
        act_cfg: Config of the activation.
        loss_cls: Config of a loss that takes soft targets (N, C): CrossEntropyLoss with
            ``use_sigmoid``, QualityFocalLoss, VarifocalLoss, FocalLoss, REGLoss.
        loss_bbox: Config of a box loss.
        loss_dfl: Config of the loss of the distributions; it is summed over the four sides.
        train_cfg: ``assigner``, ``alpha`` (0.5) and ``beta`` (6).
        test_cfg: ``score_thr``, ``nms_pre``, ``nms``, ``max_per_img``.
        init_cfg: Config of the initialisation.
    """

    #: Logits go to the loss image by image; see `models.class_distances`.
    rows_by_image = True

    def __init__(
        self,
        num_classes: int,
        in_channels: Sequence[int],
        strides: Sequence[int] = (8, 16, 32),
        reg_max: int = 16,
        norm_cfg: dict = NORM_CFG,
        act_cfg: dict = ACT_CFG,
        loss_cls: dict = dict(type="CrossEntropyLoss", use_sigmoid=True, loss_weight=0.5),
        loss_bbox: dict = dict(type="CompleteIoULoss", loss_weight=7.5),
        loss_dfl: dict = dict(type="DistributionFocalLoss", loss_weight=1.5 / 4),
        train_cfg: dict | None = None,
        test_cfg: dict | None = None,
        init_cfg: dict | None = None,
    ) -> None:
        super().__init__(init_cfg)
        if len(in_channels) != len(strides):
            raise ValueError(
                f"Expected in_channels of {type(self).__name__} for each of {len(strides)} "
                f"strides, but got {list(in_channels)}."
            )
        self.num_classes = self.cls_out_channels = num_classes
        self.in_channels = list(in_channels)
        self.reg_max = reg_max
        self.use_sigmoid_cls = True
        self.train_cfg = dict(train_cfg or {})
        self.test_cfg = test_cfg
        self.prior_generator = TASK_UTILS.build(
            dict(type="MlvlPointGenerator", strides=list(strides), offset=0.5)
        )
        # Boxes are cut at the image's edge after suppression, which cut boxes would share more.
        self.bbox_coder = TASK_UTILS.build(dict(type="DistancePointBBoxCoder", clip_border=False))
        self.assigner = TASK_UTILS.build(self.train_cfg.get("assigner", ASSIGNER))
        self.loss_cls = MODELS.build(loss_cls)
        self.loss_bbox = MODELS.build(loss_bbox)
        self.loss_dfl = MODELS.build(loss_dfl)
        self.head_module = YOLOv8HeadModule(
            num_classes, self.in_channels, strides, reg_max, norm_cfg, act_cfg
        )

    def forward(self, x: tuple[Tensor, ...]) -> tuple[list[Tensor], ...]:
        """Logits, distances in strides and their distributions; see `YOLOv8HeadModule`."""
        return self.head_module(x)

    def loss_by_feat(
        self,
        cls_scores: list[Tensor],
        bbox_preds: list[Tensor],
        bbox_dists: list[Tensor],
        batch_gt_instances: list[InstanceData],
        batch_img_metas: list[dict],
        batch_gt_instances_ignore: list[InstanceData] | None = None,
    ) -> dict[str, Tensor]:
        """Losses of all levels and images at once.

        Args:
            cls_scores: Per level (B, C, H, W) logits.
            bbox_preds: Per level (B, 4, H, W) distances in strides.
            bbox_dists: Per level (B, H * W, 4, bins) logits of their distributions.
            batch_gt_instances: Objects of each image.
            batch_img_metas: Meta information of each image.
            batch_gt_instances_ignore: Not used.

        Returns:
            ``loss_cls``, ``loss_bbox``, ``loss_dfl``.
        """
        outputs = self.dense_outputs(cls_scores, bbox_preds, bbox_dists)
        return self.dense_losses(outputs, self.assign(outputs, batch_gt_instances))

    def dense_losses(self, outputs: DenseOutputs, targets: AlignedTargets) -> dict[str, Tensor]:
        """Losses of all priors; see `loss_by_feat`."""
        total = reduce_mean(targets.scores.sum()).clamp(min=1.0)
        number = len(targets.labels) * world_size()
        positive = targets.labels < self.num_classes
        weights = targets.scores[positive]
        loss_cls = self.loss_cls(
            outputs.logits.reshape(-1, self.num_classes),
            self.soft_targets(targets).reshape(-1, self.num_classes),
            avg_factor=total,
        )
        loss_bbox = self.loss_bbox(
            outputs.boxes[positive], targets.boxes[positive], weights, avg_factor=total
        )
        loss_dfl = self.loss_dfl(
            outputs.dists[positive].reshape(-1, self.reg_max),
            self.distance_targets(outputs, targets)[positive].reshape(-1),
            weights.repeat_interleave(4),
            avg_factor=total,
        )
        return dict(
            loss_cls=loss_cls * number, loss_bbox=loss_bbox * number, loss_dfl=loss_dfl * number
        )

    def dense_outputs(
        self, cls_scores: list[Tensor], bbox_preds: list[Tensor], bbox_dists: list[Tensor]
    ) -> DenseOutputs:
        """Outputs of `forward`, which come level by level, as one tensor each."""
        sizes = [level.shape[-2:] for level in cls_scores]
        priors = torch.cat(
            self.prior_generator.grid_priors(
                sizes, dtype=bbox_preds[0].dtype, device=bbox_preds[0].device, with_stride=True
            )
        )
        points, strides = priors[:, :2], priors[:, 2:3]
        logits, distances = (
            torch.cat([level.flatten(2).transpose(1, 2) for level in maps], dim=1)
            for maps in (cls_scores, bbox_preds)
        )
        return DenseOutputs(
            logits=logits,
            distances=distances,
            dists=torch.cat(bbox_dists, dim=1).to(bbox_preds[0].dtype),
            boxes=distance2bbox(points, distances * strides),
            points=points,
            strides=strides,
        )

    @torch.no_grad()
    def assign(
        self, outputs: DenseOutputs, batch_gt_instances: list[InstanceData]
    ) -> AlignedTargets:
        """Task-aligned assignment of each image's objects to the priors."""
        scores = outputs.logits.to(outputs.boxes.dtype).sigmoid()
        priors = torch.cat([outputs.points, outputs.points], dim=1)
        of_images = []
        for own_scores, own_boxes, objects in zip(
            scores, outputs.boxes, batch_gt_instances, strict=True
        ):
            predicted = InstanceData(priors=priors, bboxes=own_boxes, scores=own_scores)
            result = self.assigner.assign(
                predicted,
                objects,
                alpha=self.train_cfg.get("alpha", 0.5),
                beta=self.train_cfg.get("beta", 6.0),
            )
            gt_inds = result.gt_inds - 1
            boxes = torch.zeros_like(own_boxes)
            if len(objects):
                boxes = objects.bboxes.to(boxes.dtype)[gt_inds.clamp(min=0)]
                boxes = torch.where(gt_inds[:, None] >= 0, boxes, 0.0)
            labels = torch.where(gt_inds >= 0, result.labels, self.num_classes)
            soft = aligned_scores(result, len(objects))
            of_images.append((labels, soft, boxes, gt_inds))
        return AlignedTargets(*map(torch.stack, zip(*of_images, strict=True)))

    def soft_targets(self, targets: AlignedTargets) -> Tensor:
        """Soft targets of all classes (B, A, C): the prior's score for its own, 0 for others."""
        dense = targets.scores.new_zeros(*targets.scores.shape, self.num_classes + 1)
        dense.scatter_(2, targets.labels[..., None], targets.scores[..., None])
        return dense[..., :-1]

    def distance_targets(self, outputs: DenseOutputs, targets: AlignedTargets) -> Tensor:
        """Distances (B, A, 4) in strides that the distributions are trained towards."""
        points = outputs.points.expand(len(targets.boxes), -1, -1)
        # Bins reach to reg_max - 1, and a target lies strictly between two of them.
        distances = bbox2distance(points, targets.boxes) / outputs.strides
        return distances.clamp(0, self.reg_max - 1 - 0.01)

    def predict_by_feat(
        self,
        cls_scores: list[Tensor],
        bbox_preds: list[Tensor],
        bbox_dists: list[Tensor] | None = None,
        batch_img_metas: list[dict] | None = None,
        **kwargs,
    ) -> list[InstanceData]:
        """Detections of each image; see `BaseDenseHead.predict_by_feat`.

        Args:
            cls_scores: Per level (B, C, H, W) logits.
            bbox_preds: Per level (B, 4, H, W) distances in strides.
            bbox_dists: Not used.
            batch_img_metas: Meta information of each image.
            **kwargs: ``cfg``, ``rescale``, ``with_nms``.
        """
        strides = self.prior_generator.strides
        # In float32 also under autocast, as the points at the far end of large images need.
        return super().predict_by_feat(
            [level.to(bbox_preds[0].dtype) for level in cls_scores],
            [level * stride[0] for level, stride in zip(bbox_preds, strides, strict=True)],
            batch_img_metas=batch_img_metas,
            **kwargs,
        )

    def _bbox_post_process(
        self,
        results: InstanceData,
        cfg: dict,
        rescale: bool = False,
        with_nms: bool = True,
        img_meta: dict | None = None,
    ) -> InstanceData:
        results = super()._bbox_post_process(results, cfg, rescale, with_nms, img_meta)
        meta = img_meta or {}
        height, width = meta["ori_shape"][:2] if rescale else content_shape(meta)
        limits = results.bboxes.new_tensor([width, height, width, height])
        results.bboxes = results.bboxes.clamp(min=0).minimum(limits)
        return results


def content_shape(img_meta: dict) -> tuple[int, int]:
    """Height and width of the picture as the network sees it, without the padding around it.

    Example:
        >>> letterboxed = dict(ori_shape=(300, 400), scale_factor=(1.6, 1.6), img_shape=(640, 640))
        >>> content_shape(letterboxed)
        (480, 640)
    """
    shape = tuple(img_meta["img_shape"][:2])
    if img_meta.get("scale_factor") is None:
        return shape
    own = zip(shape, img_meta["ori_shape"], reversed(img_meta["scale_factor"][:2]), strict=False)
    return tuple(min(size, max(round(original * scale), 1)) for size, original, scale in own)


def aligned_scores(result: AssignResult, num_gts: int) -> Tensor:
    """Soft targets (A,) of an assignment: the metrics, scaled object by object.

    The greatest of an object becomes its greatest overlap (TOOD, Eq. 5 and the text after it).

    Args:
        result: Of one image, with ``assign_metrics``; see `InsideTaskAlignedAssigner.assign`.
        num_gts: Number of objects.
    """
    metrics, inds = result.assign_metrics, result.gt_inds
    overlaps = torch.where(inds > 0, result.max_overlaps, 0.0)
    # Place 0 is the background's.
    greatest = metrics.new_zeros(num_gts + 1)
    greatest_metrics = greatest.scatter_reduce(0, inds, metrics, "amax")
    greatest_overlaps = greatest.scatter_reduce(0, inds, overlaps, "amax")
    return metrics / (greatest_metrics[inds] + 1e-9) * greatest_overlaps[inds]
