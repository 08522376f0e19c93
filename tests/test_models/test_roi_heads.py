"""RankShared2FCBBoxHead, RankFCNMaskHead and the RoI heads alone."""

import copy

import numpy as np
import pytest
import torch
from mmdet.models.losses import GIoULoss
from mmdet.models.task_modules.assigners import MaxIoUAssigner
from mmdet.models.task_modules.samplers import PseudoSampler
from mmdet.registry import MODELS
from mmengine.structures import InstanceData
from rcnn import batch_for, build_detector, detector_config, losses_of
from synthetic import make_sample
from torch.nn import functional as F

from mmdet_rank.criteria import RankedLosses, RankingCriterion, RankingProblem
from mmdet_rank.losses import RankSortLoss
from mmdet_rank.losses.base import RankedLoss, scatter_labels
from mmdet_rank.models.roi_heads.ranked_masks import keep_some
from mmdet_rank.models.task_modules import EveryProposalSampler
from mmdet_rank.ops import rank_sort_loss

C = 3


def build_box_head(**options):
    head = MODELS.build(detector_config(num_classes=C).roi_head.bbox_head | options)
    head.init_weights()
    return head.train()


def rois_and_outputs(seed=0, channels=4 * C, num=12):
    gen = torch.Generator().manual_seed(seed)
    corner = torch.rand(num, 2, generator=gen) * 30
    boxes = torch.cat([corner, corner + 10 + 20 * torch.rand(num, 2, generator=gen)], 1)
    image = torch.arange(num) // (num // 2)
    logits = torch.randn(num, C, generator=gen).requires_grad_()
    outputs = (torch.randn(num, channels, generator=gen) * 0.5).requires_grad_()
    return torch.cat([image[:, None].float(), boxes], 1), logits, outputs


def assigned(rois, num_positives=4):
    """Labels, label weights and boxes: the first RoIs belong to objects near them."""
    labels = torch.full((len(rois),), C)
    labels[:num_positives] = torch.arange(num_positives) % C
    targets = torch.zeros(len(rois), 4)
    targets[:num_positives] = rois[:num_positives, 1:] + torch.tensor([1.0, -2, 3, 1])
    return labels, torch.ones(len(rois)), targets, torch.zeros(len(rois), 4)


@pytest.mark.parametrize("agnostic", [False, True])
@pytest.mark.parametrize("decoded", [False, True])
def test_losses_by_hand(agnostic, decoded):
    # Each positive's box is decoded by hand from the four outputs of its class.
    loss_bbox = dict(type="GIoULoss") if decoded else dict(type="L1Loss")
    head = build_box_head(
        reg_class_agnostic=agnostic, reg_decoded_bbox=decoded, loss_bbox=loss_bbox,
        criterion=dict(instance_weight="none", balance="constant"),
    )  # fmt: skip
    rois, logits, outputs = rois_and_outputs(channels=4 if agnostic else 4 * C)
    labels, label_weights, gt_boxes, box_weights = assigned(rois)
    targets = gt_boxes if decoded else head.bbox_coder.encode(rois[:, 1:], gt_boxes + 1e-3)
    losses = head.loss(logits, outputs, rois, labels, label_weights, targets, box_weights)

    boxes = rois[:4, 1:]
    size, center = boxes[:, 2:] - boxes[:, :2], (boxes[:, 2:] + boxes[:, :2]) / 2
    own = torch.stack(
        [outputs[i, :4] if agnostic else outputs[i, 4 * (i % C) :][:4] for i in range(4)]
    )
    center = center + size * own[:, :2] * 0.1
    size = size * (own[:, 2:] * 0.2).exp()
    predicted = torch.cat([center - size / 2, center + size / 2], 1)
    expected = GIoULoss()(predicted, gt_boxes[:4]) if decoded else (own - targets[:4]).abs().mean()
    torch.testing.assert_close(losses["loss_bbox"], expected, rtol=1e-4, atol=1e-5)

    low = torch.maximum(predicted[:, :2], gt_boxes[:4, :2])
    high = torch.minimum(predicted[:, 2:], gt_boxes[:4, 2:])
    overlap = (high - low).clamp(min=0).prod(1)
    union = size.prod(1) + (gt_boxes[:4, 2:] - gt_boxes[:4, :2]).prod(1) - overlap
    quality = torch.zeros(12)
    quality[:4] = (overlap / union).detach()
    ranking, sorting = rank_sort_loss(
        logits.view(-1), scatter_labels(logits, labels, quality), delta=0.5
    )
    torch.testing.assert_close(losses["loss_cls"], ranking + sorting, rtol=1e-4, atol=1e-5)
    assert losses["num_pos"] == 4
    # Only the four outputs of a positive's own class are trained.
    losses["loss_bbox"].backward()
    trained = outputs.grad.view(12, -1, 4).abs().sum(2) > 0
    own_class = F.one_hot(torch.arange(4) % C, C)
    assert trained[:4].int().tolist() == (torch.ones(4, 1) if agnostic else own_class).tolist()
    assert not trained[4:].any()


