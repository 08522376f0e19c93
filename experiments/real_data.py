r"""One training on real data, its learning curve, and its figures on validation and test set.

Everything happens in one process, so that many short trainings share a machine well. Training
starts from pretrained weights, validates every quarter, and ends with a test; what comes out is
``OUT/result.json``, and the detections ``OUT/val.bbox.json``, ``OUT/test.bbox.json`` (and
``.segm.json``) that ``experiments/calibration.py`` reads.

Example:
    python experiments/real_data.py configs/lite/rs-atss_lite0_fpn_bccd.py --seed 0 \
        --out work_dirs/real/rs-atss_lite0_fpn_bccd_seed0
"""

from __future__ import annotations

import argparse
import statistics
import sys
from pathlib import Path

import mmdet_rank.register  # noqa: F401

import torch
from mmengine.config import Config
from runs import IOU_TYPES, commit_of, digest, keep_config, keep_settings, measure_detections

from mmdet_rank.annotations.conversion import convert_data
from mmdet_rank.cli.errors import UserError, refused_input, run_tool
from mmdet_rank.cli.train import enable_amp
from mmdet_rank.engine.resumable_runner import ResumableRunner
from mmdet_rank.evaluation.coco import evaluate_coco
from mmdet_rank.files import load_json, write_json
from mmdet_rank.visualization.training_curve import read_scalars

ROOT = Path(__file__).resolve().parents[1]
#: Of the pictures, for a test set where the data has none.
TEST_SHARE = 0.2
#: Of the learning curve, by the names that the log has for boxes and masks.
CURVE = {"AP": "mAP", "AP50": "mAP_50", "oLRP": "oLRP"}


def main(argv: list[str] | None = None) -> int:
    """Train, test and write ``result.json``; return the exit code."""
    args = make_parser().parse_args(argv)
    return run_tool(lambda: run(args))


def run(args: argparse.Namespace) -> None:
    """One training and what comes of it; a run that has a result is not repeated.

    Raises:
        UserError: The config or the data do not exist, or the folder has another run.
    """
    with refused_input():
        if not args.config.is_file():
            raise UserError(f"Expected a config, but {args.config} does not exist")
        if args.max_iters is not None and args.max_iters < 2:
            raise UserError(
                f"Expected --max-iters of 2 or more, but got {args.max_iters}; leave it out"
            )
        asked = {key: getattr(args, key) for key in ("seed", "max_iters", "amp")}
        asked |= {"config": args.config.stem}
        if args.images and args.data_root:
            convert_once(Path(args.images), Path(args.data_root))
        cfg = prepare(args)
        for split in ("train", "val", "test"):
            dataset = cfg[f"{split}_dataloader"].dataset
            check_files(Path(dataset.data_root), dataset.ann_file, dataset.data_prefix.img)
            file = Path(dataset.data_root) / dataset.ann_file
            asked[f"{split} data"] = digest(file)
        keep_settings(args.out, asked, "give another --out")
        keep_config(args.out, args.config)
        result = args.out / "result.json"
        if result.is_file():
            print(f"Found {result}")
            return
    # A curve is that of one training: what a run that was broken off logged is not part of it.
    for log in args.out.glob("*/vis_data/scalars.json"):
        log.unlink()
    runner = ResumableRunner.from_cfg(cfg)
    runner.train()
    runner.test()
    figures = {
        "config": args.config.stem,
        "seed": args.seed,
        "iterations": cfg.train_cfg.max_iters,
        "amp": args.amp,
        "curve": learning_curve(args.out),
        **{split: split_figures(cfg, args.out, split) for split in ("val", "test")},
        "iteration": statistics.median(
            entry["time"] for entry in read_scalars(args.out) if "time" in entry
        ),
        "device": torch.cuda.get_device_name() if torch.cuda.is_available() else "CPU",
        "torch": torch.__version__,
        "commit": commit_of(ROOT),
    }
    write_json(result, figures)
    print(f"Wrote {result}")


def check_files(root: Path, annotations: str, images: str) -> None:
    """Refuse a data set that is not there, before anything begins.

    Raises:
        UserError: The annotation file or the folder of the pictures does not exist.
    """
    for path in (root / annotations, root / images):
        if not path.exists():
            raise UserError(
                f"Expected the converted data, but {path} does not exist; the comment of the "
                "config's data set says how to have it, or give --data-root and --images"
            )


