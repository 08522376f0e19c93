"""REGLoss in MMDetection's call form, and in MMDetection's heads."""

import inspect
import math

import mmdet_rank.register  # noqa: F401

import pytest
import torch
from mmdet.registry import MODELS
from synthetic import make_batch, make_features

from mmdet_rank.losses import REGLoss, reg_loss
from mmdet_rank.ops import refined_generalized_focal_loss


def test_call_form():
    gen = torch.Generator().manual_seed(0)
    pred, target = torch.randn(6, 3, generator=gen), torch.tensor([0, 1, 2, 3, 3, 0])
    each = refined_generalized_focal_loss(pred, target)
    loss = MODELS.build(dict(type="REGLoss", loss_weight=2.0))
    torch.testing.assert_close(loss(pred, target), 2 * each.mean())
    weight = torch.tensor([1.0, 0.0, 2.0, 1.0, 1.0, 1.0])
    torch.testing.assert_close(loss(pred, target, weight), 2 * (each * weight).mean())
    torch.testing.assert_close(
        loss(pred, target, weight, avg_factor=4.0), 2 * (each * weight).sum() / 4
    )
    torch.testing.assert_close(loss(pred, target, reduction_override="none"), 2 * each)
    torch.testing.assert_close(loss(pred, target, reduction_override="sum"), 2 * each.sum())


def test_options_reach_the_function():
    gen = torch.Generator().manual_seed(0)
    pred, target = torch.randn(5, 2, generator=gen), torch.tensor([0, 1, 0, 1, 2])
    distances = 10 * torch.rand(5, 2, generator=gen)
    options = dict(
        gamma=1.5, beta=0.5, delta=3.0, near=False, sigma=0.4, floor=0.3, alpha_on="positives"
    )  # fmt: skip
    loss = REGLoss(class_counts=[30, 10], **options)
    expected = refined_generalized_focal_loss(
        pred, target, alpha=[40 / 30, 4.0], distances=distances, **options
    )
    torch.testing.assert_close(loss(pred, target, distances=distances), expected.mean())
    per_class = REGLoss(class_counts=[30, 10], per_class=True, **options)
    expected = refined_generalized_focal_loss(
        pred, target, alpha=[40 / 60, 2.0], distances=distances, **options
    )
    torch.testing.assert_close(per_class(pred, target, distances=distances), expected.mean())


def test_pixels():
    gen = torch.Generator().manual_seed(0)
    pred = torch.randn(2, 3, 4, 5, generator=gen)
    target = torch.randint(3, (2, 4, 5), generator=gen)
    target[0, 0] = 255
    loss = REGLoss(use_sigmoid=False, gamma=0.0)
    expected = torch.nn.functional.cross_entropy(pred, target, ignore_index=255, reduction="none")
    torch.testing.assert_close(loss(pred, target, reduction_override="none"), expected)
    distances = torch.full((2, 3, 4, 5), 2.0)
    refined = REGLoss(use_sigmoid=False, gamma=0.0, delta=2.0, floor=0.0)
    torch.testing.assert_close(
        refined(pred, target, distances=distances, reduction_override="none"), expected / 2
    )


def test_soft_targets():
    # Of samples (N, C), of priors (B, A, C) and of pixels (B, C, H, W): the same values.
    gen = torch.Generator().manual_seed(0)
    pred, target = torch.randn(6, 3, generator=gen), torch.rand(6, 3, generator=gen)
    target[::2] = 0
    loss = REGLoss(alpha=[1.0, 2.0, 3.0])
    each = refined_generalized_focal_loss(pred, target, alpha=[1.0, 2.0, 3.0])
    options = dict(reduction_override="none")
    torch.testing.assert_close(loss(pred, target, **options), each)
    priors = (values.view(2, 3, 3) for values in (pred, target))
    torch.testing.assert_close(loss(*priors, **options), each.view(2, 3))
    pixels = (values.view(1, 2, 3, 3).movedim(3, 1) for values in (pred, target))
    torch.testing.assert_close(loss(*pixels, **options), each.view(1, 2, 3))
    weight = torch.tensor([1.0, 0.0, 2.0, 1.0, 0.5, 1.0])
    torch.testing.assert_close(
        loss(pred.view(2, 3, 3), target.view(2, 3, 3), weight.view(2, 3), avg_factor=2.0),
        (each * weight).sum() / 2,
    )


def test_classes_and_their_scores_are_quality_focal_loss():
    gen = torch.Generator().manual_seed(0)
    pred = 2 * torch.randn(7, 3, generator=gen)
    target = torch.tensor([0, 1, 3, 2, 3, 1, -1]), torch.rand(7, generator=gen)
    target[1][1] = 0.0
    quality = MODELS.build(dict(type="QualityFocalLoss", use_sigmoid=True, beta=2.0))
    for options in (dict(avg_factor=3.0), dict(weight=torch.arange(7.0)), dict()):
        torch.testing.assert_close(
            REGLoss()(pred, target, **options), quality(pred, target, **options)
        )
    dense = torch.zeros(7, 3)
    for row, (label, score) in enumerate(zip(*target, strict=True)):
        if 0 <= label < 3:
            dense[row, label] = score
    torch.testing.assert_close(REGLoss()(pred, dense), quality(pred, target))


