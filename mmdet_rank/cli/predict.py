"""Detecting on pictures with a checkpoint that knows its config and its thresholds."""

from __future__ import annotations

import argparse
import contextlib
import io
import statistics
import warnings
from collections.abc import Iterator
from pathlib import Path

import mmdet_rank.register  # noqa: F401

import mmcv
import torch
from mmdet.apis import inference_detector, init_detector
from mmdet.structures import DetDataSample
from mmdet.structures.mask import encode_mask_results
from mmdet.visualization import DetLocalVisualizer
from mmengine.config import Config
from tqdm import tqdm

from mmdet_rank.annotations.pictures import DETECTIONS
from mmdet_rank.cli import checkpoints
from mmdet_rank.cli.errors import UserError, explained, interruptible, refused_input
from mmdet_rank.cli.pictures import (
    find_pictures,
    make_folder,
    places_below,
    read_picture,
    refuse_overwriting,
    tell_unread,
    without_results,
)
from mmdet_rank.cli.saved_config import read_saved_config
from mmdet_rank.evaluation.thresholds import ScoreThresholds, load_thresholds
from mmdet_rank.files import load_json, write_json, written_whole

#: Score from which a detection counts where no thresholds are known.
DEFAULT_SCORE = 0.3


def predict(args: argparse.Namespace) -> None:
    """Detect, draw, and write ``detections.json``.

    Args:
        args: ``checkpoint`` (a file, or the folder of a training), ``pictures``, ``out``,
            ``thresholds``, ``score_thr``, ``device``, ``trust_checkpoint``.

    Raises:
        UserError: The checkpoint, the pictures or the thresholds do not allow it.
    """
    out = Path(args.out)
    pictures = without_results(find_pictures(args.pictures), [out], out / DETECTIONS)
    places = places_below(pictures)
    refuse_overwriting(pictures, out, places, out / DETECTIONS)
    checkpoints.use_safe_loading(args.trust_checkpoint)
    path = find_checkpoint(Path(args.checkpoint))
    make_folder(out)
    checkpoint = checkpoints.read_checkpoint(str(path), trust=args.trust_checkpoint)
    cfg = own_config(path, checkpoint, trust=args.trust_checkpoint)
    ids = category_ids(path, checkpoint)
    device = args.device or ("cuda:0" if torch.cuda.is_available() else "cpu")
    printed = io.StringIO()
    with explained("The detector cannot be built"), contextlib.redirect_stdout(printed):
        model = init_detector(cfg, str(path), palette="random", device=device)
    checkpoints.check_fits(model, checkpoint, str(path))
    model.dataset_meta["palette"] = (cfg.get("metainfo") or {}).get("palette", "random")
    classes = model.dataset_meta["classes"]
    _apply_thresholds(args, path, model)
    visualizer = DetLocalVisualizer(name=f"predict {args.out}")
    visualizer.dataset_meta = model.dataset_meta
    detections: list[dict] = []
    done: list[Path] = []
    unread: list[Path] = []
    # Of boxes at the edge, which are drawn as far as there is a picture.
    warnings.filterwarnings("ignore", message=".*out of bounds", module="mmengine.visualization")
    shown = tqdm(pictures, desc="detecting", unit="picture")
    with _kept(detections, done, out / DETECTIONS):
        for number, (picture, name) in enumerate(zip(shown, places, strict=True), start=1):
            pixels = read_picture(picture)
            if pixels is None:
                unread.append(picture)
                continue
            if not (out / DETECTIONS).exists():
                # By it a run after one that was killed knows the pictures here for drawn ones.
                write_json(out / DETECTIONS, [])
            with explained(f"Detecting on {picture} failed"):
                sample = inference_detector(model, str(picture))
                visualizer.add_datasample(
                    str(name), mmcv.bgr2rgb(pixels), sample, draw_gt=False, pred_score_thr=0.0
                )
                with written_whole(out / name) as temporary:
                    mmcv.imwrite(visualizer.get_image()[..., ::-1], str(temporary))
                found = {"image_id": number, "file_name": name.as_posix()}
                detections += [found | entry for entry in _entries(sample, classes, ids)]
            done.append(picture)
    tell_unread(unread, pictures, args.pictures)
    print(
        f"Found {len(detections)} objects in {len(done)} pictures; they are drawn in {out}, and "
        f"listed in {DETECTIONS} there"
    )


