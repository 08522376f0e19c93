"""The losses on masks as loss_mask of Mask R-CNN, YOLACT and SOLOv2."""

import pytest
import torch
from instance_segmentors import build_segmentor
from mmdet.registry import MODELS
from mmengine.registry import init_default_scope
from mmengine.structures import InstanceData
from rcnn import batch_for, detector_config
from synthetic import make_batch

from mmdet_rank import losses
from mmdet_rank.losses import MaskLoss, RankingLoss

NAMES = sorted(
    name
    for name in losses.__all__
    if issubclass(getattr(losses, name), (MaskLoss, RankingLoss))
    and name not in ("MaskLoss", "ElementLoss", "RankingLoss")
)
SOME = ("HybridFocalMarginLoss", "UnifiedFocalLoss", "FocalMarginLoss")


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("agnostic", [False, True])
def test_stock_mask_head(name, agnostic):
    # FCNMaskHead passes class labels third, where other heads pass weights.
    head = MODELS.build(
        dict(type="FCNMaskHead", num_convs=0, in_channels=4, num_classes=3,
             class_agnostic=agnostic, loss_mask=dict(type=name))
    )  # fmt: skip
    gen = torch.Generator().manual_seed(0)
    preds = torch.randn(2, 1 if agnostic else 3, 6, 6, generator=gen).requires_grad_()
    masks = (torch.rand(2, 6, 6, generator=gen) > 0.5).float()
    labels = torch.tensor([2, 0])
    head.get_targets = lambda **kwargs: masks
    results = [InstanceData(pos_gt_labels=labels)]
    loss = head.loss_and_target(preds, results, [], None)["loss_mask"]["loss_mask"]
    channels = torch.zeros_like(labels) if agnostic else labels
    own = preds[torch.arange(2), channels]
    torch.testing.assert_close(loss, getattr(losses, name)()(own, masks))
    loss.backward()
    trained = preds.grad.flatten(2).abs().sum(2) > 0
    assert trained.sum() == 2
    assert trained[torch.arange(2), channels].all()


@pytest.mark.parametrize("name", SOME)
@pytest.mark.parametrize("segmentor", ["yolact", "solov2"])
def test_one_stage_segmentors(segmentor, name):
    torch.manual_seed(0)
    model = build_segmentor(segmentor, loss_mask=dict(type=name))
    assert model.mask_head.loss_mask.activate == (segmentor == "solov2")
    seen = []
    criterion = (model.bbox_head if segmentor == "yolact" else model.mask_head).criterion
    criterion.register_forward_pre_hook(lambda module, arguments: seen.append(arguments[0]))
    images, samples = make_batch((2, 1), masks=True)
    found = model.loss(images, samples)
    model.parse_losses(found)[0].backward()
    assert all(value.isfinite() for value in found.values())
    torch.testing.assert_close(found["loss_mask"], found["loss_cls"])  # balanced by value
    assert all(p.grad.isfinite().all() for p in model.mask_head.parameters())
    # The labels of the classification are overlaps, whatever the loss of the masks is.
    quality = seen[0].quality
    assert (quality >= 0).all()
    assert (quality <= 1).all()
    assert quality.max() > 0


def test_ranked_mask_head_of_mask_rcnn():
    init_default_scope("mmdet")
    figures = {}
    for name in ("DiceLoss", *SOME):
        torch.manual_seed(0)
        config = detector_config("mask")
        config.roi_head.mask_head.loss_mask = dict(type=name)
        model = MODELS.build(config)
        model.init_weights()
        model.train()
        images, samples = batch_for("mask", (2, 1))
        found = model.loss(images, samples)
        model.parse_losses(found)[0].backward()
        assert all(p.grad.isfinite().all() for p in model.roi_head.mask_head.parameters())
        figures[name] = (found["loss_mask"] / found["balance_mask"]).item()
    assert len(set(figures.values())) == 4
    assert all(0 < value < 5 for value in figures.values())
