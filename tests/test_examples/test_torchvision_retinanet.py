"""The example of a torchvision detector: no MMDetection, and losses that are what they say."""

import importlib.util
import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from PIL import Image

from mmdet_rank.ops import rank_sort_loss

ROOT = Path(__file__).resolve().parents[2]
FILE = ROOT / "examples" / "torchvision_retinanet.py"


def load():
    spec = importlib.util.spec_from_file_location("torchvision_retinanet", FILE)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


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


def test_it_runs_without_mmdetection(tmp_path):
    write_data(tmp_path / "digits")
    script = (
        f"import sys, runpy; sys.argv = ['x', '--data', r'{tmp_path / 'digits'}', '--iterations', "
        f"'2']\nrunpy.run_path(r'{FILE}', run_name='__main__')\n"
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


def test_a_batch_without_objects_has_a_loss(tmp_path):
    example = load()
    detector = example.make_detector(2).train()
    empty = {"boxes": torch.zeros(0, 4), "labels": torch.zeros(0, dtype=torch.long)}
    losses = detector([torch.rand(3, 192, 192)] * 2, [empty] * 2)
    assert [value.item() for value in losses.values()] == [0.0, 0.0]
    sum(losses.values()).backward()
