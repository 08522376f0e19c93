"""The config that `mmdet-rank train DATA` writes: an ordinary one, whole, with its reasons."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from copy import deepcopy
from pathlib import Path
from typing import Any

from mmengine.config import Config
from mmengine.hub import get_config

from mmdet_rank._mmengine import package_config
from mmdet_rank.cli.config import REMOVED_KEYS, refuse_old_keys
from mmdet_rank.cli.errors import UserError
from mmdet_rank.cli.own_data.detectors import Detector
from mmdet_rank.cli.own_data.plan import MAX_DETS, Plan
from mmdet_rank.cli.train import enable_amp
from mmdet_rank.files import written_whole
from mmdet_rank.visualization.palette import class_colors

_COCO_CLASSES = 80
_META_KEYS = ("img_id", "img_path", "ori_shape", "img_shape", "scale_factor")
#: Folder, in that of `mmdet-rank train`, of checkpoints and MMEngine's logs.
TRAINING = "training"
_WIDTH = 100
#: Boxes that go into NMS, of each level, for one that is kept.
_BEFORE_NMS = 4
_MOST_BEFORE_NMS = 8000
#: Images that are evaluated at once, whatever is trained at once.
_MOST_EVALUATED = 16
#: Parts that MMEngine's runner reads where they are given.
_READ = (
    *("custom_hooks", "custom_imports", "env_cfg", "experiment_name", "load_from", "log_level"),
    *("randomness", "resume", "runner_type", "tta_model", "tta_pipeline", "visualizer"),
    *("compile", "find_unused_parameters", "model_wrapper_cfg", "sync_bn"),
    *("activation_checkpointing", "efficient_conv_bn_eval"),
)
#: Parts that others refer to.
_NAMED = (
    "vis_backends",
    "metainfo",
    "train_pipeline",
    "test_pipeline",
    "val_dataloader",
    "val_evaluator",
)
#: Parts of the config, in this order, each with the comment above it.
_PARTS = {
    "metainfo": "Classes in the order of the labels.",
    "model": "The detector.",
    "train_pipeline": "What happens to an image before it is trained on, and measured on.",
    "test_pipeline": "",
    "train_dataloader": "The data. Pictures are read where they lie.",
    "val_dataloader": "",
    "test_dataloader": "",
    "val_evaluator": "AP and LRP Error.",
    "test_evaluator": "",
    "train_cfg": "The schedule, in iterations.",
    "val_cfg": "",
    "test_cfg": "",
    "optim_wrapper": "",
    "param_scheduler": "",
    "auto_scale_lr": "",
    "default_hooks": "What is logged and kept.",
    "custom_hooks": "",
    "log_processor": "",
    "load_from": "Weights to start from, those of the backbone aside.",
    "randomness": "",
}


def read_config(name: str) -> Config:
    """Read a config that comes with this package, or with ``mmdet::`` one of MMDetection.

    Args:
        name: Relative to the folder ``configs``.
    """
    if name.startswith("mmdet::"):
        return get_config(name)
    return Config.fromfile(package_config(name))


def make_model(cfg: Config, classes: int, base: str) -> dict:
    """The model of a config for other classes.

    Args:
        cfg: A whole config or that of a model.
        classes: How many.
        base: What training starts from: "imagenet" keeps the weights of the backbone.
    """
    model = deepcopy(cfg.model.to_dict())
    for part in _dicts(model):
        if part.get("num_classes") == _COCO_CLASSES:
            part["num_classes"] = classes
    backbone = model["backbone"]
    if base != "imagenet":
        backbone.pop("init_cfg", None)
        if base != "none":
            # A checkpoint gives all weights.
            backbone["init_cfg"] = None
    if base == "none" and "frozen_stages" in backbone:
        backbone.update(frozen_stages=-1, norm_eval=False, init_cfg=None)
    return model


def smallest_stride(model: dict) -> int | None:
    """The smallest stride that has anchors; None for a detector without anchors."""
    strides = [
        min(part["anchor_generator"]["strides"])
        for part in _dicts(model)
        if "octave_base_scale" in part.get("anchor_generator", ())
        or "scales" in part.get("anchor_generator", ())
    ]
    return min(strides) if strides else None


def rpn_stride(model: dict) -> int | None:
    """The largest stride of an RPN; None for a detector without one.

    Its assigner alone gives no anchor to an object that overlaps none by 0.3. Of the others, every
    object has one.
    """
    return max(model["rpn_head"]["anchor_generator"]["strides"]) if "rpn_head" in model else None


def make_config(
    model: dict,
    plan: Plan,
    *,
    detector: Detector,
    optimizer: dict | None,
    hooks: list[dict],
    classes: tuple[str, ...],
    pictures: Path,
    work_dir: Path,
    tested: bool,
    load_from: str | None,
    seed: int,
) -> Config:
    """Put the whole config together.

    Args:
        model: What `make_model` returned.
        plan: The settings.
        detector: What is trained.
        optimizer: The detector's own ``optim_wrapper``; None for AdamW.
        hooks: ``custom_hooks`` that the detector's losses need.
        classes: Names.
        pictures: Folder that the annotation files name pictures in.
        work_dir: Of the training; holds ``annotations/``.
        tested: Whether ``annotations/`` has pictures to test on.
        load_from: Checkpoint to start from.
        seed: Of everything random.
    """
    _set_anchors(model, plan)
    _set_limit(model, plan)
    schedule = read_config("_base_/lite/schedule.py")
    optim = deepcopy(optimizer or schedule.optim_wrapper.to_dict())
    optim["optimizer"]["lr"] = plan.learning_rate
    warmup, cosine = (dict(part) for part in schedule.param_scheduler)
    warmup["end"] = cosine["begin"] = plan.warmup
    cosine.update(end=plan.iterations, T_max=plan.iterations - plan.warmup)
    # Two steps are over before the learning rate has risen.
    falls = [cosine] if plan.iterations > plan.warmup else []
    best = f"coco/{'segm' if detector.masks else 'bbox'}_oLRP"
    runtime = read_config("_base_/lite/runtime.py")
    default_hooks = deepcopy(runtime.default_hooks.to_dict())
    default_hooks["logger"]["interval"] = min(20, max(plan.interval // 5, 1))
    default_hooks["checkpoint"].update(interval=plan.interval, save_best=best, rule="less")
    annotations = work_dir / "annotations"
    pipelines = _pipelines(plan, detector.masks)
    files = {split: annotations / f"{split}.json" for split in ("train", "val", "test")}
    if not tested:
        files["test"] = files["val"]
    loaders = {
        split: _loader(
            plan, classes, file, pictures, pipelines["train" if split == "train" else "val"]
        )
        for split, file in files.items()
    }
    metric: dict[str, Any] = {
        "type": "CocoLRPMetric",
        "metric": ["bbox", "segm"] if detector.masks else "bbox",
    }
    if plan.max_per_image > MAX_DETS:
        metric["max_dets"] = plan.max_per_image
    evaluators = {split: {**metric, "ann_file": str(files[split])} for split in ("val", "test")}
    content = {
        **{key: runtime[key] for key in ("custom_imports", "default_scope", "env_cfg")},
        **{key: runtime[key] for key in ("vis_backends", "log_level")},
        "metainfo": {"classes": classes, "palette": class_colors(len(classes))},
        "model": model,
        "train_pipeline": pipelines["train"],
        "test_pipeline": pipelines["val"],
        "train_dataloader": loaders["train"],
        "val_dataloader": loaders["val"],
        "test_dataloader": loaders["test"],
        "val_evaluator": evaluators["val"],
        "test_evaluator": evaluators["test"],
        "train_cfg": {
            "type": "IterBasedTrainLoop",
            "max_iters": plan.iterations,
            "val_interval": plan.interval,
        },
        "val_cfg": {"type": "ValLoop"},
        "test_cfg": {"type": "TestLoop"},
        "optim_wrapper": optim,
        "param_scheduler": [warmup, *falls],
        "auto_scale_lr": {"enable": False, "base_batch_size": plan.batch_size},
        "default_hooks": default_hooks,
        "custom_hooks": hooks,
        "log_processor": dict(runtime.log_processor),
        "load_from": load_from,
        "resume": False,
        "randomness": {"seed": seed},
        "work_dir": str(work_dir / TRAINING),
    }
    # By its name MMEngine would find the visualizer of an earlier run in the same process.
    content["visualizer"] = {k: v for k, v in dict(runtime.visualizer).items() if k != "name"}
    for part in _dicts(content):
        # What MMDetection's own configs inherit; one scope holds for all here.
        part.pop("_scope_", None)
    cfg = Config(content)
    if plan.half:
        enable_amp(cfg)
    return cfg


def merge_options(cfg: Config, options: dict[str, Any]) -> None:
    """Change settings as the user asks, also where a part is used under another name.

    Args:
        cfg: What `make_config` returned.
        options: Values by the path of their key.

    Raises:
        UserError: A part is neither in the config nor read by MMEngine, or is MMDetection 2's.
    """
    before = cfg.to_dict()
    for option in options:
        first = option.split(".")[0]
        if first not in before and first not in {*_READ, *REMOVED_KEYS}:
            places = [path for path in _paths(before) if path.endswith(f".{option}")]
            advice = f"do you mean {places[0]}?" if places else f"the parts are {', '.join(before)}"
            raise UserError(
                f"Expected settings of the config by --cfg-options, but got {option}, which "
                f"nothing reads; {advice}"
            )
    cfg.merge_from_dict(options)
    content = cfg.to_dict()
    # Whole parts before those within them.
    for name in reversed(_NAMED):
        if content[name] != before[name]:
            others = {key: value for key, value in content.items() if key != name}
            for part in _dicts(others):
                for key, value in part.items():
                    if value == before[name]:
                        part[key] = deepcopy(content[name])
            content |= others
    cfg.merge_from_dict(content)
    refuse_old_keys(cfg, "--cfg-options")
    # What the user says of a part that stands for another's holds too.
    cfg.merge_from_dict(options)


def write_config(path: Path, cfg: Config, plan: Plan, command: str) -> None:
    """Write a config with its reasons, parts in an order that reads well.

    Args:
        path: The file.
        cfg: What `make_config` returned.
        plan: Its settings.
        command: That made it, as the user typed it.
    """
    width = max(len(name) for name, _, _ in plan.reasons)
    lines = [
        f"# Written by: {command}",
        "# Edit what you like, and train again by: mmdet-rank train THIS_FILE --work-dir DIR",
        "#",
        *(f"# {name:<{width}}  {value}: {reason}" for name, value, reason in plan.reasons),
        "",
    ]
    content = cfg.to_dict()
    names: list[tuple[Any, str]] = []
    for key in [*(key for key in content if key not in _PARTS), *_PARTS]:
        if _PARTS.get(key):
            lines += ["", f"# {_PARTS[key]}"]
        lines.append(f"{key} = {as_python(content[key], len(key) + 3, names=names)}")
        if key in _NAMED:
            names.append((content[key], key))
    with written_whole(path) as temporary:
        temporary.write_text("\n".join([*lines, ""]), encoding="utf-8")


def as_python(
    value: Any, used: int = 0, indent: int = 0, names: Sequence[tuple[Any, str]] = ()
) -> str:
    """Write a value as in a config: on one line where it fits, else a line for each entry.

    Args:
        value: Of dicts, lists, tuples, numbers, texts, truth values and None.
        used: Columns of the line that are taken already.
        indent: Of the line.
        names: Values that are written by their names.

    Example:
        >>> as_python({"type": "Resize", "scale": (320, 320)})
        "dict(type='Resize', scale=(320, 320))"
    """
    if not isinstance(value, (dict, list, tuple)):
        return repr(value)
    for known, name in names:
        if value == known:
            return name
    plain = isinstance(value, dict) and all(str(key).isidentifier() for key in value)
    if isinstance(value, dict):
        heads = [f"{key}=" if plain else f"{key!r}: " for key in value]
        opening, closing = ("dict(", ")") if plain else ("{", "}")
        parts = list(value.values())
    else:
        heads = [""] * len(value)
        opening, closing = ("(", ")") if isinstance(value, tuple) else ("[", "]")
        parts = list(value)
    inner = [head + as_python(part, names=names) for head, part in zip(heads, parts, strict=True)]
    comma = "," if isinstance(value, tuple) and len(value) == 1 else ""
    line = f"{opening}{', '.join(inner)}{comma}{closing}"
    if used + len(line) < _WIDTH and "\n" not in line:
        return line
    space = " " * (indent + 4)
    entries = [
        f"{space}{head}{as_python(part, indent + 5 + len(head), indent + 4, names)},"
        for head, part in zip(heads, parts, strict=True)
    ]
    return "\n".join([opening, *entries, " " * indent + closing])


def _pipelines(plan: Plan, masks: bool) -> dict[str, list[dict]]:
    load: list[dict] = [{"type": "LoadImageFromFile"}]
    labels: dict[str, Any] = {"type": "LoadAnnotations", "with_bbox": True}
    if masks:
        labels["with_mask"] = True
    size = (plan.image_size, plan.image_size)
    resize = {"type": "Resize", "scale": size, "keep_ratio": True}
    flip = [{"type": "RandomFlip", "prob": 0.5}] if plan.flip else []
    return {
        "train": [*load, labels, resize, *flip, {"type": "PackDetInputs"}],
        "val": [*load, resize, labels, {"type": "PackDetInputs", "meta_keys": _META_KEYS}],
    }


def _loader(
    plan: Plan, classes: tuple[str, ...], ann_file: Path, pictures: Path, pipeline: list[dict]
) -> dict:
    train = ann_file.stem == "train"
    dataset: dict[str, Any] = {
        "type": "CocoDataset",
        "metainfo": {"classes": classes, "palette": class_colors(len(classes))},
        "ann_file": str(ann_file),
        "data_prefix": {"img": str(pictures)},
        "pipeline": pipeline,
    }
    dataset |= {"filter_cfg": {"filter_empty_gt": True}} if train else {"test_mode": True}
    sampler = {"type": "InfiniteSampler" if train else "DefaultSampler", "shuffle": train}
    return {
        "batch_size": plan.batch_size if train else min(plan.batch_size, _MOST_EVALUATED),
        "num_workers": plan.workers,
        "persistent_workers": True,
        "sampler": sampler,
        "dataset": dataset,
    }


def _set_anchors(model: dict, plan: Plan) -> None:
    if plan.anchor_scale is None:
        return
    for part in _dicts(model):
        generator = part.get("anchor_generator", {})
        if "octave_base_scale" in generator:
            generator["octave_base_scale"] = plan.anchor_scale
        elif "scales" in generator:
            generator["scales"] = [plan.anchor_scale]
    if plan.more_levels:
        # Levels share their weights, so that those of a checkpoint fit as before.
        strides = model["rpn_head"]["anchor_generator"]["strides"]
        last = strides[-1]
        strides += [last * 2**level for level in range(1, plan.more_levels + 1)]
        model["neck"]["num_outs"] += plan.more_levels


def _set_limit(model: dict, plan: Plan) -> None:
    """Keep as many detections as the fullest picture needs, in all stages that leave some out."""
    test = model["test_cfg"].get("rcnn", model["test_cfg"])
    test["max_per_img"] = max(test["max_per_img"], plan.max_per_image)
    if plan.max_per_image <= MAX_DETS:
        return
    for stage in filter(None, [model["test_cfg"], model["test_cfg"].get("rpn")]):
        if "nms_pre" in stage:
            # Several boxes of each object, which NMS makes one of.
            most = min(_BEFORE_NMS * plan.max_per_image, _MOST_BEFORE_NMS)
            stage["nms_pre"] = max(stage["nms_pre"], most)
            stage["max_per_img"] = max(stage["max_per_img"], min(plan.max_per_image, most))


def _paths(value: Any, prefix: str = "") -> Iterator[str]:
    """Paths of all keys of nested dicts."""
    if isinstance(value, dict):
        for key, part in value.items():
            yield f"{prefix}{key}"
            yield from _paths(part, f"{prefix}{key}.")


def _dicts(value: Any) -> Iterator[dict]:
    """All dicts in nested dicts and lists."""
    if isinstance(value, dict):
        yield value
        value = list(value.values())
    if isinstance(value, (list, tuple)):
        for part in value:
            yield from _dicts(part)
