"""Duties of every two-stage detector, with every ranking loss."""

import pytest
import torch
from mmdet.structures.bbox import bbox_overlaps
from rcnn import DETECTORS, LOSSES, RANDOM, batch_for, build_detector, losses_of, sum_of
from synthetic import make_sample

every_detector = pytest.mark.parametrize("name", DETECTORS)
every_loss = pytest.mark.parametrize("loss", LOSSES)

RPN_KEYS = {"loss_rpn_cls", "loss_rpn_bbox", "rpn_balance_bbox", "rpn_num_pos"}
STAGE_KEYS = {"loss_cls", "loss_bbox", "balance_bbox", "num_pos"}
MASK_KEYS = {"loss_mask", "balance_mask"}


def expected_keys(name, loss):
    parts = {"ranking", "sorting"} if loss == "RankSortLoss" else set()
    stage = STAGE_KEYS | parts | (MASK_KEYS if name.endswith("mask") else set())
    if name.startswith("cascade"):
        stage = {f"s{i}.{key}" for i in range(3) for key in stage}
    return RPN_KEYS | {f"rpn_{part}" for part in parts} | stage


@every_detector
@every_loss
@pytest.mark.parametrize("num_classes", [1, 4])
def test_losses_and_gradients(name, loss, num_classes):
    torch.manual_seed(0)
    model = build_detector(name, loss, num_classes)
    for num_objects in ((2, 1), (2, 0), (0, 0)):
        model.zero_grad(set_to_none=True)
        losses = losses_of(model, *batch_for(name, num_objects, num_classes))
        assert set(losses) == expected_keys(name, loss)
        assert all(value.isfinite() for value in losses.values())
        # No unused parameter, whatever the batch holds.
        gradients = [parameter.grad for parameter in model.parameters()]
        assert all(grad is not None and grad.isfinite().all() for grad in gradients)
        for key, value in losses.items():
            if "loss" in key or "num_pos" in key:
                assert value > 0 if sum(num_objects) else value == 0, key
    assert all((grad == 0).all() for grad in gradients)


@every_detector
def test_without_any_proposal(name):
    # No object and no proposal: each stage still gives its losses, so that no process waits.
    model = build_detector(name)
    model.train_cfg.rpn_proposal.min_bbox_size = 1000
    losses = losses_of(model, *batch_for(name, (0, 0)))
    assert set(losses) == expected_keys(name, "RankSortLoss")
    assert sum_of(losses) == 0
    assert all(p.grad is not None and (p.grad == 0).all() for p in model.parameters())


@every_detector
@pytest.mark.parametrize("agnostic", [True, False])
def test_prediction(name, agnostic):
    torch.manual_seed(0)
    model = build_detector(name, agnostic=agnostic).eval()
    images, samples = batch_for(name, (1, 1))
    with torch.no_grad():
        results = model.predict(images, samples)
    for result in (sample.pred_instances for sample in results):
        assert result.bboxes.shape == (10, 4)
        assert (result.bboxes >= 0).all()
        assert (result.bboxes <= 64).all()
        assert ((result.labels >= 0) & (result.labels < 4)).all()
        assert ((result.scores > 0) & (result.scores < 1)).all()
        if name.endswith("mask"):
            assert result.masks.shape == (10, 64, 64)


@every_detector
def test_prediction_without_any_proposal(name):
    model = build_detector(name).eval()
    model.rpn_head.test_cfg.min_bbox_size = 1000
    with torch.no_grad():
        (sample,) = model.predict(*batch_for(name, (1,)))
    assert len(sample.pred_instances) == 0


@every_detector
def test_a_missed_object_keeps_its_positives(name, monkeypatch):
    from mmdet_rank.criteria.problem import BoxTask

    monkeypatch.setattr(BoxTask, "iou", lambda self: self.boxes.new_zeros(len(self.boxes)))
    losses = losses_of(build_detector(name), *batch_for(name))
    for key, value in losses.items():
        if "num_pos" in key:
            assert value >= 3
        if key.endswith("loss_cls"):
            assert value > 0.9


@every_detector
@every_loss
def test_perfect_boxes(name, loss):
    # The objects' own boxes are RoIs; outputs of 0 leave them as they are, so that the IoU is 1.
    model = build_detector(name, loss)
    heads = [model.roi_head.bbox_head]
    if name.startswith("cascade"):
        heads = list(model.roi_head.bbox_head)
    for head in heads:
        torch.nn.init.zeros_(head.fc_reg.weight)
    model.train_cfg.rpn_proposal.min_bbox_size = 1000
    losses = losses_of(model, *batch_for(name))
    assert all(value.isfinite() for value in losses.values())
    assert all(p.grad.isfinite().all() for p in model.parameters())
    for key, value in losses.items():
        if key.endswith("loss_bbox") and "rpn" not in key:
            assert value.abs() < 1e-4


