"""torchvision's RetinaNet trained by RS Loss on the digits, without MMDetection.

The class below is all that one's own detector needs: collect logits and targets of all levels and
images, rank them together, and balance the box loss by value. `--stock` trains torchvision's own
loss instead, by the same budget.

    python tools/make_digits.py --out data/digits
    python examples/torchvision_retinanet.py --data data/digits --iterations 750
"""

import argparse
import json
from pathlib import Path

import torch
from PIL import Image
from torchvision.models.detection import RetinaNet
from torchvision.models.detection.anchor_utils import AnchorGenerator
from torchvision.models.detection.backbone_utils import resnet_fpn_backbone
from torchvision.ops import box_iou, generalized_box_iou_loss
from torchvision.transforms.v2.functional import pil_to_tensor

from mmdet_rank.evaluation.coco import evaluate_coco
from mmdet_rank.evaluation.report import class_table, summary_table
from mmdet_rank.ops import rank_sort_loss

SIZE = 192


class RankRetinaNet(RetinaNet):
    """RetinaNet whose classification is trained by RS Loss, its boxes by GIoU."""

    def compute_loss(self, targets, head_outputs, anchors):
        """Rank the logits of all anchors of the batch; see torchvision's own for the arguments."""
        logits, deltas = head_outputs["cls_logits"], head_outputs["bbox_regression"]
        ranked = torch.zeros_like(logits)  # 0: negative
        found, wanted, scores = [], [], []
        for i, (target, priors) in enumerate(zip(targets, anchors, strict=True)):
            if len(target["boxes"]) == 0:
                continue
            matched = self.proposal_matcher(box_iou(target["boxes"], priors))
            ranked[i, matched == self.proposal_matcher.BETWEEN_THRESHOLDS] = -1  # ignored
            places = (matched >= 0).nonzero().squeeze(1)
            labels, goals = (target[key][matched[places]] for key in ("labels", "boxes"))
            boxes = self.box_coder.decode_single(deltas[i, places], priors[places])
            quality = box_iou(boxes.detach(), goals).diagonal()
            ranked[i, places, labels] = quality.clamp(min=1e-6).to(ranked)  # positive: its IoU
            found.append(boxes)
            wanted.append(goals)
            scores.append(logits[i, places, labels].detach().sigmoid())
        ranking, sorting = rank_sort_loss(logits.flatten(), ranked.flatten())
        classification = ranking + sorting
        if not found:
            return {"classification": classification, "bbox_regression": deltas.sum() * 0}
        weights = torch.cat(scores)
        boxes = generalized_box_iou_loss(torch.cat(found), torch.cat(wanted))
        loss = (weights * boxes).sum() / weights.sum().clamp(min=1e-6)
        balance = (classification / loss.clamp(min=1e-6)).detach()
        return {"classification": classification, "bbox_regression": balance * loss}


def make_detector(classes, stock=False):
    """A small RetinaNet for images of 192 pixels, from random weights."""
    backbone = resnet_fpn_backbone(
        backbone_name="resnet18", weights=None, trainable_layers=5, returned_layers=[2, 3, 4],
        norm_layer=torch.nn.BatchNorm2d, extra_blocks=None,
    )  # fmt: skip
    sizes = tuple((size, size * 1.26, size * 1.59) for size in (16, 32, 64, 128))
    anchors = AnchorGenerator(sizes, ((0.5, 1.0, 2.0),) * 4)
    options = dict(anchor_generator=anchors, min_size=SIZE, max_size=SIZE, score_thresh=0.0)
    kind = RetinaNet if stock else RankRetinaNet
    return kind(backbone, num_classes=classes, detections_per_img=100, **options)


def read_split(root, split, first_label=0):
    """Images as tensors with torchvision's targets, and the content of the annotation file."""
    truth = json.loads((root / f"annotations/instances_{split}.json").read_text())
    labels = {c["id"]: label for label, c in enumerate(truth["categories"], start=first_label)}
    samples = []
    for image in truth["images"]:
        own = [a for a in truth["annotations"] if a["image_id"] == image["id"]]
        boxes = torch.tensor([a["bbox"] for a in own], dtype=torch.float32).reshape(-1, 4)
        boxes[:, 2:] += boxes[:, :2]
        target = {"boxes": boxes, "labels": torch.tensor([labels[a["category_id"]] for a in own])}
        pixels = pil_to_tensor(Image.open(root / split / image["file_name"]).convert("RGB")) / 255
        samples.append((pixels, target))
    return samples, truth


def train(detector, samples, iterations, batch=8, lr=1e-3):
    """Train by AdamW, the learning rate down along a cosine; gives the losses."""
    device = next(detector.parameters()).device
    optimizer = torch.optim.AdamW(detector.parameters(), lr=lr, weight_decay=0.05)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, lr, iterations + 1, pct_start=0.1)
    detector.train()
    for step in range(iterations):
        chosen = [samples[i] for i in torch.randint(len(samples), (batch,)).tolist()]
        images = [pixels.to(device) for pixels, _ in chosen]
        targets = [{key: value.to(device) for key, value in t.items()} for _, t in chosen]
        losses = detector(images, targets)
        optimizer.zero_grad()
        sum(losses.values()).backward()
        torch.nn.utils.clip_grad_norm_(detector.parameters(), 10.0)
        optimizer.step()
        schedule.step()
        if step % 50 == 0 or step == iterations - 1:
            print(step, {key: round(value.item(), 4) for key, value in losses.items()}, flush=True)


@torch.no_grad()
def detect(detector, samples, truth, first_label=0):
    """COCO's results."""
    device = next(detector.parameters()).device
    detector.eval()
    results = []
    for image, (pixels, _) in zip(truth["images"], samples, strict=True):
        (found,) = detector([pixels.to(device)])
        found["boxes"][:, 2:] -= found["boxes"][:, :2]
        columns = (found[key].tolist() for key in ("boxes", "scores", "labels"))
        for box, score, label in zip(*columns, strict=True):
            category = truth["categories"][label - first_label]["id"]
            entry = {"image_id": image["id"], "category_id": category, "bbox": box, "score": score}
            results.append(entry)
    return results


def main(argv=None, make=make_detector, first_label=0):
    """Train, detect, and print AP and LRP Error."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, default=Path("data/digits"))
    parser.add_argument("--iterations", type=int, default=750)
    parser.add_argument("--stock", action="store_true", help="torchvision's own losses")
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args(argv)
    torch.manual_seed(args.seed)
    samples, truth = read_split(args.data, "train", first_label)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    detector = make(len(truth["categories"]), args.stock).to(device)
    train(detector, samples, args.iterations)
    samples, truth = read_split(args.data, "val", first_label)
    results = detect(detector, samples, truth, first_label)
    report = evaluate_coco(truth, results, "bbox").report()
    print(class_table(report))
    print(summary_table(report))
    return report


if __name__ == "__main__":
    main()
