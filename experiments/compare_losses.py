r"""All losses on a folder of images and masks, several seeds each: tables, plot and pictures.

A small U-Net is trained with each loss from the same start on the same images, scaled once to one
size. What comes out, in OUT: ``runs/LOSS_SEED.json`` with the figures of each training, which is
not repeated while it is there, so that a grid may be interrupted, and several processes may share
one; ``table.md``, ``losses.png``, and ``pictures.png`` with the predictions beside the truth.

Examples:
    python experiments/compare_losses.py data/masonry_cracks --out work_dirs/masonry
    python experiments/compare_losses.py data/tiles/MT_Crack --images Imgs --masks Imgs \
        --img-suffix .jpg --mask-suffix .png --out work_dirs/tiles --losses hf hfm
    python experiments/compare_losses.py --margins-of work_dirs/masonry work_dirs/tiles \
        --out work_dirs/margins
"""

from __future__ import annotations

import argparse
import gc
import json
import shutil
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
import torch
from compare_losses_options import make_parser
from crack_losses import PUBLISHED, select
from mmengine.config import Config
from mmengine.dataset import pseudo_collate
from mmengine.logging import print_log
from mmengine.registry import init_default_scope
from mmengine.runner import Runner
from mmseg.registry import DATASETS
from runs import commit_of, digest, keep_settings

import mmdet_rank.segmentation  # noqa: F401
from mmdet_rank.annotations.mask_files import MaskReader, check_sizes, find_pairs
from mmdet_rank.cli.errors import UserError, refused_input, run_tool
from mmdet_rank.evaluation.pixels import count_scores, hit_figures, score_figures, threshold_hits
from mmdet_rank.files import load_json, write_json, written_whole
from mmdet_rank.visualization.mask_pictures import draw_margins, draw_masks, draw_spread

ROOT = Path(__file__).resolve().parents[1]
CONFIG = ROOT / "configs/cracks/hfm-unet-s_1xb16-1k_96x96.py"
#: Figures of the table, in percent, with their titles.
FIGURES = {
    "IoU": "IoU",
    "F1": "F1",
    "recall": "recall",
    "precision": "precision",
    "chosen_IoU": "IoU, threshold chosen in training",
    "AP": "AP",
    "ODS": "ODS",
    "OIS": "OIS",
}
#: Flips and colour alone, for machines without albumentations.
FLIPS = [
    dict(type="RandomFlip", prob=0.5, direction="horizontal"),
    dict(type="RandomFlip", prob=0.5, direction="vertical"),
    dict(type="PhotoMetricDistortion", hue_delta=10),
]
AUGMENTATIONS = {"paper": [dict(type="CrackAugmentation")], "flips": FLIPS, "none": []}
NUM_PICTURES = 5


def main(argv: list[str] | None = None) -> int:
    """Train what is not trained yet, and write the tables; return the exit code."""
    args = make_parser().parse_args(argv)
    if args.margins_of:
        return run_tool(lambda: compare_margins(args.margins_of, args.out))
    return run_tool(lambda: compare_losses(args))


def compare_losses(args: argparse.Namespace) -> None:
    """Train each loss with each seed, and put them side by side.

    Raises:
        UserError: The losses or the data are not what they should be, or the folder has trainings
            of other data or settings.
    """
    with refused_input():
        losses = select(args.losses, args.margins)
        pairs = find_images(args)
        origin = source(args, pairs)
        keep_settings(args.out, origin | settings(args), "give another --out")
        data = scaled_data(args, pairs, origin)
    init_default_scope("mmseg")
    for seed in args.seeds:
        for name, (_, loss) in losses.items():
            path = args.out / "runs" / f"{name}_{seed}.json"
            if not path.is_file():
                train(args, data, name, loss, seed, path)
                gc.collect()  # the processes that loaded images end with their runner
    summarise(args, data, losses)


def find_images(args: argparse.Namespace) -> list[tuple[Path, Path]]:
    """The images with their masks.

    Raises:
        FileNotFoundError: There is no such folder, or an image has no mask.
        ValueError: No folder was given.
    """
    if args.data is None:
        raise ValueError("Expected a folder of images and masks, but got none; give DATA.")
    return find_pairs(
        args.data / args.images, args.data / args.masks, args.img_suffix, args.mask_suffix
    )