def make_parser() -> argparse.ArgumentParser:
    """Make the parser of the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("config", type=Path, help="a config of configs/lite")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, required=True, help="folder of this run")
    parser.add_argument("--data-root", help="folder of annotations/; default: the config's")
    parser.add_argument(
        "--images",
        help="folder of the pictures; with --data-root, annotations/ is made from it where it is "
        "missing; default: the config's",
    )
    parser.add_argument("--max-iters", type=int, help="default: the config's")
    parser.add_argument("--amp", action="store_true", help="mixed precision, as of tools/train.py")
    return parser


def convert_once(images: Path, root: Path) -> None:
    """Convert the data of the pictures, unless it was; a test set that it lacks is drawn.

    Several processes may do so at once, for they write the same, each file whole.
    """
    # It is written last.
    if not (root / "annotations" / "conversion.json").is_file():
        print(convert_data(images, root, test_share=TEST_SHARE).describe(), flush=True)


def prepare(args: argparse.Namespace) -> Config:
    """The config of this run."""
    cfg = Config.fromfile(args.config)
    cfg.work_dir = str(args.out)
    cfg.randomness.seed = args.seed
    for split in ("val", "test"):
        evaluator = cfg[f"{split}_evaluator"]
        evaluator.outfile_prefix = str(args.out / split)
        if args.data_root:
            evaluator.ann_file = str(Path(args.data_root) / "annotations" / f"{split}.json")
    for loader in (cfg.train_dataloader, cfg.val_dataloader, cfg.test_dataloader):
        loader.dataset.data_root = args.data_root or loader.dataset.data_root
        if args.images:
            loader.dataset.data_prefix.img = str(Path(args.images).absolute())
    if args.max_iters:
        cfg.train_cfg.update(max_iters=args.max_iters, val_interval=max(args.max_iters // 4, 1))
        cosine = cfg.param_scheduler[-1]
        cfg.param_scheduler[0].end = min(cosine.begin, args.max_iters // 2)
        cosine.update(begin=cfg.param_scheduler[0].end, end=args.max_iters)
        cosine.T_max = cosine.end - cosine.begin
    # The seconds of an iteration come from the log.
    logger = cfg.default_hooks.logger
    logger.interval = min(logger.interval, cfg.train_cfg.max_iters)
    if args.amp:
        enable_amp(cfg)
    # By its name MMEngine finds the visualizer of an earlier run in the same process.
    cfg.visualizer.pop("name", None)
    # The weights at the end are those measured; nothing is resumed.
    cfg.default_hooks.checkpoint.update(interval=cfg.train_cfg.max_iters, max_keep_ckpts=1)
    return cfg


def learning_curve(folder: Path) -> list[dict]:
    """Validation figures by iteration."""
    points = []
    for entry in read_scalars(folder):
        point = {
            f"{kind} {name}": entry[f"coco/{iou_type}_{key}"]
            for kind, iou_type in IOU_TYPES.items()
            for name, key in CURVE.items()
            if f"coco/{iou_type}_{key}" in entry
        }
        if point:
            points.append({"iteration": entry["step"], **point})
    return points


def split_figures(cfg: Config, folder: Path, split: str) -> dict[str, dict]:
    """Figures of the detections on a split: means over the classes, and of each class."""
    evaluator = cfg[f"{split}_evaluator"]
    truth = load_json(evaluator.ann_file)
    metrics = [evaluator.metric] if isinstance(evaluator.metric, str) else evaluator.metric
    figures = {}
    for kind, iou_type in IOU_TYPES.items():
        if iou_type not in metrics:
            continue
        detections = load_json(folder / f"{split}.{iou_type}.json")
        figures[kind] = measure_detections(truth, detections, iou_type)
        figures[kind]["per_class"] = {
            category["name"]: class_figures(truth, detections, iou_type, category)
            for category in truth["categories"]
        }
    return figures


def class_figures(truth: dict, detections: list[dict], iou_type: str, category: dict) -> dict:
    """AP and LRP Error of one class."""
    only = {
        **truth,
        "categories": [category],
        "annotations": [a for a in truth["annotations"] if a["category_id"] == category["id"]],
    }
    found = [d for d in detections if d["category_id"] == category["id"]]
    if not found:
        return {"AP": 0.0, "AP50": 0.0, "oLRP": 1.0, "num_gt": len(only["annotations"])}
    report = evaluate_coco(only, found, iou_type).report()
    (errors,) = report["per_class"].values()
    return {"AP": report["AP"], "AP50": report["AP50"], **errors}


if __name__ == "__main__":
    sys.exit(main())
