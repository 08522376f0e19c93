"""Facts that decide the settings of a training: those about the data and the machine."""

from __future__ import annotations

import os
import statistics
from dataclasses import dataclass

import numpy as np
import torch

from mmdet_rank.annotations.records import DataSet

#: A GPU below this compute capability has no fast float16.
_TENSOR_CORES = (7, 0)
#: A class of fewer objects does not decide, where there are others.
_HANDFUL = 10


@dataclass(frozen=True)
class DataFacts:
    """Facts about a data set that is split.

    Attributes:
        classes: Names, in the order of the labels.
        num_train: Training pictures that have objects.
        num_empty: Training pictures without objects.
        num_val: Validation pictures.
        num_objects: Training objects.
        long_side: Median of the pictures' longer sides, in pixels.
        small_object: Side, the root of the area, that nine of ten objects exceed, in pixels of a
            picture with that side, for all are brought to one size; of the class whose objects are
            smallest.
        large_object: Side that one of twenty objects exceeds; of the class whose objects are
            largest.
        most_objects: The most objects of a picture.
        has_masks: Whether every training object has a mask.
        set_aside: Classes of too few objects to say how small or large they are.
    """

    classes: tuple[str, ...]
    num_train: int
    num_empty: int
    num_val: int
    num_objects: int
    long_side: int
    small_object: float
    large_object: float
    most_objects: int
    has_masks: bool
    set_aside: tuple[str, ...] = ()


@dataclass(frozen=True)
class Machine:
    """The machine that trains.

    Attributes:
        gpu: Name of the GPU, None without one.
        memory: Of the GPU, in GiB.
        half: Whether the GPU computes faster in float16.
        cores: Of the CPU that this process may use.
    """

    gpu: str | None
    memory: float
    half: bool
    cores: int

    def __str__(self) -> str:
        if self.gpu is None:
            return f"{self.cores} CPU core{'s' * (self.cores != 1)}, no GPU"
        return f"{self.gpu} with {self.memory:.0f} GiB, {self.cores} CPU cores"


def data_facts(data: DataSet) -> DataFacts:
    """Look at the training and validation pictures.

    Args:
        data: A split data set.

    Raises:
        ValueError: If no training picture has an object, or no validation picture.
    """
    for split, kind in (("train", "training"), ("val", "validation")):
        if not any(data.count(split).values()):
            raise ValueError(
                f"Expected objects in the {kind} pictures of {data.root}, but there is none; label "
                "some, or give another split."
            )
    train = data.splits["train"]
    counted = [[o for o in picture.objects if not o.ignored] for picture in train]
    objects = [labelled for labels in counted for labelled in labels]
    longest = [max(picture.width, picture.height) for picture in train]
    long_side = round(statistics.median(longest))
    areas = [labelled.box[2] * labelled.box[3] for labelled in objects]
    scales = long_side / np.repeat(longest, [len(labels) for labels in counted])
    sides = np.sqrt(areas) * scales
    names = np.array([labelled.category for labelled in objects])
    by_class = {str(name): sides[names == name] for name in np.unique(names)}
    # One box that is mislabelled would decide for all others.
    few = [name for name, found in by_class.items() if len(found) < _HANDFUL]
    set_aside = few if len(few) < len(by_class) else []
    judged = [found for name, found in by_class.items() if name not in set_aside]
    with_objects = sum(bool(labels) for labels in counted)
    everywhere = [labels for pictures in data.splits.values() for labels in pictures]
    return DataFacts(
        classes=tuple(data.classes),
        num_train=with_objects,
        num_empty=len(train) - with_objects,
        num_val=len(data.splits["val"]),
        num_objects=len(objects),
        long_side=long_side,
        small_object=min(float(np.quantile(found, 0.1)) for found in judged),
        large_object=max(float(np.quantile(found, 0.95)) for found in judged),
        most_objects=max(len(picture.objects) for picture in everywhere),
        has_masks=all(labelled.segmentation is not None for labelled in objects),
        set_aside=tuple(set_aside),
    )


def this_machine() -> Machine:
    """Look at what this process may use."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    if not torch.cuda.is_available():
        return Machine(None, 0.0, False, cores or 1)
    properties = torch.cuda.get_device_properties(0)
    return Machine(
        properties.name,
        properties.total_memory / 2**30,
        (properties.major, properties.minor) >= _TENSOR_CORES,
        cores or 1,
    )
