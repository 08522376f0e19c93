"""Measures of a detector, against its own targets and losses."""

import json
import math

import cv2
import numpy as np
import pytest
import torch
from mmengine.config import Config, ConfigDict
from mmengine.registry import DefaultScope
from mmengine.structures import InstanceData
from synthetic import make_batch

from configs import build_model, find, load_config
from mmdet_rank.cli.analyze_detector import training_samples
from mmdet_rank.imbalance import Objects, find_imbalance, measure_data
from mmdet_rank.imbalance.priors import head_with_priors, measure_priors, resizing
from mmdet_rank.imbalance.training import error_shares, measure_training
from mmdet_rank.visualization.imbalance_page import imbalance_page


def build(name):
    torch.manual_seed(0)
    name, _, assigner = name.partition(" by ")
    config = load_config(f"digits/{name}.py")
    if assigner:
        config.model.train_cfg.assigner = dict(type=assigner, topk=9)
    return config, build_model(config)


def as_objects(samples, size):
    """Objects of images that are ``size`` (width, height) large, or square."""
    boxes = [s.gt_instances.bboxes for s in samples]
    image = np.repeat(np.arange(len(samples)), [len(b) for b in boxes])
    corners = torch.cat(boxes).double().numpy()
    xywh = np.concatenate([corners[:, :2], corners[:, 2:] - corners[:, :2]], 1)
    label = torch.cat([s.gt_instances.labels for s in samples]).numpy()
    names = tuple(f"class {i}" for i in range(10))
    sizes = np.full((len(samples), 2), size, dtype=float)
    return Objects(names, sizes, image, label, xywh)