@every_detector
def test_autocast(name):
    torch.manual_seed(0)
    model = build_detector(name)
    images, samples = batch_for(name, (2, 0))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        losses = model.loss(images, samples)
    sum_of(losses).backward()
    assert set(losses) == expected_keys(name, "RankSortLoss")
    assert all(value.dtype == torch.float32 for value in losses.values())
    assert all(p.grad.isfinite().all() for p in model.parameters())
    reference = model.loss(*batch_for(name, (2, 0)))
    torch.testing.assert_close(
        losses["loss_rpn_cls"], reference["loss_rpn_cls"], rtol=0.02, atol=0.01
    )


@pytest.mark.parametrize(
    ("name", "loss"),
    [("faster", loss) for loss in LOSSES] + [("cascade_mask", "RankSortLoss")],
)
def test_a_small_batch_is_overfitted(name, loss):
    torch.manual_seed(0)
    model = build_detector(name, loss, num_classes=2)
    images = torch.randn(2, 3, 64, 64)
    masks = name.endswith("mask")
    samples = [
        make_sample([[4, 4, 24, 28], [30, 30, 60, 58]], [0, 1], masks=masks),
        make_sample([[10, 30, 34, 50]], [1], masks=masks),
    ]
    optimizer = torch.optim.Adam(model.parameters(), lr=5e-3)
    for _ in range(40):
        optimizer.zero_grad()
        losses = losses_of(model, images, samples)
        optimizer.step()
    for key, value in losses.items():
        if key.endswith("cls"):
            assert value < 0.2, key
    with torch.no_grad():
        results = model.eval().predict(images, samples)
    for sample in results:
        truth, found = sample.gt_instances, sample.pred_instances
        # Every object is found, at a place among the first few.
        overlaps = bbox_overlaps(found.bboxes[:4], truth.bboxes)
        overlaps[found.labels[:4, None] != truth.labels] = 0
        assert overlaps.amax(0).min() > 0.5


@pytest.mark.parametrize("name", ["mask", "cascade_mask"])
def test_masks_are_trained_when_alrp_needs_no_more_classification(name):
    # The classification part of aLRP Loss reaches 0 long before the masks are good: they must not
    # be balanced by it, but by epoch, as the boxes are.
    torch.manual_seed(0)
    model = build_detector(name, "aLRPLoss", num_classes=2)
    images = torch.randn(2, 3, 64, 64)
    samples = [
        make_sample([[4, 4, 24, 28], [30, 30, 60, 58]], [0, 1], masks=True),
        make_sample([[10, 30, 34, 50]], [1], masks=True),
    ]
    optimizer = torch.optim.Adam(model.parameters(), lr=5e-3)
    seen = []
    for _ in range(60):
        optimizer.zero_grad()
        seen.append(losses_of(model, images, samples))
        optimizer.step()
    prefixes = ("s0.", "s1.", "s2.") if name == "cascade_mask" else ("",)
    for prefix in prefixes:
        factors = torch.stack([losses[f"{prefix}balance_mask"] for losses in seen])
        # Mean total over mean mask loss of the last three iterations: at least 1.
        assert (factors[:3] == 50).all()
        assert factors[3:].min() >= 1
        # With every positive on top the weights sum to 1, and this is a mean of Dice losses.
        assert seen[-1][f"{prefix}loss_mask"] / factors[-1] < 0.15


def test_samplers_by_config():
    # Table 8.3: random sampling in the RPN, in the R-CNN, in both, in neither.
    seen = {}
    for rpn, rcnn in ((False, False), (True, False), (False, True), (True, True)):
        torch.manual_seed(0)
        rpn_sampler = dict(RANDOM, add_gt_as_proposals=False) if rpn else None
        model = build_detector(rpn_sampler=rpn_sampler, sampler=RANDOM if rcnn else None)
        ranked = {}
        for part, criterion in (
            ("rpn", model.rpn_head.criterion),
            ("rcnn", model.roi_head.bbox_head.criterion),
        ):
            criterion.register_forward_pre_hook(
                lambda _, inputs, part=part, ranked=ranked: ranked.update({part: inputs[0]})
            )
        model.loss(*batch_for("faster"))
        all_rois = len(ranked["rcnn"].labels)
        seen[rpn, rcnn] = (int((ranked["rpn"].label_weights > 0).sum()), all_rois)
    num_anchors = 2 * 3 * (16**2 + 8**2 + 4**2)
    assert seen[False, False][0] == seen[False, True][0] > 0.9 * num_anchors
    assert seen[True, False][0] == seen[True, True][0] == 2 * 16
    # Without a sampler at most 30 proposals of each image, and its 2 and 1 objects.
    assert 32 < seen[False, False][1] <= 2 * 30 + 3
    assert seen[False, True][1] == seen[True, True][1] == 2 * 16
