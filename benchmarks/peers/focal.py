"""The score-based loss that one-stage detectors are trained with."""

from torchvision.ops import sigmoid_focal_loss


def focal(logits, targets):
    """torchvision's focal loss on the same logits, positives as its class 1."""
    return sigmoid_focal_loss(logits, (targets > 0).to(logits.dtype), reduction="sum")