@pytest.mark.parametrize(
    "name",
    [
        "retinanet_r18_fpn_digits",
        "rs-atss_r18_fpn_digits",
        "rs-retinanet_r18_fpn_digits by ATSSAssigner",
    ],
)
@pytest.mark.parametrize(
    ("width", "height", "resized", "padded"),
    [
        (192, 192, (192, 192), (192, 192)),
        # The configs scale the longer side to 192 pixels and keep the ratio.
        (96, 40, (192, 80), (192, 96)),
        (30, 64, (90, 192), (96, 192)),
        # The ratio is not kept.
        (64, 48, (64, 144), (64, 160)),
    ],
)
def test_priors_are_the_targets_of_the_head(name, width, height, resized, padded):
    config, model = build(name)
    _, samples = make_batch((4, 3), 10, (height, width), seed=3)
    scale = torch.tensor([resized[0] / width, resized[1] / height] * 2)
    if scale[0] != scale[1]:
        (pipeline,) = find(config.train_dataloader, "pipeline")
        (step,) = [step for step in pipeline if step.type == "Resize"]
        step.update(scale=resized, keep_ratio=False)
    found = measure_priors(config, model, as_objects(samples, (width, height)))
    head = model.bbox_head
    sizes = [(-(-padded[1] // s[1]), -(-padded[0] // s[0])) for s in head.prior_generator.strides]
    metas = [dict(img_shape=resized[::-1], pad_shape=padded[::-1])] * 2
    anchors, flags = head.get_anchors(sizes, metas, device="cpu")
    objects = [
        InstanceData(bboxes=s.gt_instances.bboxes * scale, labels=s.gt_instances.labels)
        for s in samples
    ]
    targets = head.get_targets(anchors, flags, objects, metas)
    labels, weights = targets[1:3] if "atss" in name else targets[:2]
    positive = [int(((lab < 10) & (w > 0)).sum()) for lab, w in zip(labels, weights, strict=True)]
    negative = [int(((lab == 10) & (w > 0)).sum()) for lab, w in zip(labels, weights, strict=True)]
    assert [level["positives"] * 2 for level in found["per_level"]] == positive
    assert [level["negatives"] * 2 for level in found["per_level"]] == negative
    assert found["negatives_per_positive"] == pytest.approx(sum(negative) / sum(positive))
    assert sum(found["iou_of_positives"]["counts"]) == sum(positive)
    assert found["ranks"] == name.startswith("rs")
    assert sum(found["positives_of_images"]) == sum(positive)


def test_a_picture_that_is_wider_than_high(tmp_path):
    """Training steps get its height and width, and its boxes, in their places."""
    cv2.imwrite(str(tmp_path / "wide.png"), np.zeros((48, 96, 3), dtype=np.uint8))
    objects = Objects(
        ("a",), np.array([[96.0, 48]]), np.zeros(1, int), np.zeros(1, int),
        np.array([[60.0, 10, 32, 20]]),
    )  # fmt: skip
    steps = [
        dict(type="LoadImageFromFile"),
        dict(type="LoadAnnotations", with_bbox=True),
        dict(type="PackDetInputs", meta_keys=("img_shape", "height", "width")),
    ]
    config = Config(dict(train_dataloader=dict(dataset=dict(pipeline=steps))))
    with DefaultScope.overwrite_default_scope("mmdet"):
        (sample,) = training_samples(config, objects, [tmp_path / "wide.png"], [0])
    found = sample["data_samples"]
    assert found.metainfo == {"img_shape": (48, 96), "height": 48, "width": 96}
    assert found.gt_instances.bboxes.tensor.tolist() == [[60, 10, 92, 30]]


def test_objects_without_a_prior():
    config, model = build("faster-rcnn_r18_fpn_digits")
    # An object of 1 x 60 pixels: no anchor reaches IoU 0.3 with it.
    objects = Objects(
        ("a",), np.full((1, 2), 192.0), np.zeros(2, int), np.zeros(2, int),
        np.array([[20.0, 20, 60, 60], [100, 20, 1, 60]]),
    )  # fmt: skip
    found = measure_priors(config, model, objects)
    assert found["unreached"] == 0.5
    assert found["unreached_by_size"] == {"small": 1.0, "medium": 0.0, "large": 0.0}
    report = measure_data(objects) | {"priors": found}
    text = next(f.text for f in find_imbalance(report) if f.kind == "Scale imbalance")
    assert "50.0% of the objects get no prior" in text
    assert "ATSSAssigner" in text


@pytest.mark.parametrize(
    ("name", "reason"),
    [("dino_r18_digits", "no priors on a grid"), ("fcos_r18_fpn_digits", "rules of its own")],
)
def test_assignment_that_depends_on_predictions(name, reason):
    config, model = build(name)
    assert head_with_priors(model)[0] is None
    found = measure_priors(config, model, as_objects(make_batch((1,), 10, 192)[1], 192))
    assert reason in found["why_not"]
    report = {"priors": found} | measure_data(as_objects(make_batch((2,), 10, 192)[1], 192))
    assert reason in find_imbalance(report)[1].text


def as_samples(images, samples):
    pixels = (images * 40 + 120).clamp(0, 255).byte()
    return [{"inputs": i, "data_samples": s} for i, s in zip(pixels, samples, strict=True)]


@pytest.mark.parametrize(
    "name",
    [
        *("rs-atss_r18_fpn_digits", "faster-rcnn_r18_fpn_digits", "dino_r18_digits"),
        # Its self-balance would ask a runner how long an epoch is.
        "alrp-atss_r18_fpn_digits",
    ],
)
def test_shares_of_losses_and_gradients(name):
    _, model = build(name)
    before = {key: value.clone() for key, value in model.state_dict().items()}
    images, samples = make_batch((2, 1, 2), 10, 96, seed=1)
    torch.manual_seed(1)
    found = measure_training(model, as_samples(images, samples))
    assert found["images"] == 3
    assert sum(found["task_shares"].values()) == pytest.approx(1)
    for shares in found["classification"].values():
        assert shares["raising"] + shares["lowering"] == pytest.approx(1)
        assert shares["ratio"] == pytest.approx(shares["lowering"] / shares["raising"])
    assert all(parameter.grad is None for parameter in model.parameters())
    for key, value in model.state_dict().items():
        assert torch.equal(value, before[key]), key
    if name.startswith("rs"):
        # What a ranking loss takes from positives it lays on negatives; tasks balanced by value.
        assert found["classification"]["bbox_head"]["ratio"] == pytest.approx(1, abs=0.2)
        assert found["task_shares"]["boxes"] == pytest.approx(0.5)
    if name.startswith("faster"):
        assert set(found["classification"]) == {"rpn_head", "roi_head"}
        # Many more anchors of background than of objects, at random weights.
        assert found["classification"]["rpn_head"]["lowering"] > 0.5
    assert ("iou_before" in found) == (name != "dino_r18_digits")
    if "iou_before" in found:
        assert sum(found["iou_before"]["counts"]) == sum(found["iou_after"]["counts"]) > 0
        shares = found["regression_errors"]
        for key in ("boxes", "L1", "L2"):
            assert sum(shares[key]) == pytest.approx(1)
        # The bins of the histogram are half as wide.
        halves = found["iou_after"]["counts"]
        pairs = [halves[i] + halves[i + 1] for i in range(0, 20, 2)]
        assert shares["boxes"] == pytest.approx([pair / sum(pairs) for pair in pairs])


@pytest.mark.parametrize(("layer", "loss"), [("cls", "loss_cls"), ("reg", "loss_bbox")])
def test_a_detector_that_has_diverged(layer, loss):
    """What is not a number is left out, so that the page and its figures can be written."""
    config, model = build("retinanet_r18_fpn_digits")
    torch.nn.init.constant_(getattr(model.bbox_head, f"retina_{layer}").bias, math.nan)
    images, samples = make_batch((2,), 10, 96, seed=1)
    found = measure_training(model, as_samples(images, samples))
    assert [name for name, mean in found["losses"].items() if mean is None] == [loss]
    assert found["task_shares"] == {}
    assert ("bbox_head" in found["classification"]) == (layer == "reg")
    assert set(found["gradients"]) == set(found["classification"])
    assert ("iou_after" in found) == (layer == "cls")
    objects = as_objects(samples, 96)
    report = {"training": found, "priors": measure_priors(config, model, objects)}
    report |= measure_data(objects)
    json.dumps(report, allow_nan=False)
    page = imbalance_page(report, "digits").render()
    assert "its training has diverged" in page
    assert "not finite" in page


def test_large_errors_of_few_boxes_dominate_l2():
    # The three boxes of thesis Fig. 3.11 in kind: good, middling, bad; two in one bin.
    ious = torch.tensor([0.95, 0.91, 0.55, 0.05, 1.0])
    errors = torch.tensor([[1.0, 1, 1, 1], [0, 2, 0, 2], [5, 5, 0, 0], [-20, 0, 10, 0], [0.0] * 4])
    shares = error_shares(ious, errors)
    l1, l2 = 4 + 4 + 10 + 30, 4 + 8 + 50 + 500
    assert shares["boxes"] == pytest.approx([0.2, 0, 0, 0, 0, 0.2, 0, 0, 0, 0.6])
    assert shares["L1"] == pytest.approx([30 / l1, 0, 0, 0, 0, 10 / l1, 0, 0, 0, 8 / l1])
    assert shares["L2"] == pytest.approx([500 / l2, 0, 0, 0, 0, 50 / l2, 0, 0, 0, 12 / l2])
    # Perfect boxes have no errors to share.
    assert sum(error_shares(ious[:1], errors[4:])["L2"]) == 0


def test_size_that_the_detector_sees():
    def of(*pipeline, wrapped=False):
        dataset = dict(type="CocoDataset", pipeline=list(pipeline))
        dataset = dict(type="RepeatDataset", dataset=dataset) if wrapped else dataset
        return resizing(ConfigDict(train_dataloader=dict(dataset=dataset)))

    keep = dict(type="Resize", scale=(1333, 800), keep_ratio=True)
    assert of(keep)(640, 480) == (1067, 800)
    assert of(keep, wrapped=True)(640, 480) == (1067, 800)
    assert of(dict(type="Resize", scale=(512, 512)))(640, 480) == (512, 512)
    several = dict(type="RandomChoiceResize", scales=[(1333, 640), (1333, 720), (1333, 800)])
    assert of(several | dict(keep_ratio=True))(640, 480) == (960, 720)
    # As mmcv has it.
    assert of(several)(640, 480) == (1333, 720)
    for scale in (640, [640, 640], (640, 640)):
        assert of(dict(type="Resize", scale=scale))(640, 480) == (640, 640)
    assert of(dict(type="RandomFlip"))(640, 480) == (640, 480)
