"""Evaluating a detector from a config and a checkpoint: what `mmdet-rank test` does."""

from __future__ import annotations

import argparse
import logging
from copy import deepcopy
from pathlib import Path

import mmdet_rank.register  # noqa: F401

from mmdet.engine.hooks.utils import trigger_visualization_hook
from mmdet.evaluation import DumpDetResults
from mmdet.models import DetTTAModel
from mmdet.models.detectors.single_stage_instance_seg import SingleStageInstanceSegmentor
from mmdet.registry import RUNNERS
from mmdet.utils import setup_cache_size_limit_of_dynamo
from mmengine.config import Config, ConfigDict
from mmengine.logging import print_log
from mmengine.runner import Runner
from torch import nn

from mmdet_rank.annotations import forget_files
from mmdet_rank.cli import checkpoints, datasets, running
from mmdet_rank.cli.class_order import order_classes
from mmdet_rank.cli.config import load_config, require
from mmdet_rank.cli.errors import UserError, explained, refused_input
from mmdet_rank.cli.launch import end_processes, prepare_processes
from mmdet_rank.cli.submission import Submission
from mmdet_rank.engine.lrp_threshold_hook import LRPThresholdHook
from mmdet_rank.engine.resumable_runner import ResumableRunner
from mmdet_rank.engine.wrapped import unwrapped

PICKLES = (".pkl", ".pickle")
TTA_MODEL = {
    "type": "DetTTAModel",
    "tta_cfg": {"nms": {"type": "nms", "iou_threshold": 0.5}, "max_per_img": 100},
}
TTA_TRANSFORMS = [
    [{"type": "RandomFlip", "prob": 1.0}, {"type": "RandomFlip", "prob": 0.0}],
    [
        {
            "type": "PackDetInputs",
            "meta_keys": (
                "img_id",
                "img_path",
                "ori_shape",
                "img_shape",
                "scale_factor",
                "flip",
                "flip_direction",
            ),
        }
    ],
]


def evaluate(args: argparse.Namespace) -> dict[str, float]:
    """Evaluate.

    Args:
        args: The arguments of ``mmdet-rank test``.

    Returns:
        The metrics by name.

    Raises:
        UserError: The config, the data or the checkpoint does not allow it.
    """
    check_arguments(args)
    setup_cache_size_limit_of_dynamo()
    checkpoints.use_safe_loading(args.trust_checkpoint)
    checkpoint = checkpoints.read_checkpoint(args.checkpoint, trust=args.trust_checkpoint)
    cfg = load_config(args)
    require(cfg, ("model", "test_dataloader", "test_cfg", "test_evaluator"), args.config)
    prepare_config(cfg, args)
    order_classes(cfg)
    submission = Submission(cfg, args.submission) if args.submission is not None else None
    prepare_processes(cfg, args.local_rank)
    runner = model = None
    try:
        runner = build_runner(cfg)
        model = unwrapped(runner)
        checkpoints.check_fits(model.module if args.tta else model, checkpoint, args.checkpoint)
        del checkpoint
        if args.tta:
            refuse_masks(model)
        prepare_runner(runner, args)
        if submission is not None:
            submission.clear()
        with running.testing(runner):
            figures = runner.test()
        if submission is None:
            return figures
        for path in submission.write(runner):
            _say(f"Wrote {path}")
        return figures
    finally:
        del runner, model  # before their processes end
        end_processes()


def check_arguments(args: argparse.Namespace) -> None:
    """Refuse arguments that would only fail at the end of a long evaluation.

    Raises:
        UserError: `--out` names no pickle file, or `--thresholds` comes with `--tta`.
    """
    if args.out is not None and not args.out.endswith(PICKLES):
        raise UserError(
            f"Expected --out to end in {' or '.join(PICKLES)}, but got {args.out}; rename it"
        )
    if args.tta and args.thresholds is not None:
        raise UserError(
            "Expected --thresholds without --tta, but got both: they would cut detections before "
            "they are merged; test without --tta"
        )


def prepare_config(cfg: Config, args: argparse.Namespace) -> None:
    """Write what the flags ask for into the config."""
    cfg.load_from = args.checkpoint
    cfg.resume = False
    if args.show or args.show_dir:
        with explained("--show and --show-dir need default_hooks.visualization"):
            trigger_visualization_hook(cfg, args)
            hook = cfg.default_hooks.visualization
            if hook.type == "DetVisualizationHook":
                hook.type = "FolderVisualizationHook"
            elif hook.type == "SegVisualizationHook":  # writes where the visualizer does
                hook.interval = 1  # MMSegmentation 1.2 counts in testing too
                folder = hook.pop("test_out_dir", None)
                if folder is not None:
                    cfg.visualizer.save_dir = str(Path(cfg.work_dir, folder))
    if args.tta:
        augment_test(cfg)


def prepare_runner(runner: Runner, args: argparse.Namespace) -> None:
    """Add to the built runner what the flags ask for."""
    if args.out is not None:
        runner.test_evaluator.metrics.append(DumpDetResults(out_file_path=args.out))
    if args.thresholds is not None:
        with refused_input():
            hook = LRPThresholdHook(args.thresholds)
            hook.check(runner.test_dataloader.dataset)
        runner.register_hook(hook)


def refuse_masks(model: nn.Module) -> None:
    """Refuse a detector of masks, whose augmented predictions MMDetection cannot merge.

    Args:
        model: Merges the predictions of its ``module``.

    Raises:
        UserError: The detector predicts masks, and nothing but MMDetection's DetTTAModel merges.
    """
    detector = model.module
    masks = isinstance(detector, SingleStageInstanceSegmentor) or getattr(
        detector, "with_mask", False
    )
    if masks and type(model) is DetTTAModel:
        raise UserError(
            "Expected a detector of boxes for --tta, but this one predicts masks too, which "
            "DetTTAModel cannot merge; test without --tta, or set tta_model to one that can"
        )


def augment_test(cfg: Config) -> None:
    """Predict on every image and its mirror image, and merge, unless the config says otherwise."""
    if "tta_model" not in cfg:
        _say("The config has no tta_model: DetTTAModel with NMS at 0.5 is used.")
        cfg.tta_model = ConfigDict(deepcopy(TTA_MODEL))
    if "tta_pipeline" not in cfg:
        _say("The config has no tta_pipeline: images are mirrored.")
        pipeline = deepcopy(_innermost(cfg.test_dataloader.dataset).pipeline)
        pipeline[-1] = {"type": "TestTimeAug", "transforms": deepcopy(TTA_TRANSFORMS)}
        cfg.tta_pipeline = pipeline
    cfg.model = ConfigDict(**cfg.tta_model, module=cfg.model)
    _innermost(cfg.test_dataloader.dataset).pipeline = cfg.tta_pipeline


def build_runner(cfg: Config) -> Runner:
    """Build the runner with its model and test data, and check the data.

    Raises:
        UserError: Something cannot be built, or the data is not what the config says.
    """
    with explained("The config cannot be built"):
        runner = RUNNERS.build(cfg) if "runner_type" in cfg else ResumableRunner.from_cfg(cfg)
    datasets.check_files(cfg, ["test"])
    with explained("The data cannot be loaded", lambda: datasets.diagnose(cfg, ["test"])):
        loop = runner.test_loop
    datasets.check_built(loop.dataloader.dataset, "test")
    forget_files()
    return runner


def _innermost(dataset: ConfigDict) -> ConfigDict:
    while "dataset" in dataset:
        dataset = dataset["dataset"]
    return dataset


def _say(text: str) -> None:
    print_log(text, logger="current", level=logging.WARNING)
