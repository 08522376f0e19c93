"""`mmdet-rank train DATA`: what it does, step by step."""

from __future__ import annotations

import argparse
import glob
import hashlib
import os
import shlex
import sys
from pathlib import Path
from typing import Any

import mmdet_rank.register  # noqa: F401

from mmdet_rank.annotations.conversion import Conversion, check_there, convert_data
from mmdet_rank.annotations.pictures import CONVERSION, list_files
from mmdet_rank.cli.checkpoints import find_latest
from mmdet_rank.cli.commands.train import OF_DATA
from mmdet_rank.cli.errors import UserError, explained, interruptible, refused_input
from mmdet_rank.cli.own_data import start
from mmdet_rank.cli.own_data.config import (
    TRAINING,
    make_config,
    make_model,
    merge_options,
    read_config,
    rpn_stride,
    smallest_stride,
    write_config,
)
from mmdet_rank.cli.own_data.detectors import BASES, Detector, check_base, find_detector
from mmdet_rank.cli.own_data.facts import DataFacts, data_facts, this_machine
from mmdet_rank.cli.own_data.moved import make_own, settle
from mmdet_rank.cli.own_data.plan import BASE_BATCH, BASE_LR, make_plan
from mmdet_rank.cli.own_data.report import training_advice, write_report
from mmdet_rank.cli.own_data.training import BEST, HOW_TO_END, LOG, run
from mmdet_rank.evaluation.report import class_table, percent
from mmdet_rank.files import load_json, write_json
from mmdet_rank.models.backbones.efficientnet_lite0 import WEIGHTS, load_package_weights

STATE = "annotations/training.json"
#: Files of a training in its folder, of names that others have too.
_WRITTEN = ("config.py", "report.html", "lrp.json", "thresholds.json")
#: Arguments that decide what is prepared, with their defaults.
_DECISIVE = {**OF_DATA, "amp": False, "cfg_options": None}


def train_on_data(args: argparse.Namespace) -> None:
    """Train on a data set.

    Args:
        args: The arguments of ``mmdet-rank train``; ``config`` is the data.

    Raises:
        UserError: The data, the weights or the folder do not allow it.
    """
    detector = find_detector(args.detector)
    name = f"{detector.name}_{_name_of_data(Path(args.config).resolve())}"
    folder = Path(args.work_dir or Path("work_dirs", name))
    folder = folder.absolute()
    state = _read_state(args, folder) if args.resume else _prepare(args, detector, folder)
    commands = _next_commands(folder, Path(state["pictures"]))
    print(f"Training; its whole output is in {folder / LOG}", flush=True)
    report = run(folder / "config.py", resume=args.resume, trust=args.trust_checkpoint)
    with interruptible(lambda: HOW_TO_END), explained("The training is done, but not its page"):
        advice = training_advice(folder, state["iou_type"])
        page = write_report(
            folder,
            title=f"{state['detector']} on {Path(state['data']).name}",
            pictures=Path(state["pictures"]),
            report=report,
            iou_type=state["iou_type"],
            choices=state["choices"],
            read=state["read"],
            commands=commands,
            advice=advice,
        )
    _conclude(page, report, commands, advice)


def _name_of_data(path: Path) -> str:
    """Name a data set by its folder, or by its file unless all are called like that.

    Example:
        >>> _name_of_data(Path("cells/data.yaml")), _name_of_data(Path("cells/valid.json"))
        ('cells', 'valid')
    """
    if path.suffix not in (".json", ".yaml", ".yml"):
        return path.name
    return path.parent.name if path.stem in ("data", "dataset") else path.stem


