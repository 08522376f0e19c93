"""PAA's head, trained by a ranking loss and without its IoU branch."""

from __future__ import annotations

import warnings

import torch
from mmdet.models.dense_heads import PAAHead, paa_head
from mmdet.models.utils import levels_to_images
from mmdet.registry import MODELS
from mmengine.structures import InstanceData
from torch import Tensor

from mmdet_rank.ops.ranking import wide_dtype

from .levels import flat_anchor_problem
from .rank_atss_head import RankATSSHead

#: Scores of candidates are cut here; anchors with greater ones are far from being positives.
GREATEST_SCORE = 1e4


@MODELS.register_module()
class RankPAAHead(RankATSSHead, PAAHead):
    """PAAHead with RS, aLRP or AP Loss and no IoU branch (thesis 8.5.1.2).

    Positives are found as in `PAAHead`: candidates are scored by Focal Loss and GIoU Loss, which
    train nothing here, and a mixture of two Gaussians splits the scores. Score voting is kept.

    The mixture is fitted in float64 (float32 on Apple's GPUs, which have no other) to scores that
    begin at 0: in float32 it fails where scores are above 10 and almost alike.

    Args:
        loss_cls: Config of a ranking loss.
        loss_bbox: Config of a box loss.
        score_cls: Config of the classification loss that candidates are scored by.
        score_bbox: Config of the box loss that candidates are scored by.
        criterion: Options of `RankingCriterion`: ``instance_weight``, ``balance``.
        **kwargs: As for `PAAHead`; ``reg_decoded_bbox`` must be True, as it is by default.

    Raises:
        ValueError: If ``loss_centerness`` is given, or ``reg_decoded_bbox`` is False.
    """

    def __init__(
        self,
        *args,
        score_cls: dict = dict(type="FocalLoss", use_sigmoid=True, gamma=2.0, alpha=0.25),
        score_bbox: dict = dict(type="GIoULoss", loss_weight=1.3),
        reg_decoded_bbox: bool = True,
        **kwargs,
    ) -> None:
        if not reg_decoded_bbox:
            raise ValueError(
                "Expected reg_decoded_bbox=True in RankPAAHead, but got False: candidates are "
                "scored by the IoU of their decoded boxes. Remove it from the config."
            )
        super().__init__(*args, reg_decoded_bbox=True, **kwargs)
        self.score_cls = MODELS.build(score_cls)
        self.score_bbox = MODELS.build(score_bbox)

    #: `WithClassDistances` goes by it.
    rows_by_image = True

    def loss_by_feat(
        self,
        cls_scores: list[Tensor],
        bbox_preds: list[Tensor],
        batch_gt_instances: list[InstanceData],
        batch_img_metas: list[dict],
        batch_gt_instances_ignore: list[InstanceData] | None = None,
    ) -> dict:
        """Losses of all levels and images at once; see `PAAHead.loss_by_feat`."""
        sizes = [level.shape[-2:] for level in cls_scores]
        anchors, flags = self.get_anchors(sizes, batch_img_metas, device=cls_scores[0].device)
        labels, weights, targets, box_weights, candidates, gt_indices = self.get_targets(
            anchors, flags, batch_gt_instances, batch_img_metas, batch_gt_instances_ignore
        )
        logits = [image.reshape(-1, self.num_classes) for image in levels_to_images(cls_scores)]
        outputs = [image.reshape(-1, 4) for image in levels_to_images(bbox_preds)]
        for i in range(len(batch_img_metas)):
            (scores,) = self.get_pos_loss(
                anchors[i], logits[i], outputs[i], labels[i], weights[i], targets[i],
                box_weights[i], candidates[i],
            )  # fmt: skip
            labels[i], weights[i], box_weights[i], _ = self.paa_reassign(
                scores, labels[i], weights[i], box_weights[i], candidates[i], gt_indices[i],
                anchors[i],
            )  # fmt: skip
        return self.criterion(
            flat_anchor_problem(
                torch.cat(logits),
                torch.cat(outputs),
                torch.cat([level for of_image in anchors for level in of_image]),
                torch.cat(labels),
                torch.cat(weights),
                torch.cat(targets),
                bbox_coder=self.bbox_coder,
                decoded=True,
            )
        )

    @torch.no_grad()
    def get_pos_loss(
        self,
        anchors: list[Tensor],
        cls_score: Tensor,
        bbox_pred: Tensor,
        label: Tensor,
        label_weight: Tensor,
        bbox_target: Tensor,
        bbox_weight: Tensor,
        pos_inds: Tensor,
    ) -> tuple[Tensor]:
        """Scores of an image's candidates; see `PAAHead.get_pos_loss`.

        Returns:
            (n,) in the device's widest float, shifted so that the least is 0: the split does not
            depend on that, but the digits that the mixture model has do.
        """
        boxes = self.bbox_coder.decode(torch.cat(anchors)[pos_inds], bbox_pred[pos_inds].float())
        targets, labels = bbox_target[pos_inds], label[pos_inds]
        dtype = wide_dtype(boxes.device)
        if not len(pos_inds):
            return (boxes.new_zeros(0, dtype=dtype),)
        by_class = self.score_cls(
            cls_score[pos_inds].float(), labels, reduction_override="none"
        ).sum(dim=1)
        by_box = self.score_bbox(boxes, targets, reduction_override="none")
        scores = (by_class + by_box).to(dtype).nan_to_num(nan=GREATEST_SCORE)
        return ((scores - scores.min()).clamp(max=GREATEST_SCORE),)

    @torch.no_grad()
    def paa_reassign(self, *args) -> tuple:
        """Split the candidates of an image; see `PAAHead.paa_reassign`.

        Raises:
            ImportError: If scikit-learn is missing.
        """
        if paa_head.skm is None:
            raise ImportError(
                "RankPAAHead needs scikit-learn to fit mixtures of Gaussians, but it is not "
                "installed; run: pip install scikit-learn"
            )
        with warnings.catch_warnings():
            # Scores that are all alike, and mixtures that have not settled, are common here.
            warnings.filterwarnings("ignore", module="sklearn")
            return PAAHead.paa_reassign(self, *args)

    def gmm_separation_scheme(
        self, gmm_assignment: Tensor, scores: Tensor, pos_inds_gmm: Tensor
    ) -> tuple[Tensor, Tensor]:
        """See `PAAHead.gmm_separation_scheme`; the best candidate is always a positive."""
        positives, ignored = super().gmm_separation_scheme(gmm_assignment, scores, pos_inds_gmm)
        return (positives if len(positives) else pos_inds_gmm[:1]), ignored

    def _predict_by_feat_single(
        self,
        cls_score_list: list[Tensor],
        bbox_pred_list: list[Tensor],
        score_factor_list: list[Tensor],
        *args,
        **kwargs,
    ) -> InstanceData:
        # PAAHead puts its factors through a sigmoid: these become 1.
        ones = [
            cls_score.new_full((self.num_base_priors, *cls_score.shape[1:]), torch.inf)
            for cls_score in cls_score_list
        ]
        return super()._predict_by_feat_single(
            cls_score_list, bbox_pred_list, ones, *args, **kwargs
        )

    def _bbox_post_process(self, results: InstanceData, *args, **kwargs) -> InstanceData:
        # PAAHead takes the geometric mean of score and predicted IoU, which the score is now.
        results.scores = results.scores.square()
        voted = super()._bbox_post_process(results, *args, **kwargs)
        # Voting has gone class by class.
        return voted[voted.scores.argsort(descending=True)]