def test_ignored_rois_are_not_ranked():
    head = build_box_head()
    rois, logits, outputs = rois_and_outputs()
    labels, label_weights, targets, box_weights = assigned(rois)
    label_weights[8:] = 0
    losses = head.loss(logits, outputs, rois, labels, label_weights, targets, box_weights)
    shorter = [value[:8] for value in (rois, labels, label_weights, targets, box_weights)]
    same = head.loss(logits[:8], outputs[:8], *shorter)
    torch.testing.assert_close(losses["loss_cls"], same["loss_cls"])
    losses["loss_cls"].backward()
    assert (logits.grad[8:] == 0).all()
    assert (logits.grad[:8] != 0).any()


def test_images_are_ranked_together():
    # The only positive lies in the first image; negatives of the second one outrank it.
    head = build_box_head()
    rois, logits, outputs = rois_and_outputs()
    labels, label_weights, targets, box_weights = assigned(rois, num_positives=1)
    with torch.no_grad():
        logits[:6] = -5.0
        logits[0, 0] = 0.0
        logits[6:] = 5.0
    losses = head.loss(logits, outputs, rois, labels, label_weights, targets, box_weights)
    losses["loss_cls"].backward()
    # 6 RoIs of 3 classes stand above it, and its own step counts one half.
    assert losses["loss_cls"].item() == pytest.approx(18 / 18.5)
    assert (logits.grad[6:] > 0).all()
    assert (logits.grad[1:6] == 0).all()


def test_the_classifier_has_no_background_row():
    head = build_box_head()
    assert head.fc_cls.out_features == C
    stock = MODELS.build(
        dict(type="Shared2FCBBoxHead", in_channels=8, fc_out_channels=64, roi_feat_size=4,
             num_classes=C)
    )  # fmt: skip
    ours, theirs = head.state_dict(), stock.state_dict()
    assert set(ours) == set(theirs)
    different = {key for key in ours if ours[key].shape != theirs[key].shape}
    assert different == {"fc_cls.weight", "fc_cls.bias"}


@pytest.mark.parametrize("agnostic", [False, True])
def test_prediction_by_hand(agnostic):
    # Boxes of each class come from its own outputs, scores are sigmoids, no class is left out.
    head = build_box_head(reg_class_agnostic=agnostic).eval()
    rois = torch.tensor([[0.0, 10, 10, 30, 30]])
    logits = torch.tensor([[0.0, 1.0, 2.0]])
    outputs = torch.zeros(1, 4) if agnostic else torch.zeros(1, 4 * C)
    if not agnostic:
        outputs[0, 4] = 5.0  # class 1 moves by half of its width
        outputs[0, 9] = -5.0  # class 2 moves up by half of its height
    (result,) = head.predict_by_feat(
        (rois,), (logits,), (outputs,), [dict(img_shape=(64, 64))],
        rcnn_test_cfg=detector_config().test_cfg.rcnn,
    )  # fmt: skip
    assert result.labels.tolist() == [2, 1, 0]
    torch.testing.assert_close(result.scores, torch.tensor([2.0, 1.0, 0.0]).sigmoid())
    still = [10.0, 10, 30, 30]
    moved = [[10.0, 0, 30, 20], [20.0, 10, 40, 30], still]
    torch.testing.assert_close(result.bboxes, torch.tensor([still] * 3 if agnostic else moved))


