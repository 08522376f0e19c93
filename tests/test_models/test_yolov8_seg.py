"""YOLOv8 with masks: which coefficients a positive has, the masks' loss, letterboxed images."""

import itertools
import math

import mmdet_rank.register  # noqa: F401

import pytest
import torch
from mmdet.registry import MODELS
from mmengine.config import ConfigDict
from mmengine.registry import init_default_scope
from mmengine.structures import InstanceData
from synthetic import make_batch, make_features, make_sample
from yolov8 import SIZES, TEST_CFG

# Trainable parameters with 80 classes, as published.
PARAMETERS = {"n": 3409952, "s": 11821040}
STRIDES = [4, 8, 16]


def build_head(ranking=False, **options):
    head = MODELS.build(
        ConfigDict(
            type="RankYOLOv8SegHead" if ranking else "YOLOv8SegHead", num_classes=3,
            in_channels=[8, 8, 8], strides=STRIDES, num_protos=5, test_cfg=TEST_CFG,
        )
        | ConfigDict(options)
    )  # fmt: skip
    head.init_weights()
    return head.train()


def build_protonet(ranking=False, **options):
    head = MODELS.build(
        ConfigDict(
            type="RankYOLOv8Protonet" if ranking else "YOLOv8Protonet", in_channels=8,
            feat_channels=12, num_protos=5, test_cfg=dict(mask_thr_binary=0.5),
        )
        | ConfigDict(options)
    )  # fmt: skip
    return head.train()


def train(ranking, num_objects, seed=0):
    """Losses of both heads after the backward pass, and the heads."""
    torch.manual_seed(seed)
    box_head, mask_head = build_head(ranking), build_protonet(ranking)
    features, (_, samples) = make_features(2), make_batch(num_objects, 3, masks=True)
    losses = box_head.loss(features, samples)
    positives = box_head.get_positive_infos()
    losses |= mask_head.loss(features, samples, positive_infos=positives)
    sum(value for key, value in losses.items() if "loss" in key).backward()
    return losses, box_head, mask_head


@pytest.mark.parametrize("size", PARAMETERS)
def test_number_of_parameters(size):
    depth, width, last, channels, blocks = SIZES[size]
    init_default_scope("mmdet")
    with torch.device("meta"):
        model = MODELS.build(
            ConfigDict(
                type="SingleStageInstanceSegmentor",
                backbone=dict(type="YOLOv8CSPDarknet", deepen_factor=depth, widen_factor=width,
                              last_stage_out_channels=last),
                neck=dict(type="YOLOv8PAFPN", in_channels=channels, num_csp_blocks=blocks),
                bbox_head=dict(type="YOLOv8SegHead", num_classes=80, in_channels=channels),
                mask_head=dict(type="YOLOv8Protonet", in_channels=channels[0],
                               feat_channels=int(256 * width)),
            )
        )  # fmt: skip
    assert sum(p.numel() for p in model.parameters()) == PARAMETERS[size]


@pytest.mark.parametrize("ranking", [False, True])
@pytest.mark.parametrize("num_objects", [(2, 1), (2, 0), (0, 0)])
def test_loss_and_gradients(ranking, num_objects):
    losses, *heads = train(ranking, num_objects)
    keys = {"loss_cls", "loss_bbox", "loss_dfl", "loss_mask"}
    if ranking:
        keys |= {"balance_bbox", "balance_mask", "num_pos", "ranking", "sorting"}
    assert set(losses) == keys
    assert (losses["loss_mask"] > 0) == bool(sum(num_objects))
    for head in heads:
        assert all(p.grad is not None and p.grad.isfinite().all() for p in head.parameters())
    assert (heads[0].coeff_preds[0][-1].weight.grad.abs().sum() > 0) == bool(sum(num_objects))


