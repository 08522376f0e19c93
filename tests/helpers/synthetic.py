"""Synthetic images with objects, as a detector takes them."""

import torch
from mmdet.structures import DetDataSample
from mmdet.structures.bbox import bbox_overlaps
from mmengine.structures import InstanceData


def make_sample(boxes, labels, size=64, masks=False):
    """A data sample with the given boxes (n, 4) and labels (n,).

    ``size`` is the side of a square image, or height and width.
    """
    sample = DetDataSample()
    shape = _height_and_width(size)
    sample.set_metainfo(
        dict(
            img_shape=shape, ori_shape=shape, pad_shape=shape, batch_input_shape=shape,
            scale_factor=(1.0, 1.0), img_id=0, img_path="",
        )
    )  # fmt: skip
    boxes = torch.as_tensor(boxes, dtype=torch.float32).reshape(-1, 4)
    instances = InstanceData(bboxes=boxes, labels=torch.as_tensor(labels, dtype=torch.long))
    if masks:
        instances.masks = _boxes_as_masks(boxes, *shape)
    sample.gt_instances = instances
    sample.ignored_instances = InstanceData(
        bboxes=torch.zeros(0, 4), labels=torch.zeros(0, dtype=torch.long)
    )
    return sample


def _height_and_width(size):
    return (size, size) if isinstance(size, int) else tuple(size)


def _boxes_as_masks(boxes, height, width):
    import numpy as np
    from mmdet.structures.mask import BitmapMasks

    bitmaps = np.zeros((len(boxes), height, width), dtype=np.uint8)
    for bitmap, (x1, y1, x2, y2) in zip(bitmaps, boxes.round().int().tolist(), strict=True):
        bitmap[y1:y2, x1:x2] = 1
    return BitmapMasks(bitmaps, height, width)


def make_batch(num_objects, num_classes=4, size=64, masks=False, seed=0):
    """Images (B, 3, H, W) and their samples, with so many objects in each image.

    ``size`` is the side of square images, or height and width.
    """
    gen = torch.Generator().manual_seed(seed)
    height, width = _height_and_width(size)
    sides = torch.tensor([width, height])
    samples = []
    for number in num_objects:
        corner = torch.rand(number, 2, generator=gen) * sides * 0.5
        extent = sides * (0.2 + 0.3 * torch.rand(number, 2, generator=gen))
        boxes = torch.cat([corner, corner + extent], dim=1)
        labels = torch.randint(num_classes, (number,), generator=gen)
        samples.append(make_sample(boxes, labels, size, masks))
    images = torch.randn(len(samples), 3, height, width, generator=gen)
    return images, samples


def make_features(batch, channels=8, sizes=(16, 8, 4), seed=0, **kwargs):
    """Feature maps of a pyramid, requiring a gradient."""
    gen = torch.Generator().manual_seed(seed)
    return tuple(
        torch.randn(batch, channels, size, size, generator=gen, **kwargs).requires_grad_()
        for size in sizes
    )


def check_objects_come_first(results, samples):
    """The surest detections of each image are its objects: their classes, IoU above a half."""
    for result, sample in zip(results, samples, strict=True):
        truth = sample.gt_instances
        best = result[: len(truth)]
        assert sorted(best.labels.tolist()) == sorted(truth.labels.tolist())
        for box, label in zip(truth.bboxes, truth.labels, strict=True):
            found = best.bboxes[best.labels == label]
            assert bbox_overlaps(found, box[None]).max() > 0.5