def test_half_precision_logits_get_float32_scores():
    logits = torch.tensor([[7.0, 7.5]], dtype=torch.bfloat16)
    scores = RankSortLoss().get_activation(logits)
    assert scores.dtype == torch.float32
    assert scores[0, 1] > scores[0, 0]
    assert scores[0, 2] == 0


def test_a_cascade_refines_by_the_best_of_all_classes():
    # Also by the last one, which MMDetection would take for background.
    head = build_box_head(reg_class_agnostic=False)
    sampler, sample = EveryProposalSampler(), make_sample([[10, 10, 30, 30]], [0])
    proposals = InstanceData(priors=torch.tensor([[40.0, 10, 60, 30], [12.0, 10, 32, 30]]))
    assigner = MaxIoUAssigner(0.5, 0.5, 0.5, match_low_quality=False)
    result = sampler.sample(
        assigner.assign(proposals, sample.gt_instances), proposals, sample.gt_instances
    )
    assert result.priors.tolist() == [
        [10, 10, 30, 30], [12, 10, 32, 30], [40, 10, 60, 30]
    ]  # fmt: skip
    logits = torch.tensor([[0.0, 0, 9], [0.0, 0, 9], [0.0, 0, 9]])
    outputs = torch.zeros(3, 12)
    outputs[:, 1] = 1.0  # class 0 moves down by a tenth of its height
    outputs[:, 8] = -1.0  # class 2 moves left by a tenth of its width
    rois = F.pad(result.priors, (1, 0))
    (refined,) = head.refine_bboxes(
        [result],
        dict(rois=rois, cls_score=logits, bbox_pred=outputs,
             bbox_targets=(torch.tensor([0, 0, C]),)),
        [dict(img_shape=(64, 64))],
    )  # fmt: skip
    # The object's own box leaves; the positive goes by its label, the negative by its best class.
    torch.testing.assert_close(
        refined.bboxes, torch.tensor([[12.0, 12, 32, 32], [38.0, 10, 58, 30]])
    )


def test_the_cascade_averages_stages_and_keeps_every_class():
    torch.manual_seed(0)
    model = build_detector("cascade", num_classes=1, agnostic=False).eval()
    heads = model.roi_head.bbox_head
    for head, bias in zip(heads, (-1.0, 2.0, 3.5), strict=True):
        torch.nn.init.zeros_(head.fc_cls.weight)
        torch.nn.init.constant_(head.fc_cls.bias, bias)
    with torch.no_grad():
        (sample,) = model.predict(*batch_for("cascade", (1,), 1))
    scores = sample.pred_instances.scores
    torch.testing.assert_close(scores, torch.full_like(scores, 1.5).sigmoid())


def test_every_proposal_and_every_object():
    assigner = MaxIoUAssigner(0.5, 0.5, 0.5, match_low_quality=False)
    sample = make_sample([[10, 10, 30, 30], [2, 40, 20, 60]], [1, 2])
    priors = torch.tensor([[11.0, 10, 31, 30], [40, 40, 60, 60], [0, 0, 5, 5]])
    seen = []
    for sampler in (EveryProposalSampler(), PseudoSampler()):
        proposals = InstanceData(priors=priors)
        result = sampler.sample(
            assigner.assign(proposals, sample.gt_instances), proposals, sample.gt_instances
        )
        seen.append((len(result.pos_priors), len(result.neg_priors)))
    assert seen == [(1 + 2, 2), (1, 2)]
    nothing = make_sample([], []).gt_instances
    proposals = InstanceData(priors=priors)
    result = EveryProposalSampler().sample(assigner.assign(proposals, nothing), proposals, nothing)
    assert (len(result.pos_priors), len(result.neg_priors)) == (0, 3)