def _prepare(args: argparse.Namespace, detector: Detector, folder: Path) -> dict:
    """Convert, choose and write everything that comes before the training."""
    base = check_base(detector, args.base)
    if args.max_iters is not None and args.max_iters < 1:
        raise UserError(
            f"Expected --max-iters of 1 or more, but got {args.max_iters}; leave it out"
        )
    if "work_dir" in (args.cfg_options or {}):
        raise UserError(
            "Expected the folder of the training by --work-dir, but got work_dir by --cfg-options; "
            "give it by --work-dir"
        )
    if "train_cfg.max_iters" in (args.cfg_options or {}):
        raise UserError(
            "Expected the iterations by --max-iters, but got train_cfg.max_iters by --cfg-options, "
            "which the learning rate would not follow; give --max-iters"
        )
    batch_size = _batch_size(args)
    if any((folder / TRAINING).glob("*.pth")) or (folder / BEST).is_file():
        raise UserError(
            f"Expected a new folder for the training, but {folder} has checkpoints; add --resume "
            "to go on with that training, or give another --work-dir"
        )
    _check_overwritten(folder)
    with refused_input():
        check_there(args.config)
        weights = _find_weights(detector, base)
        conversion = convert_data(
            args.config,
            folder,
            seed=args.seed,
            val_share=args.val_share,
            test_share=args.test_share,
        )
        facts = data_facts(conversion.data)
    print(conversion.describe(), flush=True)
    _check_masks(detector, facts)
    with refused_input():
        model, optimizer, hooks, load_from = _choose_start(
            args, detector, base, weights, facts, folder
        )
    lr, lr_batch = BASE_LR, BASE_BATCH
    if optimizer is not None:
        lr, lr_batch = optimizer["optimizer"]["lr"], optimizer.pop("batch")
    plan = make_plan(
        facts,
        this_machine(),
        smallest_stride=smallest_stride(model),
        rpn_stride=rpn_stride(model),
        lr=lr,
        lr_batch=lr_batch,
        max_iters=args.max_iters,
        batch_size=batch_size,
        amp=args.amp,
    )
    plan.reasons.insert(0, ("detector", detector.name, _start_reason(base)))
    cfg = make_config(
        model,
        plan,
        detector=detector,
        optimizer=optimizer,
        hooks=hooks,
        classes=facts.classes,
        pictures=conversion.data.root,
        work_dir=folder,
        tested=_has_test(folder),
        load_from=load_from,
        seed=args.seed,
    )
    if args.cfg_options:
        with explained("--cfg-options do not fit the config"):
            merge_options(cfg, args.cfg_options)
        plan.reasons += [
            (key, str(value), "as asked for by --cfg-options, over what stands above")
            for key, value in args.cfg_options.items()
        ]
    print(_table(plan.reasons), flush=True)
    write_config(folder / "config.py", cfg, plan, shlex.join(["mmdet-rank", *sys.argv[1:]]))
    state = _state(args, detector, folder, conversion, plan.reasons)
    state["config"] = _digest(folder / "config.py")
    write_json(folder / STATE, state)
    return state


def _check_overwritten(folder: Path) -> None:
    """Refuse a folder with files that a training writes and that are not one's own, or edited."""
    with refused_input():
        state = load_json(folder / STATE) if (folder / STATE).is_file() else None
    config = folder / "config.py"
    if state is None:
        others = [name for name in _WRITTEN if (folder / name).is_file()]
        if others:
            raise UserError(
                f"Expected a new folder for the training, but {folder} has {', '.join(others)} of "
                "something else, which would be overwritten; give another --work-dir"
            )
    elif config.is_file() and state.get("config", _digest(config)) != _digest(config):
        raise UserError(
            f"Expected a new folder for the training, but {config} was edited and would be "
            f"overwritten; train it by: mmdet-rank train {shlex.quote(str(config))} --work-dir "
            "DIR, or give another --work-dir"
        )


def _digest(file: Path) -> str:
    return hashlib.sha256(file.read_bytes()).hexdigest()


def _batch_size(args: argparse.Namespace) -> int | None:
    """The batch that the user asks for, by which the learning rate goes."""
    batch = (args.cfg_options or {}).get("train_dataloader.batch_size")
    if batch is not None and (type(batch) is not int or batch < 1):
        raise UserError(
            f"Expected a whole number from 1 on as train_dataloader.batch_size, but got {batch!r}; "
            "correct it, or leave it out"
        )
    return batch


