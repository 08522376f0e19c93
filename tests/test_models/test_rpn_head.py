"""RankRPNHead alone."""

from types import SimpleNamespace

import pytest
import torch
from mmdet.engine.hooks import NumClassCheckHook
from mmdet.models.dense_heads import RPNHead
from mmdet.registry import MODELS
from rcnn import build_detector, detector_config
from synthetic import make_batch, make_features, make_sample

from mmdet_rank.ops import rank_sort_loss


def build_rpn(loss="RankSortLoss", **options):
    config = detector_config(loss=loss)
    settings = dict(train_cfg=config.train_cfg.rpn, test_cfg=config.test_cfg.rpn)
    head = MODELS.build(config.rpn_head | settings | options)
    head.init_weights()
    return head.train()


def class_agnostic(num_objects):
    _, samples = make_batch(num_objects, num_classes=1)
    return samples


def test_losses_are_those_of_all_anchors():
    torch.manual_seed(0)
    head = build_rpn()
    problems = []
    head.criterion.register_forward_pre_hook(lambda _, inputs: problems.append(inputs[0]))
    losses = head.loss(make_features(2), class_agnostic((2, 1)))
    (problem,) = problems
    assert problem.logits.shape == (2 * 3 * (16**2 + 8**2 + 4**2), 1)
    ranking, sorting = rank_sort_loss(
        problem.logits.view(-1), head.criterion.targets(problem), delta=0.5
    )
    assert losses["loss_rpn_cls"].item() == pytest.approx(0.2 * (ranking + sorting).item())
    assert losses["rpn_ranking"].item() == pytest.approx(ranking.item())
    assert losses["rpn_num_pos"] == problem.num_positives > 0


def test_the_whole_head_is_weighed():
    samples, features = class_agnostic((2, 1)), make_features(2)
    values = []
    for weight in (1.0, 0.2):
        torch.manual_seed(0)
        head = build_rpn(criterion=dict(loss_weight=weight))
        values.append(head.loss(features, samples))
    for key in ("loss_rpn_cls", "loss_rpn_bbox"):
        torch.testing.assert_close(values[1][key], 0.2 * values[0][key])


def test_alrp_takes_the_rpn_threshold():
    head = build_rpn("aLRPLoss", criterion=dict(balance="constant"))
    wider = build_rpn(loss_cls=dict(type="aLRPLoss"), criterion=dict(balance="constant"))
    wider.load_state_dict(head.state_dict())
    features, samples = make_features(2), class_agnostic((2, 1))
    narrow, wide = (h.loss(features, samples)["loss_rpn_bbox"] for h in (head, wider))
    torch.testing.assert_close(narrow, wide * (1 - 0.5) / (1 - 0.7))


def test_a_level_of_one_prior():
    # MMDetection's own head fails on it; proposals are those without the trick otherwise.
    anchors = dict(type="AnchorGenerator", scales=[1], ratios=[1.0], strides=[16, 64])
    head = build_rpn(anchor_generator=anchors).eval()
    features = [level.detach() for level in make_features(1, sizes=(4, 1))]
    (sample,) = class_agnostic((1,))
    with torch.no_grad():
        with pytest.raises(IndexError):
            RPNHead._predict_by_feat_single(
                head,
                *[[level[0] for level in maps] for maps in head(features)],
                [None, None],
                head.prior_generator.grid_priors([(4, 4), (1, 1)], device="cpu"),
                sample.metainfo,
                head.test_cfg,
            )
        (proposals,) = head.predict(features, [sample])
        (few,) = head.predict([features[0][:, :, :1, :1], features[1]], [sample])
    outputs = [maps[-1] for maps in head(features)]
    score = outputs[0].sigmoid().item()
    assert (proposals.scores - score).abs().min() < 1e-6
    assert len(proposals) == 17
    assert len(few) == 2
    assert head.loss(features, [make_sample([[8, 8, 24, 24]], [0])])["rpn_num_pos"] > 0


def test_half_precision_keeps_float32_scores():
    head = build_rpn()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        logits, boxes = head(make_features(1))
    assert all(level.dtype == torch.float32 for level in (*logits, *boxes))


def test_one_class_head_passes_the_check_of_classes():
    model = build_detector(num_classes=4)
    dataset = SimpleNamespace(metainfo=dict(classes=("a", "b", "c", "d")))
    runner = SimpleNamespace(model=model, train_dataloader=SimpleNamespace(dataset=dataset))
    NumClassCheckHook().before_train_epoch(runner)
    dataset.metainfo["classes"] = ("a", "b")
    with pytest.raises(AssertionError, match="num_classes"):
        NumClassCheckHook().before_train_epoch(runner)


def test_score_losses_are_refused():
    with pytest.raises(TypeError, match="Expected loss_cls to be RankSortLoss"):
        build_rpn(loss_cls=dict(type="CrossEntropyLoss"))