@pytest.mark.parametrize("agnostic", [False, True])
def test_mask_loss_by_hand(agnostic):
    config = detector_config("mask", num_classes=C).roi_head.mask_head
    head = MODELS.build(config | dict(class_agnostic=agnostic))
    gen = torch.Generator().manual_seed(0)
    preds = torch.randn(3, 1 if agnostic else C, 14, 14, generator=gen).requires_grad_()
    targets = (torch.rand(3, 14, 14, generator=gen) > 0.5).float()
    labels = torch.tensor([2, 0, 1])
    head.get_targets = lambda *args: targets
    (results,) = _sampling_results(labels)
    weights = torch.tensor([0.9, 0.2, 0.5])
    logits = torch.zeros(4, C, requires_grad=True)
    criterion = RankingCriterion(RankSortLoss(), GIoULoss())
    criterion.add_task("mask")
    problem = RankingProblem(logits, torch.tensor([2, 0, 1, C]), torch.arange(3), quality=weights)
    ranked = RankedLosses({}, problem, RankedLoss(logits.sum() + 0.7), criterion)
    ranked.weights = torch.tensor([0.5, 0.9, 0.1, 0.2])
    chosen = torch.tensor([1, 3, 0])  # of four positives: their weights are those above
    out = head.loss_and_target(preds, [results], [], None, ranked, chosen)["loss_mask"]

    dice = []
    for i in range(3):
        p = preds[i, 0 if agnostic else labels[i]].detach().sigmoid()
        overlap = 2 * (p * targets[i]).sum()
        dice.append(1 - overlap / ((p**2).sum() + (targets[i] ** 2).sum() + 2e-3))
    mean = (weights * torch.stack(dice)).sum() / weights.sum()
    torch.testing.assert_close(out["balance_mask"], 0.7 / mean)
    torch.testing.assert_close(out["loss_mask"], torch.tensor(0.7))
    out["loss_mask"].backward()
    assert logits.grad is None
    if not agnostic:
        trained = preds.grad.flatten(2).abs().sum(2) > 0
        assert trained.int().tolist() == F.one_hot(labels, C).tolist()


def _sampling_results(*labels_of_images):
    results = []
    for labels in labels_of_images:
        boxes = torch.arange(4.0 * len(labels)).view(-1, 4).cumsum(1)
        sample = make_sample(boxes, labels)
        proposals = InstanceData(priors=boxes.new_zeros(0, 4))
        assigner = MaxIoUAssigner(0.5, 0.5, 0.5, match_low_quality=False)
        results.append(
            EveryProposalSampler().sample(
                assigner.assign(proposals, sample.gt_instances), proposals, sample.gt_instances
            )
        )
    return results


def test_masks_are_chosen_at_random_by_torch():
    results = _sampling_results(torch.arange(5), torch.arange(0), torch.arange(7))
    assert keep_some(results, 12) == (results, None)
    assert keep_some(results, None) == (results, None)

    def choose(torch_seed, numpy_seed):
        torch.manual_seed(torch_seed)
        np.random.seed(numpy_seed)  # noqa: NPY002
        kept, places = keep_some(results, 6)
        labels = [result.pos_gt_labels.tolist() for result in kept]
        for before, after in zip(results, kept, strict=True):
            own = after.pos_gt_labels  # the labels are the places
            for name in ("pos_priors", "pos_gt_bboxes", "pos_assigned_gt_inds", "pos_is_gt"):
                assert torch.equal(getattr(after, name), getattr(before, name)[own])
        assert places.tolist() == labels[0] + [5 + place for place in labels[2]]
        assert len(places) == len(set(places.tolist())) == 6
        return places.tolist()

    first = choose(0, 0)
    assert choose(0, 1) == first
    assert any(choose(seed, 0) != first for seed in range(1, 4))
    assert [len(result.pos_priors) for result in results] == [5, 0, 7]


