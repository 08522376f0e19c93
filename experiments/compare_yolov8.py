r"""YOLOv8 from n to x, without and with REG in every size, beside the figures that REG's page has.

The page compares sizes and has REG in l and x alone, so that size and loss change together; here
both are told apart. The configs are those of road assets in ``configs/reg``; with ``--data-root``
they train on any other data, with its own classes. Runs whose results are in the work folder are
not repeated.

Example:
    python experiments/compare_yolov8.py --data-root data/bccd --images data/bccd/BCCD \
        --sizes n s --seeds 0 1 2 --out figures.json
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import yaml
from compare_detectors import run_all
from mmengine.config import Config
from real_data import convert_once
from runs import ROOT, keep_settings, spread

from mmdet_rank.cli.errors import UserError, run_tool
from mmdet_rank.evaluation.report import F1_FIGURES, format_table
from mmdet_rank.files import load_json

CONFIGS = ROOT / "configs" / "reg"
SIZES = ("n", "s", "m", "l", "x")
#: Losses by the beginnings of the configs' names.
LOSSES = {"": "binary cross entropy", "reg-": "REG"}
FIGURES = ("AP50", "AP", *F1_FIGURES)


def main(argv: list[str] | None = None) -> int:
    """Run the comparison; return the exit code."""
    return run_tool(lambda: compare(argv))


def compare(argv: list[str] | None = None) -> None:
    """Train and evaluate every size with each loss and seed, and print the table.

    Raises:
        UserError: The data is not there, the work folder has runs of other settings, or a run
            failed.
    """
    args = make_parser().parse_args(argv)
    if args.images and not args.data_root:
        raise UserError("Expected --data-root with --images, but got none; name the data's folder")
    if args.images:
        convert_once(args.images, args.data_root)
    names = {(size, loss): config_name(size, loss) for size in args.sizes for loss in LOSSES}
    made = [make_config(name, args) for name in names.values()]
    keep_settings(args.work_dir, {"epochs": args.epochs, "cfg_options": args.cfg_options})
    configs = [
        write_config(cfg, name, args) for cfg, name in zip(made, names.values(), strict=True)
    ]
    rows = run_all(configs, args.seeds, args.epochs, args.work_dir, args.cfg_options, args.out)
    print(table({key: rows[name] for key, name in names.items()}, published()))


def make_parser() -> argparse.ArgumentParser:
    """Make the parser of the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--data-root",
        type=Path,
        help="folder with annotations/train.json, val.json and test.json, as mmdet-rank "
        "convert-data writes them; default: data/road",
    )
    parser.add_argument(
        "--images",
        type=Path,
        help="folder of the pictures, from which annotations/ is made where it is missing; "
        "default: --data-root",
    )
    parser.add_argument("--sizes", nargs="+", choices=SIZES, default=SIZES)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    parser.add_argument("--epochs", type=int, help="default: the 100 of the configs")
    parser.add_argument("--work-dir", type=Path, default=Path("work_dirs/compare_yolov8"))
    parser.add_argument("--out", type=Path, help="JSON file for the figures of every run")
    parser.add_argument(
        "--cfg-options", nargs="+", default=[], help="options for all runs, as for mmdet-rank train"
    )
    return parser


def config_name(size: str, loss: str) -> str:
    """The name of a config in ``configs/reg``, without ``.py``.

    Example:
        >>> config_name("l", "reg-")
        'reg-yolov8_l_1xb16-100e_road-detection'
    """
    return f"{loss}yolov8_{size}_1xb16-100e_road-detection"


def make_config(name: str, args: argparse.Namespace) -> Config:
    """Make a config for the data and the budget of the command line.

    Raises:
        UserError: The data has no annotations of a split.
    """
    cfg = Config.fromfile(CONFIGS / f"{name}.py")
    if args.data_root:
        use_data(cfg, args.data_root.absolute(), (args.images or args.data_root).absolute())
    if args.epochs:
        for hook in cfg.custom_hooks:
            if "num_last_epochs" in hook:
                share = hook.num_last_epochs / cfg.train_cfg.max_epochs
                hook.num_last_epochs = round(share * args.epochs)
    return cfg


def write_config(cfg: Config, name: str, args: argparse.Namespace) -> Path:
    """Write a config into the work folder."""
    path = args.work_dir / "configs" / f"{name}.py"
    path.parent.mkdir(parents=True, exist_ok=True)
    cfg.dump(path)
    return path


def use_data(cfg: Config, root: Path, images: Path) -> None:
    """Have a config train and test on other data.

    Args:
        cfg: It is changed.
        root: Folder of ``annotations``.
        images: Folder of the pictures.

    Raises:
        UserError: A split has no annotations.
    """
    for split in ("train", "val", "test"):
        file = root / "annotations" / f"{split}.json"
        if not file.is_file():
            raise UserError(
                f"Expected the annotations {file}, but there are none; write them with "
                "mmdet-rank convert-data, with --test-share for a test set"
            )
        dataset = cfg[f"{split}_dataloader"].dataset
        dataset = dataset.get("dataset") or dataset
        names = [category["name"] for category in load_json(file)["categories"]]
        dataset.update(data_root=f"{root}/", metainfo=dict(classes=tuple(names)))
        dataset.data_prefix.img = str(images)
        if split != "train":
            cfg[f"{split}_evaluator"].ann_file = str(file)
    cfg.model.bbox_head.num_classes = len(names)


def published() -> dict[str, dict[str, float]]:
    """The figures in percent that were published of a config, by its name."""
    models = yaml.safe_load((CONFIGS / "metafile.yml").read_text())["Models"]
    return {model["Name"]: model["Results"][0]["Metrics"] for model in models if "Results" in model}


def table(rows: dict[tuple[str, str], list[dict]], known: dict[str, dict[str, float]]) -> str:
    """Figures of every size and loss, in percent, and the published ones.

    Args:
        rows: Runs by size and beginning of the config's name.
        known: Published figures by config.
    """
    cells = []
    for (size, loss), runs in rows.items():
        values = [spread([run["boxes"][key] for run in runs], 100, 1) for key in FIGURES]
        theirs = known.get(config_name(size, loss))
        beside = " / ".join(f"{theirs[key]:.1f}" for key in FIGURES) if theirs else "-"
        cells.append([f"YOLOv8{size}", LOSSES[loss], *values, beside])
    return format_table(["model", "loss", *FIGURES, f"published {' / '.join(FIGURES)}"], cells)


if __name__ == "__main__":
    sys.exit(main())
