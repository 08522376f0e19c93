"""REGLoss in MMDetection's heads: what each gives it, and what reaches it of distances."""

import pytest
import torch
from dense_heads import HEADS, TEST_CFG
from mmdet.registry import MODELS
from mmengine.config import ConfigDict
from reg_heads import (
    DENSE,
    build_dense,
    build_wrapped,
    dense_losses,
    rcnn_losses,
    semantic_losses,
    solo_losses,
    transformer_losses,
)
from synthetic import make_batch, make_features

from mmdet_rank.losses import REGLoss
from mmdet_rank.models.class_distances import DistancesOfLevels
from mmdet_rank.ops import class_distance_maps, class_distances

REG = dict(type="REGLoss", use_sigmoid=True, class_counts=[40, 30, 20, 10], per_class=True)
# YOLOX divides by the number of objects itself.
YOLOX = REG | dict(reduction="sum")
OTHERS = {
    "Faster R-CNN": rcnn_losses,
    "Deformable DETR": transformer_losses,
    "SOLOv2": solo_losses,
}
# What heads give as targets: classes, soft targets, or a tuple of classes and scores.
TARGETS = {
    "GFLHead": "tuple",
    "RTMDetSepBNHead": "tuple",
    "VFNetHead": "torch.float32",
    "YOLOXHead": "torch.float32",
    "YOLOv8Head": "torch.float32",
}
# Those whose loss is of all priors, and so can have distances.
WITH_DISTANCES = [name for name in DENSE if name != "YOLOXHead"]


@pytest.fixture
def calls(monkeypatch):
    """What REGLoss is called with, and the distances that it takes, call by call."""
    found = []
    forward = REGLoss.forward

    def recorded(self, pred, target, *args, **kwargs):
        found.append([pred, target, None])
        source = self._distances
        if source is not None:

            def noted(rows, labels):
                found[-1][2] = source(rows, labels)
                return found[-1][2]

            self._distances = noted
        try:
            return forward(self, pred, target, *args, **kwargs)
        finally:
            self._distances = source

    monkeypatch.setattr(REGLoss, "forward", recorded)
    return found


def total(losses):
    values = [value for key, value in losses.items() if "loss" in key]
    return sum(sum(value) if isinstance(value, (list, tuple)) else value for value in values)


@pytest.mark.parametrize("num_objects", [(2, 1), (0, 0)])
@pytest.mark.parametrize("name", [*DENSE, *OTHERS])
def test_loss_and_gradients(name, num_objects, calls):
    if name in DENSE:
        losses, model = dense_losses(name, YOLOX if name == "YOLOXHead" else REG, num_objects)
    else:
        losses, model = OTHERS[name](REG, num_objects)
    if name == "YOLOXHead" and not sum(num_objects):
        assert not calls  # Without a positive it asks for no class.
        return
    # One logit per class, and none of background.
    assert {pred.shape[1] for pred, _, _ in calls} == {4}
    kinds = {"tuple" if isinstance(t, tuple) else str(t.dtype) for _, t, _ in calls}
    assert kinds == {TARGETS.get(name, "torch.int64")}
    for pred, _, _ in calls:
        pred.retain_grad()
    assert total(losses).isfinite()
    total(losses).backward()
    assert any(pred.grad.abs().sum() > 0 for pred, _, _ in calls)
    assert all(p.grad.isfinite().all() for p in model.parameters() if p.grad is not None)


def test_an_rcnn_predicts_classes_and_no_background():
    losses, model = rcnn_losses(REG)
    assert model.roi_head.bbox_head.fc_cls.out_features == 4
    assert 0 <= losses["acc_classes"] <= 100
    images, samples = make_batch((1, 1))
    with torch.no_grad():
        results = model.eval().predict(images, samples)
    for result in results:
        assert len(result.pred_instances) == 10
        assert result.pred_instances.labels.max() < 4
    softmax = dict(type="REGLoss", use_sigmoid=False)
    assert rcnn_losses(softmax)[1].roi_head.bbox_head.fc_cls.out_features == 5