@pytest.mark.parametrize("share", [0.0, 0.001, 0.1, 1.0])
def test_scale_is_that_of_focal_loss(share):
    # At a first step, with every share of positives, as heads call both: within a factor of 2.
    pred = torch.full((1000, 4), -4.6)
    target = torch.full((1000,), 4)
    target[: int(1000 * share)] = 1
    focal = MODELS.build(dict(type="FocalLoss", use_sigmoid=True, gamma=2.0, alpha=0.25))
    values = [loss(pred, target, avg_factor=8.0) for loss in (REGLoss(loss_weight=0.5), focal)]
    ratio = values[0] / values[1]
    assert 0.5 <= ratio <= 2.001


def test_no_samples():
    pred = torch.zeros(0, 3, requires_grad=True)
    loss = REGLoss()(pred, torch.zeros(0, dtype=torch.long))
    loss.backward()
    assert loss == 0


@pytest.mark.parametrize("name", ["RetinaHead", "ATSSHead"])
def test_in_a_stock_head(name):
    torch.manual_seed(0)
    assigner = dict(type="MaxIoUAssigner", pos_iou_thr=0.5, neg_iou_thr=0.4, min_pos_iou=0)
    options = dict()
    if name == "ATSSHead":
        assigner = dict(type="ATSSAssigner", topk=9)
        options = dict(norm_cfg=dict(type="GN", num_groups=4), loss_bbox=dict(type="GIoULoss"))
    head = MODELS.build(
        dict(
            type=name, num_classes=3, in_channels=8, feat_channels=8, stacked_convs=1,
            anchor_generator=dict(type="AnchorGenerator", octave_base_scale=4, ratios=[1.0],
                                  scales_per_octave=1, strides=[4, 8, 16]),
            bbox_coder=dict(type="DeltaXYWHBBoxCoder"),
            loss_cls=dict(type="REGLoss", use_sigmoid=True),
            train_cfg=dict(assigner=assigner, allowed_border=-1, pos_weight=-1, debug=False),
            **options,
        )
    )  # fmt: skip
    features = tuple(level.detach() for level in make_features(2))
    _, samples = make_batch((2, 1), 3)
    optimizer = torch.optim.Adam(head.parameters(), lr=0.02)
    values = []
    for _ in range(30):
        optimizer.zero_grad()
        losses = sum(head.loss(features, samples)["loss_cls"])
        losses.backward()
        optimizer.step()
        values.append(losses.item())
    assert values[-1] < 0.3 * values[0]


@pytest.mark.parametrize(
    "options", [dict(beta=0.05, delta=64.0), dict(near=False), dict(floor=0.0)]
)
def test_a_refinement_without_distances_is_told_once(options, monkeypatch):
    told = []
    monkeypatch.setattr(reg_loss, "print_log", lambda text, **kwargs: told.append(text))
    pred, target, distances = torch.zeros(2, 3), torch.tensor([0, 3]), torch.ones(2, 3)
    # Nothing to say of losses that have none of these options, or the distances.
    REGLoss(gamma=1.0, sigma=0.5, delta=0.0)(pred, target)
    refined = REGLoss(**options)
    refined(pred, target, distances=distances)
    with refined.measured_by(lambda rows, labels: distances):
        refined(pred, target)
    assert told == []
    values = [refined(pred, target), refined(pred, target), REGLoss()(pred, target)]
    assert values[0] == values[1] == values[2]
    assert len(told) == 1
    given = ", ".join(f"{name}={value}" for name, value in options.items())
    assert told[0].startswith(f"REGLoss has {given}, but gets no distances")
    assert "WithClassDistances" in told[0]


def test_the_defaults_of_a_refinement_are_the_options_own():
    parameters = inspect.signature(REGLoss).parameters
    defaults = {name: parameters[name].default for name in reg_loss._REFINEMENT}
    assert defaults == reg_loss._REFINEMENT


def test_mistakes():
    with pytest.raises(ValueError, match="got both"):
        REGLoss(alpha=[1.0, 2.0], class_counts=[1, 2])
    with pytest.raises(ValueError, match="class_counts 'auto' or a list of numbers"):
        REGLoss(class_counts="some")
    with pytest.raises(ValueError, match="reduction"):
        REGLoss(reduction="median")
    loss, pred, target = REGLoss(), torch.zeros(4, 2), torch.zeros(4, dtype=torch.long)
    with pytest.raises(ValueError, match="Expected target of shape"):
        loss(pred, target[:3])
    with pytest.raises(ValueError, match="Expected weight of shape"):
        loss(pred, target, torch.ones(3))
    with pytest.raises(ValueError, match="Expected distances of shape"):
        loss(pred, target, distances=torch.ones(4, 3))
    with pytest.raises(ValueError, match="Expected target of shape"):
        loss(pred, torch.zeros(4, 3))
    with pytest.raises(ValueError, match="classes and scores of shape"):
        loss(pred, (target, torch.zeros(3)))
    with pytest.raises(ValueError, match=r"but got \(4,\); give both for each sample"):
        loss(pred, (target,))
    with pytest.raises(ValueError, match="in the order of the classes, one for each"):
        REGLoss(class_counts=[1, 2, 3])(pred, target)
    with pytest.raises(ValueError, match="ClassCountsHook"):
        REGLoss(class_counts="auto")(pred, target)
    assert math.isfinite(loss(pred, target).item())