def _find_weights(detector: Detector, base: str) -> str | None:
    """Find or download what training starts from, before anything is read or written.

    Returns:
        The file of a checkpoint; None where there is none, or a backbone that is installed.
    """
    if base == "none":
        return None
    if base == "imagenet":
        load_package_weights(WEIGHTS)  # refuses here if they are not installed
        return None
    if base == "coco" and detector.stock is not None:
        stock = make_model(read_config(f"mmdet::{detector.stock}"), 80, "file")
        return start.download(start.published_weights(detector.stock), stock)
    return base


def _choose_start(
    args: argparse.Namespace,
    detector: Detector,
    base: str,
    filename: str | None,
    facts: DataFacts,
    folder: Path,
) -> tuple[dict, dict | None, list[dict], str | None]:
    """The model with its weights.

    Returns:
        The model, its optimizer (None for AdamW), the hooks of its losses, and what to load.
    """
    number = len(facts.classes)
    if filename is None:
        source = read_config(detector.small)
        return make_model(source, number, base), None, _hooks(source), None
    sources = {name: read_config(name) for name in {detector.small, detector.large}}
    if base == "coco":
        sources.pop(detector.small)
    checkpoint = start.load_base(filename, trust=args.trust_checkpoint)
    same = start.checkpoint_classes(checkpoint) == facts.classes
    fits = {}
    for name, source in sources.items():
        model = make_model(source, number, filename)
        classifier = start.classifier_names(model, make_model(source, number + 1, filename))
        fits[name] = start.fit_weights(model, checkpoint, classifier, same_classes=same)
    name = max(fits, key=lambda each: fits[each].share)
    start.check_enough(fits[name], filename, detector.name)
    path = folder / "annotations" / "start.pt"
    names = start.write_start(path, fits[name])
    print(f"{fits[name].describe(filename)}\nAll names are in {names}", flush=True)
    source = sources[name]
    optimizer = None
    if name == detector.large != detector.small:
        optimizer = source.optim_wrapper.to_dict()
        optimizer["batch"] = source.auto_scale_lr.base_batch_size
    return make_model(source, number, filename), optimizer, _hooks(source), str(path)


def _hooks(source) -> list[dict]:
    """Hooks that losses need; those of a long schedule do not fit a short one."""
    return [dict(h) for h in source.get("custom_hooks") or [] if h.type == "SelfBalanceHook"]


def _check_masks(detector: Detector, facts: DataFacts) -> None:
    if detector.masks and not facts.has_masks:
        raise UserError(
            f"Expected a mask for every object for {detector.name}, but the data has objects "
            f"without one; take --detector {detector.name.replace('mask', 'faster')}, or label "
            "masks"
        )


def _start_reason(base: str) -> str:
    if base not in BASES:
        return f"from the weights of {base}"
    return {
        "coco": "from MMDetection's weights, trained on COCO",
        "imagenet": "from a backbone trained on ImageNet",
        "none": "from random weights",
    }[base]


def _state(
    args: argparse.Namespace,
    detector: Detector,
    folder: Path,
    conversion: Conversion,
    reasons: list[tuple[str, str, str]],
) -> dict:
    return {
        "folder": str(folder),
        "data": str(Path(args.config).absolute()),
        "arguments": {name: _comparable(getattr(args, name)) for name in _DECISIVE},
        "detector": detector.name,
        "pictures": str(conversion.data.root),
        "iou_type": "segm" if detector.masks else "bbox",
        "choices": [list(reason) for reason in reasons],
        "read": conversion.describe(),
    }


def _table(reasons: list[tuple[str, str, str]]) -> str:
    widths = [max(len(reason[column]) for reason in reasons) for column in (0, 1)]
    return "\n".join(
        f"{name:<{widths[0]}}  {value:<{widths[1]}}  {reason}" for name, value, reason in reasons
    )