def test_a_one_stage_head_predicts_no_background():
    torch.manual_seed(0)
    head = build_dense("RetinaHead", REG).eval()
    for result in head.predict(make_features(2), make_batch((1, 1))[1]):
        assert len(result) == TEST_CFG["max_per_img"]
        assert result.labels.max() < 4


def test_a_head_without_use_sigmoid_is_told_of_it():
    with pytest.raises(ValueError, match="write use_sigmoid=True in loss_cls"):
        dense_losses("RetinaHead", dict(type="REGLoss", class_counts=[4, 3, 2, 1]))


def test_semantic_segmentation(calls):
    loss = dict(type="REGLoss", use_sigmoid=False, alpha=[1.0, 2.0, 3.0, 0.5])
    losses, head = semantic_losses(loss)
    ((pred, target, _),) = calls
    assert pred.shape == (2 * 16 * 16, 4)
    assert set(target.tolist()) == {0, 1, 2, 3, 255}
    losses["loss_seg"].backward()
    assert head.conv_logits.weight.grad.abs().sum() > 0


@pytest.mark.parametrize("name", WITH_DISTANCES)
def test_distances_belong_to_the_logits(name, calls):
    # Logits that are the distances themselves show whether rows are the same on both sides.
    torch.manual_seed(0)
    wrapped = build_wrapped(name, REG | dict(beta=0.05, delta=8.0))
    assert set(wrapped.state_dict()) == set(build_dense(name, REG).state_dict())
    features = make_features(2)
    _, samples = make_batch((2, 1))
    outs = wrapped(features)
    sizes = [level.shape[-2:] for level in outs[0]]
    priors = wrapped.prior_generator.grid_priors(sizes, device="cpu")
    maps = []
    for level, (height, width) in zip(priors, sizes, strict=True):
        points = level if level.shape[1] == 2 else (level[:, :2] + level[:, 2:]) / 2
        own = [
            class_distances(points, s.gt_instances.bboxes, s.gt_instances.labels, 4)
            for s in samples
        ]
        anchors = len(level) // (height * width)
        maps.append(
            torch.stack(own)
            .clamp(max=200)
            .view(2, height, width, anchors * 4)
            .permute(0, 3, 1, 2)
            .requires_grad_()
        )
    objects = [s.gt_instances for s in samples]
    metas = [s.metainfo for s in samples]
    wrapped.loss_by_feat(maps, *outs[1:], objects, metas, None)
    compared = 0
    for pred, _, distances in calls:
        assert distances.shape == pred.shape
        torch.testing.assert_close(distances.clamp(max=200), pred.detach())
        compared += len(pred)
    assert compared == 2 * sum(len(level) for level in priors)


@pytest.mark.parametrize("name", ["RankPAAHead", "PISARetinaHead"])
def test_distances_where_rows_go_image_by_image(name, calls, monkeypatch):
    torch.manual_seed(0)
    own = HEADS["paa"] if name == "RankPAAHead" else DENSE["RetinaHead"]
    more = dict(criterion=dict(type="ScoreCriterion")) if name == "RankPAAHead" else {}
    config = own | more | dict(type="WithClassDistances", head=name, num_classes=4)
    head = MODELS.build(
        ConfigDict(config | dict(in_channels=8, feat_channels=8, loss_cls=REG | dict(beta=0.05)))
    )
    head.init_weights()
    features, (_, samples) = make_features(2), make_batch((2, 1))
    head.train().loss(features, samples)
    found = 0
    for _, target, distances in calls:
        for row, label in zip(distances, target.reshape(-1), strict=True):
            if 0 <= label < 4:
                # Priors that overlap an object enough have their centre in it, or almost.
                assert row[int(label)] < 16
                found += 1
    assert found > 5
    # Were the rows taken for another order, one of the positives tells.
    monkeypatch.setattr(type(head), "rows_by_image", False)
    head._order_checked = False
    with pytest.raises(ValueError, match="Expected rows level by level in the loss of"):
        head.loss(features, samples)


