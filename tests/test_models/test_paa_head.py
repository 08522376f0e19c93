"""Parts of PAAHead that RankPAAHead keeps, and where it stands firmer."""

import pytest
import torch
from dense_heads import CODER, HEADS, TEST_CFG, build_head
from mmdet.models.dense_heads import paa_head
from mmdet.registry import MODELS
from mmengine.config import ConfigDict
from synthetic import make_batch, make_features


def stock_head(head, **options):
    """MMDetection's own head with the same parameters where both have them."""
    config = HEADS["paa"] | dict(
        type="PAAHead", num_classes=4, in_channels=8, feat_channels=8, test_cfg=TEST_CFG,
        reg_decoded_bbox=True, loss_bbox=dict(type="GIoULoss", loss_weight=1.3),
        loss_cls=dict(type="FocalLoss", use_sigmoid=True, gamma=2.0, alpha=0.25),
    )  # fmt: skip
    stock = MODELS.build(ConfigDict(config | options))
    missing, unexpected = stock.load_state_dict(head.state_dict(), strict=False)
    assert unexpected == []
    assert {name.split(".")[0] for name in missing} == {"atss_centerness"}
    return stock.train()


def test_positives_are_those_of_the_stock_head():
    torch.manual_seed(0)
    head = build_head("paa")
    # Scores that differ, so that single and double precision split them alike.
    torch.nn.init.normal_(head.atss_cls.weight, std=0.3)
    torch.nn.init.normal_(head.atss_reg.weight, std=0.1)
    stock = stock_head(head)
    features, (_, samples) = make_features(2), make_batch((3, 2))
    found = {}
    head.criterion.register_forward_pre_hook(lambda module, args: found.update(ours=args[0]))
    stock.loss_cls.register_forward_pre_hook(lambda module, args: found.update(stock=args[:3]))
    head.loss(features, samples)
    stock.loss(features, samples)
    logits, labels, weights = found["stock"]
    torch.testing.assert_close(found["ours"].logits, logits)
    assert torch.equal(found["ours"].labels, labels)
    assert torch.equal(found["ours"].label_weights, weights)
    assert found["ours"].num_positives >= 5


def test_prediction_is_that_of_a_stock_head_whose_ious_are_all_one():
    torch.manual_seed(0)
    head = build_head("paa", score_voting=False)
    stock = stock_head(head, score_voting=False)
    torch.nn.init.zeros_(stock.atss_centerness.weight)
    torch.nn.init.constant_(stock.atss_centerness.bias, 100.0)
    features, (_, samples) = make_features(1), make_batch((1,))
    (ours,), (theirs,) = (each.eval().predict(features, samples) for each in (head, stock))
    torch.testing.assert_close(ours.scores, theirs.scores.square())
    torch.testing.assert_close(ours.bboxes, theirs.bboxes)
    assert torch.equal(ours.labels, theirs.labels)


def test_voted_boxes_come_best_first():
    torch.manual_seed(0)
    head = build_head("paa").eval()
    (result,) = head.predict(make_features(1), make_batch((1,))[1])
    assert torch.equal(result.scores, result.scores.sort(descending=True).values)


@pytest.mark.parametrize("kind", ["diag", "full", "tied", "spherical"])
@pytest.mark.parametrize(
    "scores",
    [
        [0.0] * 12,
        [0.0] * 11 + [2e-6],
        [0.0] * 11 + [1e-300],
        [0.0] + [1e4] * 11,
        [1.0, 2.0],
        [3.0],
        [1e-6 * i for i in range(12)],
    ],
)
def test_degenerate_scores_still_give_a_positive(scores, kind):
    head = build_head("paa", covariance_type=kind)
    number = len(scores)
    candidates = torch.arange(5, 5 + number)
    labels = torch.full((64,), 4)
    labels[candidates] = 2
    new_labels, weights, _, num_pos = head.paa_reassign(
        torch.tensor(scores, dtype=torch.float64), labels, torch.ones(64), torch.ones(64, 4),
        candidates, torch.zeros(number, dtype=torch.long), [torch.zeros(64, 4)],
    )  # fmt: skip
    positives = (new_labels == 2).nonzero().flatten()
    assert len(positives) == num_pos
    if number > 1:
        assert num_pos >= 1
        assert min(scores) in [scores[i] for i in positives - 5]
    assert (weights == 1).all()


ALMOST_ALIKE = torch.tensor([28.66 + 1e-5 * (i % 4) for i in range(12)])


def test_almost_equal_scores_break_the_stock_head_in_float32():
    # What the shift and the double precision are for; fails when they are needed no more.
    head = build_head("paa")
    arguments = [
        torch.full((64,), 2), torch.ones(64), torch.ones(64, 4), torch.arange(12),
        torch.zeros(12, dtype=torch.long), [torch.zeros(64, 4)],
    ]  # fmt: skip
    with pytest.raises(ValueError, match="covariance"):
        paa_head.PAAHead.paa_reassign(head, ALMOST_ALIKE, *arguments)
    shifted = ALMOST_ALIKE.double() - ALMOST_ALIKE.min()
    assert head.paa_reassign(shifted, *arguments)[-1] >= 1


def test_scores_stay_finite():
    head = build_head("paa", num_classes=1)
    anchors = torch.tensor([[0.0, 0.0, 16.0, 16.0]]).repeat(3, 1)
    logits = torch.tensor([[float("nan")], [float("inf")], [-1e30]])
    (scores,) = head.get_pos_loss(
        [anchors], logits, torch.zeros(3, 4), torch.zeros(3, dtype=torch.long), torch.ones(3),
        anchors, torch.ones(3, 4), torch.arange(3),
    )  # fmt: skip
    assert scores.dtype == torch.float64
    assert scores.isfinite().all()
    assert scores.min() == 0
    assert scores.max() <= 1e4


def test_missing_scikit_learn_is_named(monkeypatch):
    monkeypatch.setattr(paa_head, "skm", None)
    head = build_head("paa")
    with pytest.raises(ImportError, match="pip install scikit-learn"):
        head.loss(make_features(1), make_batch((1,))[1])
    head.eval().predict(make_features(1), make_batch((1,))[1])


def test_deltas_as_targets_are_refused():
    with pytest.raises(ValueError, match="reg_decoded_bbox=True"):
        build_head("paa", reg_decoded_bbox=False, bbox_coder=CODER)
