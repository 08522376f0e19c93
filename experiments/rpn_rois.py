"""Positive anchors and RoIs of an R-CNN's proposal network on its training images."""

from __future__ import annotations

from typing import NamedTuple

import mmdet_rank.register  # noqa: F401

import torch
from mmdet.structures.bbox import get_box_tensor
from mmengine.config import Config
from mmengine.dataset import pseudo_collate
from mmengine.registry import DATASETS, MODELS, init_default_scope
from mmengine.runner import set_random_seed
from mmengine.structures import InstanceData
from torch import Tensor
from torchvision.ops import box_iou

from mmdet_rank.cli.checkpoints import check_fits, read_checkpoint
from mmdet_rank.imbalance.priors import assign_image

__all__ = ["RoIs", "map_to_reference", "rpn_rois"]


class RoIs(NamedTuple):
    """What a proposal network gives the second stage.

    Attributes:
        ious: (N,) of its positive RoIs, those of an IoU of at least 0.5.
        anchor_ious: (A,) of the anchors that have an IoU of at least 0.5 with an object.
        mapped: (N, 4) float64 the RoIs, moved and scaled as takes their object to
            [0.3, 0.3, 0.6, 0.6].
    """

    ious: Tensor
    anchor_ious: Tensor
    mapped: Tensor


@torch.no_grad()
def rpn_rois(config: str, checkpoint: str, max_images: int, seed: int = 0) -> RoIs:
    """Collect positives of a proposal network.

    Args:
        config: of an R-CNN.
        checkpoint: its weights.
        max_images: training images, spread evenly.
        seed: of what the training pipeline draws.

    Raises:
        ValueError: The config has no RPN.
    """
    cfg = Config.fromfile(config)
    init_default_scope(cfg.get("default_scope", "mmdet"))
    model = MODELS.build(cfg.model).eval()
    if not hasattr(model, "rpn_head"):
        raise ValueError(f"Expected a config of an R-CNN, but {config} has no rpn_head.")
    weights = read_checkpoint(checkpoint)
    check_fits(model, weights, checkpoint)
    model.load_state_dict(weights.get("state_dict", weights), strict=False)
    set_random_seed(seed)
    dataset = DATASETS.build(cfg.train_dataloader.dataset)
    ious, anchor_ious, mapped = [], [], []
    chosen = torch.linspace(0, len(dataset) - 1, min(max_images, len(dataset))).long()
    for index in chosen.unique().tolist():
        data = model.data_preprocessor(pseudo_collate([dataset[index]]), training=False)
        (sample,) = data["data_samples"]
        boxes = get_box_tensor(sample.gt_instances.bboxes).float()
        if not len(boxes):
            continue
        features = model.extract_feat(data["inputs"])
        (proposals,) = model.rpn_head.predict(features, data["data_samples"], rescale=False)
        overlap, owner = box_iou(get_box_tensor(proposals.bboxes), boxes).max(1)
        positive = overlap >= 0.5
        rois = get_box_tensor(proposals.bboxes)[positive]
        ious.append(overlap[positive])
        mapped.append(map_to_reference(rois, boxes[owner[positive]]))
        gt = InstanceData(bboxes=boxes, labels=sample.gt_instances.labels)
        anchors = assign_image(model.rpn_head, tuple(data["inputs"].shape[-2:]), gt).priors
        anchor_overlap = box_iou(anchors, boxes).amax(1)
        anchor_ious.append(anchor_overlap[anchor_overlap >= 0.5])
    return RoIs(torch.cat(ious), torch.cat(anchor_ious), torch.cat(mapped))


def map_to_reference(rois: Tensor, objects: Tensor) -> Tensor:
    """RoIs, moved and scaled as takes each object to [0.3, 0.3, 0.6, 0.6]: (N, 4) float64.

    Example:
        >>> map_to_reference(torch.tensor([[5.0, 0, 10, 20]]), torch.tensor([[0.0, 0, 10, 20]]))
        tensor([[0.4500, 0.3000, 0.6000, 0.6000]], dtype=torch.float64)
    """
    rois, objects = rois.double(), objects.double()
    size = objects[:, 2:] - objects[:, :2]
    return 0.3 + 0.3 * (rois - objects[:, :2].repeat(1, 2)) / size.repeat(1, 2)
