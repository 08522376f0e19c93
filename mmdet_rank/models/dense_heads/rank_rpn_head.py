"""The region proposal network's head, trained by a ranking loss on all anchors."""

from __future__ import annotations

from mmdet.models.dense_heads import RPNHead
from mmdet.registry import MODELS
from mmengine.structures import InstanceData
from torch import Tensor

from .grid_anchor_head import RankingGridAnchorHead
from .levels import anchor_head_problem


@MODELS.register_module()
class RankRPNHead(RankingGridAnchorHead, RPNHead):
    """RPNHead with RS, aLRP or AP Loss, without sampling (thesis 8.5.1.1).

    Layers, names and proposals are those of `RPNHead`. All anchors are ranked unless
    ``train_cfg`` names a sampler; those that a sampler leaves out are ignored.
    ``train_cfg.assigner`` may also be MMDetection's ``ATSSAssigner``. The published models weigh
    the whole head by 0.2: ``criterion=dict(loss_weight=0.2)``; with aLRP Loss ``tau`` is the IoU
    from which the assigner takes positives, 0.7.

    Args:
        loss_cls: Config of a ranking loss.
        loss_bbox: Config of a box loss. For those of the IoU family ``reg_decoded_bbox`` must be
            True, as it is by default here.
        reg_decoded_bbox: Whether the box loss works on decoded boxes; see `RankingAnchorHead`.
        criterion: Options of `RankingCriterion`: ``instance_weight``, ``balance``,
            ``loss_weight``.
        **kwargs: As for `RPNHead`.

    Raises:
        ValueError: If ``loss_bbox`` is of the IoU family and ``reg_decoded_bbox`` is False.
    """

    def forward_single(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Logits (B, priors, H, W) and box outputs (B, priors * 4, H, W) of a level, float32.

        In half precision a thousand proposals would share a few dozen scores.
        """
        logits, bbox_pred = super().forward_single(x)
        return logits.float(), bbox_pred.float()

    def loss_by_feat(
        self,
        cls_scores: list[Tensor],
        bbox_preds: list[Tensor],
        batch_gt_instances: list[InstanceData],
        batch_img_metas: list[dict],
        batch_gt_instances_ignore: list[InstanceData] | None = None,
    ) -> dict[str, Tensor]:
        """Losses of all levels and images at once; see `RPNHead.loss_by_feat`.

        Returns:
            ``loss_rpn_cls`` and ``loss_rpn_bbox`` as from `RPNHead`, and what else the criterion
            logs, with ``rpn_`` before it.
        """
        losses = self.criterion(
            anchor_head_problem(
                self,
                cls_scores,
                bbox_preds,
                batch_gt_instances,
                batch_img_metas,
                batch_gt_instances_ignore,
            )
        )
        return {_rpn_key(key): value for key, value in losses.items()}

    def _predict_by_feat_single(
        self,
        cls_score_list: list[Tensor],
        bbox_pred_list: list[Tensor],
        score_factor_list: list[Tensor],
        mlvl_priors: list[Tensor],
        *args,
        **kwargs,
    ) -> InstanceData:
        # RPNHead squeezes a level of a single prior to a scalar and fails. Such a level goes in
        # twice; non-maximum suppression takes the copy away.
        doubled = [
            (cls.repeat(2, 1, 1), bbox.repeat(2, 1, 1), priors.repeat(2, 1))
            if len(priors) == 1
            else (cls, bbox, priors)
            for cls, bbox, priors in zip(cls_score_list, bbox_pred_list, mlvl_priors, strict=True)
        ]
        cls_score_list, bbox_pred_list, mlvl_priors = (
            list(column) for column in zip(*doubled, strict=True)
        )
        return super()._predict_by_feat_single(
            cls_score_list, bbox_pred_list, score_factor_list, mlvl_priors, *args, **kwargs
        )


def _rpn_key(key: str) -> str:
    """MMDetection's ``loss_rpn_...`` for losses; for the rest, names that the R-CNN lacks."""
    return key.replace("loss_", "loss_rpn_") if "loss" in key else f"rpn_{key}"