def scaled_data(args: argparse.Namespace, pairs: list[tuple[Path, Path]], origin: dict) -> Path:
    """The images and masks, scaled once to the size of the network.

    A mask's pixel is foreground where at least half of what it covers is.

    Raises:
        UserError: What was scaled there before is other data.
    """
    parent = args.scaled or args.out
    data = parent / f"data_{args.size}"
    if data.is_dir():
        keep_settings(data, origin, "give another folder")
        return data
    reader = MaskReader(args.threshold, args.mat_field, args.mask_value)
    parent.mkdir(parents=True, exist_ok=True)
    temporary = Path(tempfile.mkdtemp(dir=parent, prefix=".data"))
    for folder in ("images", "masks"):
        (temporary / folder).mkdir()
    size = (args.size, args.size)
    for number, (image, path) in enumerate(pairs):
        mask = reader.read(path)
        check_sizes(image, path, mask.shape)
        picture = cv2.imread(str(image))
        if args.crop is not None:
            picture, mask = (middle(array, args.crop) for array in (picture, mask))
        picture = cv2.resize(picture, size, interpolation=cv2.INTER_AREA)
        share = cv2.resize(mask.astype(np.float32), size, interpolation=cv2.INTER_AREA)
        name = f"{number:05d}.png"
        cv2.imwrite(str(temporary / "images" / name), picture)
        cv2.imwrite(str(temporary / "masks" / name), np.where(share >= 0.5, 255, 0))
    keep_settings(temporary, origin)
    try:
        temporary.rename(data)
    except OSError:  # another process was quicker
        shutil.rmtree(temporary)
    return data