def test_the_order_is_checked_in_the_first_step_of_several_images_alone(monkeypatch):
    """Every check waits for the device, and with one image there is no other order."""
    checked = []
    check = DistancesOfLevels._check_order
    monkeypatch.setattr(
        DistancesOfLevels,
        "_check_order",
        lambda self, *rows: checked.append(self) or check(self, *rows),
    )
    torch.manual_seed(0)
    head = build_wrapped("RetinaHead", REG | dict(beta=0.05, delta=8.0))
    head.init_weights()
    found = []
    for num_objects in [(2,), (1,), (2, 1), (1, 2), (2,)]:
        features, (_, samples) = make_features(len(num_objects)), make_batch(num_objects)
        losses = head.loss(features, samples)
        found.append(len(checked))
        assert total(losses).isfinite()
    levels = len(losses["loss_cls"])
    assert found == [0, 0, levels, levels, levels]
    assert levels > 1


def test_distances_change_the_loss_and_end_with_it():
    near, far = (REG | dict(beta=0.05, delta=8.0, near=near) for near in (True, False))
    features, (_, samples) = make_features(2), make_batch((2, 1))
    values = []
    for build, loss in ((build_dense, REG), (build_wrapped, near), (build_wrapped, far)):
        torch.manual_seed(0)
        head = build("FCOSHead", loss)
        head.init_weights()
        torch.nn.init.zeros_(head.conv_cls.weight)
        torch.nn.init.constant_(head.conv_cls.bias, -2.0)
        values.append(head.loss(features, samples)["loss_cls"].item())
        assert head.loss_cls._distances is None
    plain, of_near, of_far = values
    assert 0.25 * plain < of_near < plain
    assert 0.25 * plain < of_far < plain
    assert of_near != pytest.approx(of_far, rel=1e-3)


def test_distances_of_pixels(calls):
    loss = dict(type="REGLoss", use_sigmoid=True, beta=0.5, delta=2.0)
    semantic_losses(loss, type="WithClassDistances", head="PanopticFPNHead")
    ((pred, target, distances),) = calls
    expected = class_distance_maps(target.view(2, 16, 16), 4).movedim(1, -1).reshape(-1, 4)
    torch.testing.assert_close(distances, expected)
    assert (distances[target < 4].gather(1, target[target < 4][:, None]) == 0).all()
    shares = [
        REGLoss(beta=0.5, delta=2.0, near=near)(pred, target, None, None, "none", distances)
        / REGLoss()(pred, target, reduction_override="none")
        for near in (True, False)
    ]
    assert all(share.std() > 0.05 for share in shares)


def test_distances_of_pixels_need_sigmoid():
    loss = dict(type="REGLoss", use_sigmoid=False, beta=0.5, delta=2.0)
    with pytest.raises(ValueError, match="Expected use_sigmoid=True in loss_seg of PanopticFPN"):
        semantic_losses(loss, type="WithClassDistances", head="PanopticFPNHead")


def test_heads_that_cannot_have_distances():
    loss = dict(type="REGLoss", use_sigmoid=True)
    with pytest.raises(ValueError, match="calls it for"):
        build_wrapped("YOLOXHead", YOLOX).loss(make_features(2), make_batch((2, 1))[1])
    for name in ("SOLOV2Head", "Shared2FCBBoxHead"):
        with pytest.raises(TypeError, match=f"but got {name}, whose samples have no fixed places"):
            MODELS.build(dict(type="WithClassDistances", head=name, loss_cls=loss))
    with pytest.raises(TypeError, match="a registered head in WithClassDistances"):
        MODELS.build(dict(type="WithClassDistances", head="RetinaHat"))
    with pytest.raises(ValueError, match="but got FocalLoss, which takes no distances"):
        build_wrapped("FCOSHead", dict(type="FocalLoss", use_sigmoid=True))
    with pytest.raises(TypeError, match="a head with priors"):
        MODELS.build(
            dict(
                type="WithClassDistances", head="SABLRetinaHead", num_classes=4, in_channels=8,
                loss_cls=loss,
            )
        )  # fmt: skip