@pytest.mark.parametrize("name", ["mask", "cascade_mask"])
@pytest.mark.parametrize("max_masks", [2, None])
def test_the_number_of_masks_is_limited(name, max_masks):
    torch.manual_seed(0)
    model = build_detector(name, max_masks=max_masks)
    heads = model.roi_head.mask_head
    sizes = []
    for head in heads if name == "cascade_mask" else [heads]:
        head.register_forward_hook(lambda _, inputs, out: sizes.append(len(out)))
    losses = losses_of(model, *batch_for(name))
    positives = [int(value) for key, value in losses.items() if key.endswith("num_pos")][1:]
    assert sizes == (positives if max_masks is None else [2] * len(positives))
    assert all(value.isfinite() for value in losses.values())


def test_masks_on_the_features_of_the_boxes():
    # Without an extractor of its own the mask head takes the box head's features.
    torch.manual_seed(0)
    model = build_detector("mask", mask_roi_extractor=None, max_masks=2)
    features = {}
    model.roi_head.bbox_head.register_forward_pre_hook(
        lambda _, inputs: features.update(box=inputs[0].detach())
    )
    model.roi_head.mask_head.register_forward_pre_hook(
        lambda _, inputs: features.update(mask=inputs[0].detach())
    )
    # Masks of twice the extractor's size.
    model.roi_head.train_cfg.mask_size = 8
    losses_of(model, *batch_for("mask"))
    assert len(features["mask"]) == 2
    for own in features["mask"]:
        assert (features["box"] == own).flatten(1).all(1).any()


def test_a_stock_mask_head_beside_ranked_boxes():
    config = detector_config("mask").roi_head
    stock = config.mask_head | dict(type="FCNMaskHead")
    torch.manual_seed(0)
    model = build_detector("mask", mask_head=stock)
    losses = losses_of(model, *batch_for("mask"))
    assert "balance_mask" not in losses
    assert 0.5 < losses["loss_mask"] < 1.0


def test_nothing_of_the_graph_is_kept():
    model = build_detector("mask")
    model.loss(*batch_for("mask"))
    copy.deepcopy(model)
    with pytest.raises(RuntimeError, match="take_ranked"):
        model.roi_head.bbox_head.take_ranked()


def test_a_mistake_is_told():
    with pytest.raises(TypeError, match="Expected RankShared2FCBBoxHead"):
        build_detector(bbox_head=dict(type="Shared2FCBBoxHead", in_channels=8, roi_feat_size=4))
    for loss in ("CrossEntropyLoss", "FocalLoss", "QualityFocalLoss"):
        with pytest.raises(TypeError, match=f"in RankShared2FCBBoxHead, but got {loss}; use"):
            build_detector(box=dict(loss_cls=dict(type=loss)))
    config = detector_config("mask").roi_head.mask_head
    with pytest.raises(ValueError, match="one value per mask"):
        MODELS.build(config | dict(loss_mask=dict(type="CrossEntropyLoss", use_mask=True)))
    with pytest.raises(TypeError, match="Expected RankFCNMaskHead in a RankStandardRoIHead"):
        MODELS.build(config).loss_and_target(torch.zeros(0, C, 14, 14), [], [], None)
    with pytest.raises(ValueError, match="with_reg=True"):
        build_box_head(with_reg=False)
    rois, logits, outputs = rois_and_outputs()
    with pytest.raises(ValueError, match="reduction_override=None"):
        build_box_head().loss(logits, outputs, rois, *assigned(rois), reduction_override="none")