def middle(array: np.ndarray, side: int) -> np.ndarray:
    """The square in the middle of an image or mask; less where it is smaller."""
    top, left = (max((length - side) // 2, 0) for length in array.shape[:2])
    return array[top : top + side, left : left + side]


def prepare(
    args: argparse.Namespace, data: Path, loss: dict | list[dict], seed: int, work_dir: Path
) -> Config:
    """The config of one training."""
    cfg = Config.fromfile(CONFIG)
    base = args.channels
    channels = [base * 2**level for level in range(5)]
    cfg.model.backbone.base_channels = base
    cfg.model.decode_head.update(in_channels=channels, decoder_channels=channels[:4])
    cfg.model.decode_head.loss_decode = loss
    dataset = dict(type="MaskFolderDataset", data_root=str(data), split="train", split_seed=0)
    loading = [dict(type="LoadImageFromFile"), dict(type="LoadMask")]
    cfg.train_dataloader = dict(
        batch_size=args.batch,
        num_workers=args.workers,
        persistent_workers=args.workers > 0,
        sampler=dict(type="InfiniteSampler", shuffle=True),
        dataset=dataset
        | dict(
            pipeline=[*loading, *AUGMENTATIONS[args.augmentation], dict(type="PackSegInputs")],
            check_masks=False,
        ),
    )
    for key in ("val", "test"):
        for part in ("dataloader", "evaluator", "cfg"):
            cfg[f"{key}_{part}"] = None
    cfg.optim_wrapper.optimizer.lr = args.lr
    cfg.train_cfg = dict(type="IterBasedTrainLoop", max_iters=args.iters)
    cfg.default_hooks.checkpoint = None
    cfg.default_hooks.pop("visualization")
    cfg.randomness = dict(seed=seed)
    cfg.work_dir = str(work_dir)
    # MMEngine writes the config of every run; what is not used takes it longest.
    for key in ("tta_model", "tta_pipeline", "train_pipeline", "test_pipeline", "dataset"):
        cfg.pop(key, None)
    return cfg


def train(
    args: argparse.Namespace, data: Path, name: str, loss: dict | list, seed: int, path: Path
) -> None:
    """Train with one loss, and write its figures, and its predictions on some images."""
    with tempfile.TemporaryDirectory() as folder:
        runner = Runner.from_cfg(prepare(args, data, loss, seed, Path(folder)))
        start = time.perf_counter()
        runner.train()
        seconds = time.perf_counter() - start
    model = runner.model.eval()
    seen = [count_scores(probs, mask) for _, mask, probs in predictions(model, data, "train")]
    found = list(predictions(model, data, "val"))
    counts = [count_scores(probs, mask) for _, mask, probs in found]
    # The threshold of the best F1 on the images that were trained on, without augmentation.
    chosen = score_figures(seen)["ODS_threshold"]
    total = np.sum(counts, axis=0)
    figures = hit_figures(threshold_hits(total, 0.5)) | score_figures(counts)
    at_chosen = hit_figures(threshold_hits(total, chosen))
    places = picture_places([mask for _, mask, _ in found])
    with written_whole(path.with_suffix(".npz")) as temporary:
        np.savez_compressed(
            temporary,
            **{str(place): (255 * found[place][2]).round().astype(np.uint8) for place in places},
        )
    write_json(
        path,
        figures
        | {
            "chosen_threshold": chosen,
            **{f"chosen_{key}": value for key, value in at_chosen.items()},
            "foreground": float(total[1].sum() / total.sum()),
            "loss": name,
            "config": loss,
            "seed": seed,
            "images": [len(seen), len(found)],
            "seconds": seconds,
            "settings": settings(args),
            "device": torch.cuda.get_device_name() if torch.cuda.is_available() else "CPU",
            "torch": torch.__version__,
            "commit": commit_of(ROOT),
        },
    )
    print_log(
        f"{name}, seed {seed}: IoU {figures['IoU']:.4f}, AP {figures['AP']:.4f}, {seconds:.0f} s",
        logger="current",
    )


def settings(args: argparse.Namespace) -> dict:
    """What every training of a grid has in common."""
    return {
        key: getattr(args, key)
        for key in ("iters", "batch", "size", "crop", "channels", "lr", "augmentation")
    }


def source(args: argparse.Namespace, pairs: list[tuple[Path, Path]]) -> dict:
    """What the scaled images and masks are made from, by place and by content."""
    read = ("images", "masks", "img_suffix", "mask_suffix", "threshold", "mask_value", "mat_field")
    return {
        "data": str(args.data.absolute()),
        "sha256": digest(*(file for pair in pairs for file in pair)),
        "crop": args.crop,
        **{key: getattr(args, key) for key in read},
    }


@torch.no_grad()
def predictions(
    model: torch.nn.Module, data: Path, split: str, batch: int = 32
) -> Iterator[tuple[str, np.ndarray, np.ndarray]]:
    """Name, mask and probabilities of each image of a split."""
    pipeline = [dict(type="LoadImageFromFile"), dict(type="LoadMask"), dict(type="PackSegInputs")]
    dataset = DATASETS.build(
        dict(
            type="MaskFolderDataset",
            data_root=str(data),
            split=split,
            pipeline=pipeline,
            check_masks=False,
        )
    )
    for start in range(0, len(dataset), batch):
        samples = [dataset[i] for i in range(start, min(start + batch, len(dataset)))]
        for result in model.test_step(pseudo_collate(samples)):
            yield (
                result.img_path,
                result.gt_sem_seg.data[0].cpu().numpy(),
                result.seg_logits.data[0].float().cpu().numpy(),
            )


def picture_places(masks: list[np.ndarray]) -> list[int]:
    """Some images for the pictures: from little foreground to much."""
    shares = np.array([mask.mean() for mask in masks])
    with_foreground = [int(place) for place in shares.argsort() if shares[place] > 0]
    if not with_foreground:
        return list(range(min(NUM_PICTURES, len(masks))))
    chosen = np.linspace(0, len(with_foreground) - 1, NUM_PICTURES + 2)[1:-1].round().astype(int)
    return sorted({with_foreground[place] for place in chosen})


def summarise(args: argparse.Namespace, data: Path, losses: dict[str, tuple]) -> None:
    """Write the table, the plot and the pictures of what has been trained."""
    runs = read_runs(args.out, losses)
    if not runs:
        return
    table = make_table(runs, {name: title for name, (title, _) in losses.items()}, args.published)
    with written_whole(args.out / "table.md") as temporary:
        temporary.write_text(table, encoding="utf-8")
    draw_spread(
        args.out / "losses.png",
        {
            title: {losses[name][0]: [100 * run[key] for run in own] for name, own in runs.items()}
            for key, title in (("IoU", "IoU at 0.5"), ("AP", "AP"))
        },
        "percent; dots are seeds, bars their means",
    )
    draw_pictures(args.out, data, {name: losses[name][0] for name in runs})
    print(table)


def read_runs(folder: Path, names: list[str] | dict) -> dict[str, list[dict]]:
    """The figures of all trainings by loss."""
    found = {
        name: [load_json(path) for path in sorted((folder / "runs").glob(f"{name}_[0-9]*.json"))]
        for name in names
    }
    return {name: own for name, own in found.items() if own}


def make_table(runs: dict[str, list[dict]], titles: dict[str, str], published: str | None) -> str:
    """Mean and standard deviation over the seeds, in percent, as Markdown."""
    first = next(iter(runs.values()))[0]
    known = PUBLISHED.get(published or "", {})
    header = ["Loss", "seeds", *FIGURES.values()] + ([f"IoU, {published} (paper)"] if known else [])
    lines = [
        f"{first['images'][0]} images for training, {first['images'][1]} for these figures, "
        f"{first['foreground']:.2%} of their pixels foreground; {first['device']}, torch "
        f"{first['torch']}, commit {first['commit']}; {json.dumps(first['settings'])}",
        "",
        "| " + " | ".join(header) + " |",
        "|---|" + "---:|" * (len(header) - 1),
    ]
    for name, own in runs.items():
        cells = [titles[name], str(len(own))]
        for key in FIGURES:
            values = [100 * run[key] for run in own]
            spread = f" ± {statistics.stdev(values):.1f}" if len(values) > 1 else ""
            cells.append(f"{statistics.fmean(values):.1f}{spread}")
        if known:
            cells.append(f"{known[name][0]:.2f}" if name in known else "")
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


def draw_pictures(out: Path, data: Path, titles: dict[str, str]) -> None:
    """Predictions of the first seed of each loss on the same images (Fig. 4 of the paper).

    At the threshold that was chosen on the training images: a ranking loss knows no other.
    """
    dataset = DATASETS.build(
        dict(type="MaskFolderDataset", data_root=str(data), split="val", check_masks=False)
    )
    masks: dict[str, list[np.ndarray]] = {}
    places: list[int] = []
    for name, title in titles.items():
        path = sorted((out / "runs").glob(f"{name}_[0-9]*.npz"))[0]
        threshold = 255 * load_json(path.with_suffix(".json"))["chosen_threshold"]
        with np.load(path) as saved:
            places = sorted(int(key) for key in saved.files)
            masks[title] = [saved[str(place)] >= threshold for place in places]
    infos = [dataset.get_data_info(place) for place in places]
    images = [cv2.imread(info["img_path"])[..., ::-1] for info in infos]
    truths = [info["mask_reader"].read(info["seg_map_path"]) for info in infos]
    draw_masks(out / "pictures.png", images, truths, masks)


def compare_margins(folders: list[Path], out: Path) -> None:
    """The gain of hybrid focal margin loss over hybrid focal loss, seed by seed (Fig. 3).

    Raises:
        UserError: A folder lacks trainings of either.
    """
    gains = {}
    if len({folder.name for folder in folders}) < len(folders):
        raise UserError(
            f"Expected folders of different names, but got {[str(f) for f in folders]}; rename one"
        )
    for folder in folders:
        names = {path.name.rpartition("_")[0] for path in (folder / "runs").glob("hf*_*.json")}
        runs = read_runs(folder, sorted(names))
        without = {run["seed"]: run["IoU"] for run in runs.get("hf", [])}
        of_margin = {
            float(name.partition("-")[2]): [
                run["IoU"] - without[run["seed"]] for run in own if run["seed"] in without
            ]
            for name, own in runs.items()
            if name.startswith("hfm-")
        }
        of_margin = {margin: values for margin, values in of_margin.items() if values}
        if not of_margin:
            raise UserError(
                f"Expected trainings with hf and hfm of the same seed in {folder / 'runs'}, but "
                "there are none; train them there by --losses hf hfm"
            )
        gains[folder.name] = (runs["hf"][0]["foreground"], of_margin)
        best = max(of_margin, key=lambda margin: statistics.fmean(of_margin[margin]))
        shown = ", ".join(
            f"{margin:g}: {100 * statistics.fmean(values):+.2f}"
            for margin, values in sorted(of_margin.items())
        )
        print(f"{folder.name} ({gains[folder.name][0]:.2%} foreground): best {best:g} ({shown})")
    draw_margins(out / "margins.png", gains)
    write_json(out / "margins.json", {name: list(gain) for name, gain in gains.items()})


if __name__ == "__main__":
    sys.exit(main())
