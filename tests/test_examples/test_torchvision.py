"""The examples of torchvision detectors: no MMDetection, and losses that are what they say."""

import importlib
import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from PIL import Image
from torchvision.models.detection._utils import BoxCoder
from torchvision.ops import box_iou

from mmdet_rank.ops import rank_sort_loss

ROOT = Path(__file__).resolve().parents[2]
EXAMPLES = ROOT / "examples"


@pytest.fixture(autouse=True)
def examples(monkeypatch):
    """One example imports the other, as scripts beside each other do."""
    monkeypatch.syspath_prepend(str(EXAMPLES))


def load(name="torchvision_retinanet"):
    return importlib.import_module(name)


def write_data(root):
    """Two pictures with three objects for each split."""
    (root / "annotations").mkdir(parents=True)
    boxes = [[20, 30, 40, 50], [90, 100, 60, 40], [10, 80, 30, 30]]
    truth = {
        "images": [{"id": i, "file_name": f"{i}.png", "width": 192, "height": 192} for i in (4, 7)],
        "categories": [{"id": 3, "name": "a"}, {"id": 5, "name": "b"}],
        "annotations": [
            {"id": i + 1, "image_id": 4 + 3 * (i > 1), "category_id": 3 + 2 * (i % 2)}
            | {"bbox": box, "area": box[2] * box[3], "iscrowd": 0}
            for i, box in enumerate(boxes)
        ],
    }
    for split in ("train", "val"):
        (root / split).mkdir()
        for image in truth["images"]:
            Image.new("RGB", (192, 192), (90, 20 * image["id"], 30)).save(
                root / split / image["file_name"]
            )
        (root / f"annotations/instances_{split}.json").write_text(json.dumps(truth))
    return root