@pytest.mark.parametrize("ranking", [False, True])
def test_positives_have_the_coefficients_of_their_own_place_and_image(ranking):
    torch.manual_seed(0)
    head = build_head(ranking)
    features, (_, samples) = make_features(2), make_batch((2, 1), 3, masks=True)
    outs = head(features)
    sizes = [level.shape[-2:] for level in outs[3]]
    # Coefficients that say where they are: image, stride, y, x.
    coeffs = []
    for stride, (height, width) in zip(STRIDES, sizes, strict=True):
        y, x = torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")
        places = torch.stack([torch.full_like(x, stride), y, x]).float()
        coeffs.append(
            torch.stack([torch.cat([torch.full_like(places[:1], i), places]) for i in range(2)])
        )
    objects, metas = [s.gt_instances for s in samples], [s.metainfo for s in samples]
    head.loss_by_feat(*outs[:3], coeffs, objects, metas)
    positives = head.get_positive_infos()
    targets = head.assign(head.dense_outputs(*outs[:3]), objects)
    for image, own in enumerate(positives):
        assert len(own.pos_inds) == (targets.labels[image] < 3).sum() > 0
        assert (own.coeffs[:, 0] == image).all()
        stride, y, x = own.coeffs[:, 1:].T
        points = torch.stack([x + 0.5, y + 0.5], dim=1) * stride[:, None]
        boxes = objects[image].bboxes[own.pos_assigned_gt_inds]
        torch.testing.assert_close(own.bboxes, boxes)
        assert (points > boxes[:, :2]).all()
        assert (points < boxes[:, 2:]).all()
        assert own.weights.shape == own.pos_inds.shape
    if ranking:
        torch.testing.assert_close(
            torch.cat([own.weights for own in positives]),
            head.criterion.weights(head.problem(head.dense_outputs(*outs[:3]), targets)),
        )


def test_stock_loss_is_its_definition():
    # Cross entropy within the object's box (a pixel of margin), by the box's share of the image.
    torch.manual_seed(0)
    head = build_protonet()
    _, samples = make_batch((2, 1), 3, masks=True)
    objects, metas = [s.gt_instances for s in samples], [s.metainfo for s in samples]
    chosen = [torch.tensor([0, 1, 1]), torch.tensor([0])]
    positives = [
        InstanceData(
            pos_assigned_gt_inds=inds, bboxes=own.bboxes[inds], coeffs=torch.randn(len(inds), 5),
            weights=torch.ones(len(inds)), pos_inds=inds,
        )
        for inds, own in zip(chosen, objects, strict=True)
    ]  # fmt: skip
    masks = [torch.rand(32, 32, len(inds)) for inds in chosen]
    losses = head.loss_by_feat(masks, None, objects, metas, positives)
    errors = []
    for own_masks, inds, own in zip(masks, chosen, objects, strict=True):
        for i, place in enumerate(inds.tolist()):
            truth = own.masks.to_tensor(torch.float32, "cpu")[None, place : place + 1]
            truth = torch.nn.functional.interpolate(truth, (32, 32), mode="bilinear")[0, 0] > 0.5
            x1, y1, x2, y2 = (own.bboxes[place] / 2).tolist()
            total = 0.0
            for y, x in itertools.product(range(32), range(32)):
                if x1 - 1 <= x < x2 + 1 and y1 - 1 <= y < y2 + 1:
                    p = own_masks[y, x, i].item()
                    total -= math.log(p if truth[y, x] else 1 - p)
            errors.append(total / ((x2 - x1) * (y2 - y1)))
    expected = 7.5 * 2 * sum(errors) / len(errors)
    assert losses["loss_mask"].item() == pytest.approx(expected, rel=1e-4)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
@pytest.mark.parametrize("logit", [8.0, 12.0])
def test_false_pixels_are_trained_in_half_precision(dtype, logit):
    """Half precision rounds their probability to 1, where entropy has no finite gradient."""
    _, samples = make_batch((1,), 3, masks=True)
    objects, metas = [s.gt_instances for s in samples], [s.metainfo for s in samples]
    gradients = []
    for half in (False, True):
        head = build_protonet()
        # A map of ones by a coefficient is a mask with this logit in each pixel.
        head.protonet = torch.nn.Identity()
        prototypes = torch.zeros(1, 5, 32, 32)
        prototypes[:, 0] = 1
        coeffs = torch.zeros(1, 5)
        coeffs[:, 0] = logit
        coeffs.requires_grad_()
        positives = InstanceData(
            pos_assigned_gt_inds=torch.tensor([0]), bboxes=objects[0].bboxes[:1], coeffs=coeffs,
            weights=torch.ones(1), pos_inds=torch.tensor([0]),
        )  # fmt: skip
        with torch.autocast("cpu", dtype, enabled=half):
            masks, _ = head((prototypes.to(dtype) if half else prototypes,), [positives])
            head.loss_by_feat(masks, None, objects, metas, [positives])["loss_mask"].backward()
        gradients.append(coeffs.grad)
    assert gradients[0][0, 0] > 0.1
    torch.testing.assert_close(gradients[1], gradients[0], rtol=1e-2, atol=1e-3)


