"""The settings of a training, each with the reason for it."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

from mmdet_rank.cli.own_data.facts import DataFacts, Machine

#: Learning rate of AdamW for 8 images, as in ``configs/_base_/lite/schedule.py``.
BASE_LR, BASE_BATCH = 0.001, 8
#: Pixels that a small object should have at least on the image that the detector sees.
_SMALL = 16
_STEP = 32
_EPOCHS = 40
#: Detections of an image that COCO's evaluation counts of each class.
MAX_DETS = 100
#: Names whose objects a mirror turns into others.
_SIDES = ("left", "right")
_DIGITS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")


@dataclass
class Plan:
    """Settings of a training.

    Attributes:
        image_size: Longest side of the images, in pixels.
        anchor_scale: Smallest anchor over the smallest stride; None for detectors without anchors.
        more_levels: Levels, each of twice the stride, that an RPN gets beyond its own.
        batch_size: Images per step.
        learning_rate: By the linear rule.
        iterations: Steps.
        interval: Steps between two evaluations.
        warmup: Steps in which the learning rate rises.
        half: Whether to train in mixed precision.
        workers: Processes that load images.
        flip: Whether images are mirrored.
        max_per_image: Detections of an image that are kept, and that figures count of each class.
        reasons: Setting, value and reason, each a text.
    """

    image_size: int
    anchor_scale: float | None
    more_levels: int
    batch_size: int
    learning_rate: float
    iterations: int
    interval: int
    warmup: int
    half: bool
    workers: int
    flip: bool
    max_per_image: int
    reasons: list[tuple[str, str, str]] = field(default_factory=list)


def make_plan(
    data: DataFacts,
    machine: Machine,
    *,
    smallest_stride: int | None,
    rpn_stride: int | None = None,
    lr: float = BASE_LR,
    lr_batch: int = BASE_BATCH,
    max_iters: int | None = None,
    batch_size: int | None = None,
    amp: bool = False,
) -> Plan:
    """Choose the settings.

    Args:
        data: Facts about the data.
        machine: What trains.
        smallest_stride: Of the levels that have anchors; None without anchors.
        rpn_stride: The largest stride of an RPN; None without one.
        lr: The detector's learning rate.
        lr_batch: The batch that it belongs to.
        max_iters: Steps that the user asks for.
        batch_size: Images per step that the user asks for.
        amp: Whether the user asks for mixed precision.
    """
    reasons: list[tuple[str, str, str]] = []

    def choose(name: str, value: object, reason: str) -> None:
        reasons.append((name, str(value), reason))

    choose("classes", len(data.classes), _listed(data.classes))
    size, why = _image_size(data, machine)
    choose("image size", f"{size} px", why)
    scale, more_levels = None, 0
    if smallest_stride is not None:
        side = data.small_object * size / data.long_side
        scale = float(min(max(round(side / smallest_stride), 2), 8))
        choose(
            "smallest anchor",
            f"{scale * smallest_stride:g} px",
            f"of every class, nine of ten objects are larger than {side:.0f} px at that size"
            f"{_except(data.set_aside)}",
        )
    if scale is not None and rpn_stride is not None:
        large = data.large_object * size / data.long_side
        more_levels = _more_levels(large, scale, rpn_stride, size)
        if more_levels:
            choose(
                "largest anchor",
                f"{scale * rpn_stride * 2**more_levels:g} px",
                f"of a class, one of twenty objects is larger than {large:.0f} px at that size; "
                f"the RPN's own end at {scale * rpn_stride:g} px",
            )
    batch = batch_size or _batch_size(data, machine, size)
    why = f"{data.num_train} training pictures with objects; {machine}"
    choose("batch", batch, "as asked for by --cfg-options" if batch_size else why)
    rate = lr * batch / lr_batch
    choose("learning rate", f"{rate:g}", f"linear rule: {lr:g} belongs to {lr_batch} images")
    iterations, why = _iterations(data, machine, batch, max_iters)
    choose("iterations", iterations, why)
    interval = max(math.ceil(iterations / 5), min(25, iterations))
    choose("evaluation", f"every {interval}", _on_pictures(data.num_val))
    half = amp or (machine.half and machine.gpu is not None)
    choose("mixed precision", "yes" if half else "no", _why_half(machine, amp))
    flip, why = _flip(data.classes)
    choose("mirrored images", "half" if flip else "none", why)
    if data.num_empty:
        choose("empty pictures", data.num_empty, "have no objects and are not trained on")
    most = max(MAX_DETS, math.ceil(1.5 * data.most_objects))
    if most > MAX_DETS:
        why = f"a picture has {data.most_objects} objects; AP and LRP Error count as many"
        choose("detections kept", most, f"{why}, and more go into NMS")
    return Plan(
        image_size=size,
        anchor_scale=scale,
        more_levels=more_levels,
        batch_size=batch,
        learning_rate=rate,
        iterations=iterations,
        interval=interval,
        # MMEngine's LinearLR needs two steps to arrive.
        warmup=min(50, max(iterations // 10, 2)),
        half=half,
        workers=min(4, max(machine.cores // 2, 1)),
        flip=flip,
        max_per_image=most,
        reasons=reasons,
    )


def _image_size(data: DataFacts, machine: Machine) -> tuple[int, str]:
    """The longest side, so that small objects stay visible within what the machine can bear."""
    low, high = (640, 1280) if machine.gpu else (320, 640)
    wanted = data.long_side * _SMALL / data.small_object
    # Pictures may be enlarged to twice their size for the sake of small objects, no further.
    size = min(max(wanted, min(low, data.long_side)), high, 2 * data.long_side)
    size = max(math.ceil(size / _STEP) * _STEP, 2 * _STEP)
    side = data.small_object * size / data.long_side
    return size, (
        f"pictures have {data.long_side} px; the smaller objects keep {side:.0f} px; "
        f"{'a GPU' if machine.gpu else 'a CPU'} can do {high}"
    )


def _more_levels(large: float, scale: float, stride: int, size: int) -> int:
    """How many levels an RPN lacks for anchors of which large objects fill no more than twice."""
    more = 0
    while scale * stride < large / math.sqrt(2) and 2 * stride <= size:
        stride *= 2
        more += 1
    return more


def _batch_size(data: DataFacts, machine: Machine, size: int) -> int:
    most = 8
    if machine.gpu is not None:
        # About 0.4 GiB for an image of 640 x 640 in float32, and the optimizer beside it.
        fitting = 0.6 * machine.memory / (0.4 * (size / 640) ** 2)
        most = 16 if fitting >= 16 else 8 if fitting >= 8 else 4
    while most > 2 and most > data.num_train:
        most //= 2
    return most


def _iterations(
    data: DataFacts, machine: Machine, batch: int, asked: int | None
) -> tuple[int, str]:
    if asked is not None:
        return asked, "as asked for by --max-iters"
    low, high = (600, 12_000) if machine.gpu else (150, 400)
    wanted = math.ceil(_EPOCHS * data.num_train / batch)
    chosen = min(max(wanted, low), high)
    device = "a GPU" if machine.gpu else "a CPU"
    bound = f", within {low} and {high:,} on {device}" if chosen != wanted else ""
    return chosen, f"{_seen(chosen * batch, data.num_train)}{bound}"


def _seen(images: int, pictures: int) -> str:
    """How often a training of some images shows the pictures.

    Example:
        >>> _seen(3200, 800), _seen(3200, 90_000)
        ('each picture is seen 4 times', '3,200 of 90,000 pictures are seen')
    """
    if images < pictures:
        return f"{images:,} of {pictures:,} pictures are seen"
    times = round(images / pictures)
    return f"each picture is seen {'once' if times == 1 else f'{times} times'}"


def _why_half(machine: Machine, asked: bool) -> str:
    if asked:
        return "as asked for by --amp"
    if machine.gpu is None:
        return "a CPU gains nothing by it unless it computes in bfloat16 (--amp)"
    return "the GPU is faster in float16" if machine.half else "the GPU is no faster in float16"


def _flip(classes: tuple[str, ...]) -> tuple[bool, str]:
    for name in classes:
        words = name.lower().replace("-", " ").replace("_", " ").split()
        if any(side in words for side in _SIDES):
            return False, f"a mirror turns {name!r} into another class"
    if any(len(name) == 1 for name in classes):
        return False, "classes of one letter may be letters or digits, which a mirror breaks"
    if all(name.isdecimal() or name.lower() in _DIGITS for name in classes):
        return False, "classes are numbers, which a mirror breaks"
    return True, "doubles what there is to see"


def _on_pictures(number: int) -> str:
    return f"a few times, on {number} picture{'s' * (number != 1)}"


def _except(classes: tuple[str, ...]) -> str:
    return f"; too few to count: {_listed(classes)}" if classes else ""


def _listed(names: tuple[str, ...], most: int = 6) -> str:
    return ", ".join(names[:most]) + (f" and {len(names) - most} more" if len(names) > most else "")