def _read_state(args: argparse.Namespace, folder: Path) -> dict:
    """Read how the training in a folder was prepared, for the same command."""
    if not (folder / STATE).is_file() or not (folder / "config.py").is_file():
        raise UserError(
            f"Expected a training to go on with in {folder}, but there is none; leave --resume out"
        )
    state = load_json(folder / STATE)
    if Path(args.config).resolve() != Path(state["data"]).resolve():
        raise UserError(
            f"Expected {state['data']}, the data of the training in {folder}, but got "
            f"{args.config}; give that to go on, or another --work-dir to train anew"
        )
    for name, default in _DECISIVE.items():
        given = _comparable(getattr(args, name))
        # Folders of the first versions do not say.
        before = state.get("arguments", {}).get(name, given)
        if given not in (_comparable(default), before):
            flag = f"--{name.replace('_', '-')}"
            raise UserError(
                f"Expected what the training in {folder} began with, {flag} {_shown(before)}, but "
                f"got {_shown(given)}; leave it out to go on, or give another --work-dir to train "
                "anew"
            )
    if Path(state.get("folder", folder)) != folder:
        config = folder / "config.py"
        as_written = state.get("config") == _digest(config)
        settle(folder, Path(state["folder"]))
        make_own(folder / STATE)
        state["folder"] = str(folder)
        if as_written:
            state["config"] = _digest(config)
        write_json(folder / STATE, state)
    print(f"Going on with {state['detector']} on {state['data']}", flush=True)
    if args.resume == "auto" and find_latest(str(folder / TRAINING)) is None:
        _begin_anew(folder)
    return state


def _begin_anew(folder: Path) -> None:
    """Tell that there is nothing to go on from."""
    if (folder / BEST).is_file():
        raise UserError(
            f"Expected a checkpoint to go on from in {folder / TRAINING}, but there is only what "
            f"the training left, {folder / BEST}; give another --work-dir to train anew"
        )
    print(f"There is no checkpoint yet in {folder / TRAINING}: training begins anew", flush=True)


def _comparable(value: Any) -> Any:
    """An argument as JSON has it too, which has no tuples."""
    return {k: repr(v) for k, v in value.items()} if isinstance(value, dict) else value


def _shown(value: Any) -> str:
    if isinstance(value, dict):
        return " ".join(f"{key}={text}" for key, text in value.items())
    if value is None or isinstance(value, bool):
        return "given" if value else "not given"
    return str(value)


def _has_test(folder: Path) -> bool:
    """Whether what was converted has pictures to test on, with objects.

    A file of an earlier conversion may lie there too.
    """
    return any(load_json(folder / CONVERSION)["objects"].get("test", {}).values())


def _next_commands(folder: Path, pictures: Path) -> dict[str, str]:
    place = shlex.quote(str(folder))
    measured, split = ("test", "test") if _has_test(folder) else ("validation", "val")
    images = load_json(folder / "annotations" / f"{split}.json")["images"]
    files = [pictures / image["file_name"] for image in images]
    shown = os.path.commonpath([file.parent for file in files])
    suffixes = {file.suffix for file in files}
    # Masks may lie beside the pictures.
    if len(suffixes) == 1 and {file.suffix for file in list_files(Path(shown))} != suffixes:
        shown = f"{glob.escape(shown)}/**/*{suffixes.pop()}"
    return {
        "Detect on pictures": f"mmdet-rank predict {place} {shlex.quote(shown)} "
        f"--out {place}/predictions",
        f"Evaluate on the {measured} pictures": f"mmdet-rank test {place}/config.py "
        f"{place}/best.pth --thresholds {place}/thresholds.json",
    }


def _conclude(page: Path, report: dict, commands: dict[str, str], advice: str | None) -> None:
    print(class_table(report))
    print(
        f"oLRP {percent(report['oLRP'])} (an error: lower is better), AP {percent(report['AP'])}, "
        f"AP50 {percent(report['AP50'])}, in percent, on the validation pictures"
    )
    if advice:
        print(advice)
    print(f"Wrote {page}, best.pth, lrp.json, thresholds.json and config.py beside it")
    for what, command in commands.items():
        print(f"{what}: {command}")