def test_another_loss_of_the_stock_masks_is_refused():
    # It was built, and deleted; training went on by binary cross entropy.
    with pytest.raises(ValueError, match="Expected no loss_mask in YOLOv8Protonet"):
        build_protonet(loss_mask=dict(type="DiceLoss"))
    assert not hasattr(build_protonet(loss_mask=None), "loss_mask")
    ranked = build_protonet(True, loss_mask=dict(type="HybridFocalMarginLoss"))
    assert type(ranked.loss_mask).__name__ == "HybridFocalMarginLoss"


def test_a_subset_of_the_masks():
    head = build_protonet(max_masks_to_train=2)
    own = InstanceData(weights=torch.ones(5), coeffs=torch.arange(5.0)[:, None])
    assert len(head._choose(own)) == 2
    assert len(head._choose(own[:2])) == 2


def test_masks_of_a_letterboxed_image():
    # A picture of 90 x 60, seen as 64 x 43 within 64 x 64: masks do not contain the padding.
    head = build_protonet().eval()
    sample = make_sample([], [])
    meta = sample.metainfo | dict(ori_shape=(60, 90), scale_factor=(64 / 90, 64 / 90))
    box = torch.tensor([[20.0, 10.0, 70.0, 50.0]])
    seen = box * 64 / 90
    masks = torch.zeros(32, 32, 1)
    x1, y1, x2, y2 = (seen[0] / 2).round().int().tolist()
    masks[y1:y2, x1:x2] = 1.0
    results = InstanceData(
        bboxes=seen, coeffs=torch.zeros(1, 5), scores=torch.ones(1), labels=torch.zeros(1).long()
    )
    (result,) = head.predict_by_feat([masks], None, [results], [meta], rescale=True)
    assert result.masks.shape == (1, 60, 90)
    torch.testing.assert_close(result.bboxes, box)
    expected = torch.zeros(60, 90, dtype=torch.bool)
    expected[10:50, 20:70] = True
    union = (result.masks[0] | expected).sum()
    assert (result.masks[0] & expected).sum() / union > 0.9


@pytest.mark.parametrize("ranking", [False, True])
@torch.no_grad()
def test_prediction(ranking):
    torch.manual_seed(0)
    box_head, mask_head = build_head(ranking).eval(), build_protonet(ranking).eval()
    features, (_, samples) = make_features(2), make_batch((1, 1), 3)
    results = box_head.predict(features, samples)
    for result in results:
        assert result.coeffs.shape == (10, 5)
        assert (result.scores[:-1] >= result.scores[1:]).all()
    # The same boxes as without coefficients, and the coefficients of their places.
    outs = box_head(features)
    metas = [sample.metainfo for sample in samples]
    plain = super(type(box_head), box_head).predict_by_feat if not ranking else None
    if plain:
        for result, other in zip(results, plain(*outs[:3], batch_img_metas=metas), strict=True):
            torch.testing.assert_close(result.bboxes, other.bboxes)
            torch.testing.assert_close(result.scores, other.scores)
    rows = torch.cat([level.flatten(2).transpose(1, 2) for level in outs[3]], dim=1)
    for result, own in zip(results, rows, strict=True):
        gaps = (result.coeffs[:, None] - own).abs().amax(dim=2)
        assert (gaps.amin(dim=1) == 0).all()
    results = mask_head.predict(features, samples, results_list=results, rescale=True)
    assert [tuple(result.masks.shape) for result in results] == [(10, 64, 64)] * 2


def test_a_ranking_mask_head_needs_a_ranking_box_head():
    features, (_, samples) = make_features(1), make_batch((1,), 3, masks=True)
    stock = build_head()
    stock.loss(features, samples)
    with pytest.raises(TypeError, match="of a RankYOLOv8SegHead in RankYOLOv8Protonet"):
        build_protonet(True).loss(features, samples, positive_infos=stock.get_positive_infos())