@contextlib.contextmanager
def _kept(detections: list[dict], done: list[Path], file: Path) -> Iterator[None]:
    """Write what the body detects, even where a picture fails or the user presses Ctrl-C."""

    def left() -> str:
        if not done:
            return "nothing was detected before"
        return f"what was detected on {len(done)} pictures before is in {file}"

    try:
        with interruptible(lambda: f"{left()}; the same command begins anew"):
            try:
                yield
            finally:
                if done:
                    write_json(file, detections)
    except UserError as error:
        raise UserError(f"{error}\n({left()})") from error


def find_checkpoint(path: Path) -> Path:
    """The checkpoint itself, or ``best.pth`` of the folder of a training.

    Raises:
        UserError: There is none.
    """
    if path.is_dir():
        path = path / "best.pth"
    if not path.is_file():
        raise UserError(
            f"Expected a checkpoint, or the folder of a training with best.pth, but {path} does "
            "not exist; train first, or check the path"
        )
    return path


def own_config(path: Path, checkpoint: dict, *, trust: bool = False) -> Config:
    """The config that a checkpoint was trained by: it carries it, or it lies beside it.

    Args:
        path: The checkpoint.
        checkpoint: What it holds.
        trust: Run the config that it carries as Python, as MMEngine does.

    Raises:
        UserError: Neither is so, or the config that it carries needs `trust`.
    """
    text = (checkpoint.get("meta") or {}).get("cfg")
    if isinstance(text, str):
        with explained(f"The config in {path} cannot be read"):
            return Config.fromstring(text, ".py") if trust else read_saved_config(text, str(path))
    beside = path.parent / "config.py"
    if beside.is_file():
        with explained(f"The config {beside} cannot be read"):
            return Config.fromfile(beside)
    raise UserError(
        f"Expected a checkpoint that carries its config, or config.py beside it, but {path} has "
        "neither; use `mmdet-rank demo-image PICTURES CONFIG CHECKPOINT`"
    )


def category_ids(path: Path, checkpoint: dict) -> list[int] | None:
    """Ids of the categories in the data set's own files, by label; None where they are unknown."""
    meta = (checkpoint.get("meta") or {}).get("dataset_meta") or {}
    if "category_ids" in meta:
        return list(meta["category_ids"])
    annotations = path.parent / "annotations" / "val.json"
    if annotations.is_file():
        with refused_input():
            return [category["id"] for category in load_json(annotations)["categories"]]
    return None


def _apply_thresholds(args: argparse.Namespace, path: Path, model: torch.nn.Module) -> None:
    """Have the model give only detections that reach the threshold of their class."""
    thresholds: dict[str, float] = {}
    default = DEFAULT_SCORE if args.score_thr is None else args.score_thr
    file = Path(args.thresholds) if args.thresholds else path.parent / "thresholds.json"
    if args.score_thr is not None and not args.thresholds:
        print(f"Detections from a score of {default:g} on count.")
    elif args.thresholds or file.is_file():
        with refused_input():
            thresholds = load_thresholds(file)
        if thresholds and args.score_thr is None:
            # Scores of other detectors mean something else than this one's.
            default = statistics.fmean(thresholds.values())
        if thresholds:
            print(f"Detections from the thresholds in {file} on count.")
        else:
            print(f"{file} has no thresholds: detections from a score of {default:g} on count.")
    else:
        print(f"There is no {file}: detections from a score of {default:g} on count.")
    with refused_input():
        keeper = ScoreThresholds(thresholds, model.dataset_meta["classes"], default)
    if thresholds and keeper.missing:
        print(f"No threshold is known of {', '.join(keeper.missing)}: {default:.3g} is taken.")
    model.register_forward_hook(keeper)


def _entries(
    sample: DetDataSample, classes: tuple[str, ...], ids: list[int] | None
) -> Iterator[dict]:
    """Detections of a picture in the form of COCO's results, with the name of the class."""
    instances = sample.pred_instances.cpu()
    masks = encode_mask_results(instances.masks.numpy()) if "masks" in instances else None
    for place, (x1, y1, x2, y2) in enumerate(instances.bboxes.tolist()):
        label = int(instances.labels[place])
        entry = {
            "category_id": ids[label] if ids else label + 1,
            "category": classes[label],
            "bbox": [x1, y1, x2 - x1, y2 - y1],
            "score": float(instances.scores[place]),
        }
        if masks is not None:
            mask = masks[place]
            entry["segmentation"] = mask | {"counts": mask["counts"].decode("ascii")}
        yield entry
