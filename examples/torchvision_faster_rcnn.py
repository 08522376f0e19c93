"""torchvision's Faster R-CNN trained by RS Loss on the digits, without MMDetection and samplers.

The two classes below are all that it needs: both stages rank everything that they propose, of all
images together, and balance the box loss by value. What is read, trained and measured by is that
of torchvision_retinanet.py beside this file. `--stock` trains torchvision's own losses instead.

    python tools/make_digits.py --out data/digits
    python examples/torchvision_faster_rcnn.py --data data/digits --iterations 750
"""

import torch
import torchvision_retinanet
from torchvision.models.detection import FasterRCNN
from torchvision.models.detection.anchor_utils import AnchorGenerator
from torchvision.models.detection.backbone_utils import resnet_fpn_backbone
from torchvision.models.detection.faster_rcnn import FastRCNNPredictor, TwoMLPHead
from torchvision.models.detection.roi_heads import RoIHeads
from torchvision.models.detection.rpn import RegionProposalNetwork
from torchvision.ops import MultiScaleRoIAlign, generalized_box_iou_loss

from mmdet_rank.ops import rank_sort_loss

SIZE = torchvision_retinanet.SIZE
RPN_WEIGHT = 0.2  # as in the RS Loss paper


def ious(first, second):
    """IoU of each box with the one in its place; torchvision's is of all with all."""
    corners = torch.min(first[:, 2:], second[:, 2:]) - torch.max(first[:, :2], second[:, :2])
    common = corners.clamp(min=0).prod(dim=1)
    areas = [(boxes[:, 2:] - boxes[:, :2]).prod(dim=1) for boxes in (first, second)]
    return common / (areas[0] + areas[1] - common)


def ranked(logits, targets, places, deltas, goals, coder):
    """RS Loss and the balanced box loss; `places` are those of the positives in flat logits."""
    # IoU and GIoU stay the same when both boxes are seen from an anchor that is the unit square.
    unit = deltas.new_tensor([0.0, 0.0, 1.0, 1.0]).expand(len(deltas), 4)
    boxes, wanted = coder.decode_single(deltas, unit), coder.decode_single(goals, unit)
    targets = targets.to(logits, copy=True).flatten()
    targets[places] = ious(boxes, wanted).detach().clamp(min=1e-6).to(logits)
    logits = logits.flatten()
    ranking, sorting = rank_sort_loss(logits, targets)
    classification = ranking + sorting
    if len(places) == 0:
        return classification, deltas.sum() * 0
    weights = logits[places].detach().sigmoid()
    losses = generalized_box_iou_loss(boxes, wanted)
    loss = (weights * losses).sum() / weights.sum().clamp(min=1e-6)
    return classification, (classification / loss.clamp(min=1e-6)).detach() * loss


class RankRPN(RegionProposalNetwork):
    """Region proposals ranked by RS Loss; all anchors are trained on."""

    def compute_loss(self, objectness, pred_bbox_deltas, labels, regression_targets):
        """See torchvision's own for the arguments: labels are 1, 0 and, for ignored ones, -1."""
        labels, goals = torch.cat(labels), torch.cat(regression_targets)
        places = (labels == 1).nonzero().squeeze(1)
        deltas, goals = pred_bbox_deltas[places], goals[places]
        losses = ranked(objectness, labels, places, deltas, goals, self.box_coder)
        return tuple(RPN_WEIGHT * loss for loss in losses)


class RankRoIHeads(RoIHeads):
    """Classes of all proposals ranked by RS Loss; the column of the background is not used."""

    def subsample(self, labels):
        """Leave no proposal out."""
        return [(each >= 0).nonzero().squeeze(1) for each in labels]

    def forward(self, features, proposals, image_shapes, targets=None):
        """Losses in training, else detections."""
        if not self.training:
            return super().forward(features, proposals, image_shapes)
        proposals, _, labels, goals = self.select_training_samples(proposals, targets)
        pooled = self.box_roi_pool(features, proposals, image_shapes)
        logits, deltas = self.box_predictor(self.box_head(pooled))
        labels, goals = torch.cat(labels), torch.cat(goals)
        positives = (labels > 0).nonzero().squeeze(1)
        classes = labels[positives]
        wanted = torch.zeros_like(logits)
        wanted[:, 0] = -1
        places = positives * logits.shape[1] + classes
        deltas = deltas.view(len(deltas), -1, 4)[positives, classes]
        losses = ranked(logits, wanted, places, deltas, goals[positives], self.box_coder)
        return [], {"loss_classifier": losses[0], "loss_box_reg": losses[1]}

    def postprocess_detections(self, class_logits, box_regression, proposals, image_shapes):
        """Scores are sigmoids, where torchvision takes a softmax over the background too."""
        scores = class_logits[:, 1:].sigmoid()
        number = scores.shape[1]
        # With the rest in the background's column, the softmax of their logs is score / number.
        logs = torch.cat([number - scores.sum(dim=1, keepdim=True), scores], dim=1).log()
        found = super().postprocess_detections(logs, box_regression, proposals, image_shapes)
        return found[0], [number * each for each in found[1]], found[2]


def make_detector(classes, stock=False):
    """A small Faster R-CNN for images of 192 pixels, from random weights."""
    backbone = resnet_fpn_backbone(
        backbone_name="resnet18", weights=None, trainable_layers=5, returned_layers=[2, 3, 4],
        norm_layer=torch.nn.BatchNorm2d,
    )  # fmt: skip
    detector = FasterRCNN(
        backbone,
        rpn_anchor_generator=AnchorGenerator(
            tuple((size,) for size in (16, 32, 64, 128)), ((0.5, 1.0, 2.0),) * 4
        ),
        box_roi_pool=MultiScaleRoIAlign(["0", "1", "2"], output_size=7, sampling_ratio=2),
        box_head=TwoMLPHead(backbone.out_channels * 7 * 7, 256),
        box_predictor=FastRCNNPredictor(256, classes + 1),
        min_size=SIZE, max_size=SIZE, rpn_pre_nms_top_n_train=500, rpn_post_nms_top_n_train=250,
        rpn_pre_nms_top_n_test=500, rpn_post_nms_top_n_test=250, box_score_thresh=0.0,
    )  # fmt: skip
    if not stock:
        # What torchvision has built is kept; methods alone differ.
        detector.rpn.__class__, detector.roi_heads.__class__ = RankRPN, RankRoIHeads
    return detector


if __name__ == "__main__":
    torchvision_retinanet.main(make=make_detector, first_label=1)
