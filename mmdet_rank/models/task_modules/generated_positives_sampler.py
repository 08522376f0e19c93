"""Positives that are generated around the objects, in the place of the proposal network's."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from mmdet.models.task_modules.assigners import AssignResult
from mmdet.models.task_modules.samplers import OHEMSampler, RandomSampler, SamplingResult
from mmdet.registry import TASK_UTILS
from mmdet.structures.bbox import get_box_tensor
from mmengine.structures import InstanceData
from torch import Tensor, nn
from torchvision.ops import nms

from mmdet_rank.generators import IOU_BASES, GeneratedRoIs, generate_rois

from .sampler_options import refuse_unknown_options


@TASK_UTILS.register_module()
class GeneratedPositivesSampler(RandomSampler):
    """Trains an R-CNN on generated positives (thesis Alg. 2, 4.3.2) and the proposals' negatives.

    Positives of the proposal network are left out of the second stage, its negatives stay, and the
    network itself, whose gradients do not come from here, trains as before. RoIs are generated
    anew for every image and iteration, from torch's default generator, and clipped to the padded
    image. The thesis takes 32 positives and 96 negatives per image::

        train_cfg=dict(rcnn=dict(sampler=dict(
            _delete_=True, type="GeneratedPositivesSampler", num=128, pos_fraction=0.25)))

    Negatives of an IoU in [0.1, 0.5], as in 4.6.2, are the assigner's affair:
    ``neg_iou_thr=(0.1, 0.5)``.

    Args:
        num: RoIs per image.
        pos_fraction: Share of positives among them.
        context: The RoI head, which MMDetection hands in.
        num_generated: RoIs to generate, of which the hardest are kept (online hard positive mining,
            OHPM, 4.5.3): ordered by classification loss, suppressed by IoU, the first ones taken.
            None: as many as are wanted, without mining. The thesis takes 128.
        nms_iou: IoU above which the easier of two RoIs goes, in mining.
        weights: Shares of the IoU bins; see `mmdet_rank.generators.generate_rois`.
        bases: Lower ends of the bins; none below the assigner's ``pos_iou_thr``.
        within_bins: As for `mmdet_rank.generators.generate_rois`.
        balanced: Share RoIs over the classes first.
        neg_pos_ub: As for `RandomSampler`.
        **kwargs: ``add_gt_as_proposals``, which base configs give, has no say: the boxes of
            objects are proposals neither for positives nor for negatives.

    Raises:
        TypeError: If another option is given.
        ValueError: If ``num_generated`` is below the number of positives, hard positives are wanted
            of a head that ranks, whose loss has no single entries, or the head is not one of RoIs.
    """

    def __init__(
        self,
        num: int,
        pos_fraction: float,
        context: nn.Module | None = None,
        num_generated: int | None = None,
        nms_iou: float = 0.7,
        weights: str | Sequence[float] = "uniform",
        bases: Sequence[float] = IOU_BASES,
        within_bins: bool = True,
        balanced: bool = True,
        neg_pos_ub: int = -1,
        **kwargs,
    ) -> None:
        refuse_unknown_options(GeneratedPositivesSampler, kwargs)
        if context is not None and not hasattr(context, "bbox_roi_extractor"):
            raise ValueError(
                f"Expected a head of RoIs for GeneratedPositivesSampler, but got "
                f"{type(context).__name__}, whose samples are its own priors; take it for "
                "train_cfg.rcnn alone."
            )
        super().__init__(num, pos_fraction, neg_pos_ub=neg_pos_ub, add_gt_as_proposals=False)
        self.context = context
        self.num_positives = int(num * pos_fraction)
        self.num_generated = self.num_positives if num_generated is None else num_generated
        self.nms_iou = nms_iou
        self.options: dict[str, Any] = dict(
            weights=weights, bases=tuple(bases), within_bins=within_bins, balanced=balanced
        )
        # Says now what it would say in the first iteration.
        generate_rois(torch.zeros(0, 4), torch.zeros(0, dtype=torch.int64), 0, **self.options)
        self.miner = None
        if num_generated is not None:
            if num_generated < self.num_positives:
                raise ValueError(
                    f"Expected num_generated of at least the {self.num_positives} positives "
                    f"(num * pos_fraction), but got {num_generated}."
                )
            self.miner = OHEMSampler(num, pos_fraction, context, add_gt_as_proposals=False)
            head = self.miner.bbox_head
            if hasattr(head, "criterion"):
                raise ValueError(
                    f"Expected a box head with a loss of single RoIs for num_generated, but got "
                    f"{type(head).__name__}, which ranks; leave num_generated out."
                )

    def sample(
        self,
        assign_result: AssignResult,
        pred_instances: InstanceData,
        gt_instances: InstanceData,
        feats: Sequence[Tensor] | None = None,
        **kwargs,
    ) -> SamplingResult:
        """Generated positives and sampled negatives of an image; see `BaseSampler.sample`.

        Args:
            assign_result: Objects of the proposals.
            pred_instances: Proposals, as ``priors``.
            gt_instances: Objects.
            feats: Feature maps of the image, from the finest on. Without them boxes are not
                clipped.
            **kwargs: Not used.

        Raises:
            ValueError: If hard positives are wanted and ``feats`` is missing.
        """
        proposals = get_box_tensor(pred_instances.priors)
        made = self._generate(gt_instances, proposals, feats)
        num_pos = len(made.rois)
        num_neg = self.num - num_pos
        if self.neg_pos_ub >= 0:
            num_neg = min(num_neg, self.neg_pos_ub * max(num_pos, 1))
        negatives = self._sample_neg(assign_result, num_neg, bboxes=proposals)
        labels = gt_instances.labels[made.objects]
        both = AssignResult(
            assign_result.num_gts,
            gt_inds=torch.cat([made.objects + 1, assign_result.gt_inds]),
            max_overlaps=torch.cat(
                [made.min_ious.to(assign_result.max_overlaps), assign_result.max_overlaps]
            ),
            labels=torch.cat([labels, assign_result.labels]),
        )
        priors = torch.cat([made.rois, proposals])
        return SamplingResult(
            pos_inds=torch.arange(num_pos, device=priors.device),
            neg_inds=negatives.unique() + num_pos,
            priors=priors,
            gt_bboxes=gt_instances.bboxes,
            assign_result=both,
            gt_flags=priors.new_zeros(len(priors), dtype=torch.uint8),
        )

    def _generate(
        self, gt_instances: InstanceData, proposals: Tensor, feats: Sequence[Tensor] | None
    ) -> GeneratedRoIs:
        boxes = get_box_tensor(gt_instances.bboxes).to(proposals)
        # Data augmentation may leave objects without an area.
        kept = (boxes[:, 2:] > boxes[:, :2]).all(1).nonzero().squeeze(1)
        made = generate_rois(
            boxes[kept],
            gt_instances.labels[kept],
            self.num_generated,
            image_shape=self._image_shape(feats),
            **self.options,
        )
        made = made._replace(objects=kept[made.objects])
        if self.miner is None or not len(made.rois):
            return made
        if feats is None:
            raise ValueError(
                "Expected feature maps to mine hard positives by their loss, but got none; use "
                "this sampler in a RoI head, or leave num_generated out."
            )
        # Asked for all, it gives their order, from the greatest loss on.
        order = self.miner.hard_mining(
            torch.arange(len(made.rois), device=proposals.device),
            len(made.rois),
            made.rois,
            gt_instances.labels[made.objects],
            feats,
        )
        hardness = torch.empty_like(order, dtype=made.rois.dtype)
        hardness[order] = torch.arange(len(order), 0, -1, device=order.device).to(hardness)
        chosen = nms(made.rois, hardness, self.nms_iou)[: self.num_positives]
        return GeneratedRoIs(*(part[chosen] for part in made))

    def _image_shape(self, feats: Sequence[Tensor] | None) -> tuple[int, int] | None:
        if feats is None or self.context is None:
            return None
        extractor = self.context.bbox_roi_extractor
        extractor = extractor[0] if isinstance(extractor, nn.ModuleList) else extractor
        stride = extractor.featmap_strides[0]
        height, width = feats[0].shape[-2:]
        return height * stride, width * stride