@pytest.mark.parametrize("name", ["torchvision_retinanet", "torchvision_faster_rcnn"])
def test_it_runs_without_mmdetection(tmp_path, name):
    write_data(tmp_path / "digits")
    arguments = ["x", "--data", str(tmp_path / "digits"), "--iterations", "2"]
    script = (
        f"import sys, runpy; sys.argv = {arguments!r}; sys.path.insert(0, {str(EXAMPLES)!r})\n"
        f"runpy.run_path({str(EXAMPLES / name) + '.py'!r}, run_name='__main__')\n"
        "print('loaded', sorted({m.partition('.')[0] for m in sys.modules} & "
        "{'mmdet', 'mmengine', 'mmcv'}))"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=False, cwd=ROOT
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == "loaded []"
    assert "oLRP" in done.stdout


def test_losses_are_those_of_all_anchors_of_the_batch(tmp_path):
    example = load()
    torch.manual_seed(0)
    detector = example.make_detector(2).train()
    samples, _ = example.read_split(write_data(tmp_path / "digits"), "train")
    assert [target["labels"].tolist() for _, target in samples] == [[0, 1], [0]]
    images = [pixels for pixels, _ in samples]
    targets = [target for _, target in samples]
    seen = {}
    original = detector.compute_loss

    def spy(targets, head_outputs, anchors):
        seen.update(targets=targets, anchors=anchors, **head_outputs)
        return original(targets, head_outputs, anchors)

    detector.compute_loss = spy
    losses = detector(images, targets)
    # One by one, by torchvision's own matching.
    wanted = torch.zeros_like(seen["cls_logits"])
    for i, (target, priors) in enumerate(zip(seen["targets"], seen["anchors"], strict=True)):
        ious = example.box_iou(target["boxes"], priors)
        for place, match in enumerate(detector.proposal_matcher(ious).tolist()):
            if match == -2:
                wanted[i, place] = -1
            elif match >= 0:
                delta = seen["bbox_regression"][i, place : place + 1]
                box = detector.box_coder.decode_single(delta, priors[place : place + 1])
                iou = example.box_iou(box, target["boxes"][match : match + 1]).item()
                wanted[i, place, target["labels"][match]] = max(iou, 1e-6)
    assert (wanted > 0).sum() > 3
    ranking, sorting = rank_sort_loss(seen["cls_logits"].flatten(), wanted.flatten())
    assert losses["classification"].item() == pytest.approx((ranking + sorting).item(), rel=1e-5)
    # Balanced by value.
    assert losses["bbox_regression"].item() == pytest.approx(losses["classification"].item())
    sum(losses.values()).backward()
    missing = [name for name, p in detector.named_parameters() if p.grad is None]
    assert missing == []


def test_both_stages_rank_all_that_they_propose(tmp_path, monkeypatch):
    """One by one in pixels, where the example compares boxes as their anchors see them."""
    example = load("torchvision_faster_rcnn")
    torch.manual_seed(0)
    detector = example.make_detector(2).train()
    split = write_data(tmp_path / "digits"), "train", 1
    samples, _ = example.torchvision_retinanet.read_split(*split)
    assert [target["labels"].tolist() for _, target in samples] == [[1, 2], [1]]
    seen, original = [], example.ranked

    def spy(logits, targets, places, deltas, goals, coder):
        losses = original(logits, targets, places, deltas, goals, coder)
        seen.append((logits, targets, places, deltas, goals, coder, losses))
        return losses

    priors = {}
    encode = BoxCoder.encode

    def note(self, boxes, anchors):
        priors[self.weights] = torch.cat(list(anchors))
        return encode(self, boxes, anchors)

    monkeypatch.setattr(example, "ranked", spy)
    monkeypatch.setattr(BoxCoder, "encode", note)
    losses = detector([pixels for pixels, _ in samples], [target for _, target in samples])
    proposals, classes = seen
    # Every anchor has a logit, and so has every proposal, with the objects themselves.
    assert len(proposals[1]) == len(priors[proposals[5].weights])
    assert classes[1].shape == (len(priors[classes[5].weights]), 3)
    assert len(classes[1]) > 200
    # The background's column is not ranked.
    assert (classes[1][:, 0] == -1).all()
    for (logits, targets, places, deltas, goals, coder, found), columns in zip(
        seen, (1, 3), strict=True
    ):
        assert len(places) > 1
        anchors = priors[coder.weights][places // columns]
        boxes, wanted = coder.decode_single(deltas, anchors), coder.decode_single(goals, anchors)
        quality = box_iou(boxes, wanted).diagonal().detach().clamp(min=1e-6)
        expected = targets.to(logits, copy=True).flatten()
        expected[places] = quality
        ranking, sorting = rank_sort_loss(logits.flatten(), expected)
        assert found[0].item() == pytest.approx((ranking + sorting).item(), rel=1e-4)
        # Balanced by value.
        assert found[1].item() == pytest.approx(found[0].item())
    assert losses["loss_objectness"].item() == pytest.approx(0.2 * proposals[6][0].item())
    assert losses["loss_classifier"].item() == pytest.approx(classes[6][0].item())
    sum(losses.values()).backward()
    missing = [name for name, p in detector.named_parameters() if p.grad is None]
    assert missing == []


def test_scores_are_those_of_each_class_alone():
    example = load("torchvision_faster_rcnn")
    torch.manual_seed(0)
    heads = example.make_detector(2).eval().roi_heads
    heads.nms_thresh = 1.1
    logits = torch.tensor([[9.0, -1.0, 2.0], [-9.0, 0.5, -3.0]])
    boxes = [torch.tensor([[10.0, 10, 60, 50], [70, 80, 120, 160]])]
    _, (scores,), (labels,) = heads.postprocess_detections(
        logits, torch.zeros(2, 12), boxes, [(192, 192)]
    )
    expected = sorted(zip(logits[:, 1:].sigmoid().flatten().tolist(), [1, 2, 1, 2], strict=True))
    assert labels.tolist() == [label for _, label in reversed(expected)]
    assert scores.tolist() == pytest.approx([score for score, _ in reversed(expected)], rel=1e-5)


@pytest.mark.parametrize("name", ["torchvision_retinanet", "torchvision_faster_rcnn"])
def test_the_stock_detector_has_losses_of_its_own(name):
    detector = load(name).make_detector(2, stock=True).train()
    boxes = torch.tensor([[20.0, 30, 60, 80]])
    targets = [{"boxes": boxes, "labels": torch.tensor([1])}] * 2
    losses = detector([torch.rand(3, 192, 192)] * 2, targets)
    # Balanced ones would be equal.
    assert len({round(value.item(), 4) for value in losses.values()}) == len(losses)


@pytest.mark.parametrize("name", ["torchvision_retinanet", "torchvision_faster_rcnn"])
def test_a_batch_without_objects_has_a_loss(name):
    detector = load(name).make_detector(2).train()
    empty = {"boxes": torch.zeros(0, 4), "labels": torch.zeros(0, dtype=torch.long)}
    losses = detector([torch.rand(3, 192, 192)] * 2, [empty] * 2)
    assert {value.item() for value in losses.values()} == {0.0}
    sum(losses.values()).backward()
