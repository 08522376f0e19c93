"""Drawing detections on pictures: what `mmdet-rank demo-image` does."""

from __future__ import annotations

import argparse
from pathlib import Path

import mmdet_rank.register  # noqa: F401

import mmcv
from mmdet.apis import DetInferencer
from tqdm import tqdm

from mmdet_rank.cli import checkpoints
from mmdet_rank.cli.config import load_config
from mmdet_rank.cli.errors import explained, refused_input
from mmdet_rank.cli.pictures import (
    find_pictures,
    make_folder,
    places_below,
    read_picture,
    refuse_overwriting,
    tell_unread,
    text_places,
    without_results,
)
from mmdet_rank.engine.lrp_threshold_hook import warn_of_thresholds
from mmdet_rank.evaluation.thresholds import ScoreThresholds, load_thresholds
from mmdet_rank.files import write_json, written_whole


def draw(args: argparse.Namespace) -> None:
    """Draw.

    Args:
        args: The arguments of ``mmdet-rank demo-image``.

    Raises:
        UserError: The pictures, the config, the checkpoint or the thresholds do not allow it.
    """
    vis, preds = (Path(args.out_dir, name) for name in ("vis", "preds"))
    # Panoptic results are pictures too, and go to `preds`.
    pictures = without_results(find_pictures(args.pictures), [vis, preds], preds)
    places = places_below(pictures)
    refuse_overwriting(pictures, vis, places, preds)
    thresholds = None
    if args.thresholds is not None:
        with refused_input():
            thresholds = load_thresholds(args.thresholds)
    checkpoints.use_safe_loading(args.trust_checkpoint)
    checkpoint = checkpoints.read_checkpoint(args.checkpoint, trust=args.trust_checkpoint)
    args.work_dir, args.launcher = None, "none"
    cfg = load_config(args)
    for folder in (vis, preds):
        make_folder(folder)
    with explained("The detector cannot be built"):
        inferencer = DetInferencer(
            model=cfg, weights=args.checkpoint, device=args.device, show_progress=False
        )
    checkpoints.check_fits(inferencer.model, checkpoint, args.checkpoint)
    if thresholds is not None:
        threshold_detections(inferencer, thresholds, default=args.score_thr)
    unread = []
    shown = tqdm(pictures, desc="detecting", unit="picture")
    # One at a time, for DetInferencer writes all into one folder by their base names.
    for picture, place, file in zip(shown, places, text_places(places), strict=True):
        if read_picture(picture) is None:
            unread.append(picture)
            continue
        with explained(f"Detecting on {picture} failed"):
            found = inferencer(
                str(picture),
                return_vis=True,
                pred_score_thr=args.score_thr if thresholds is None else 0.0,
            )
        (drawn,), (result,) = found["visualization"], found["predictions"]
        with written_whole(vis / place) as temporary:
            mmcv.imwrite(drawn[..., ::-1], str(temporary))
        if "panoptic_seg" in result:
            name = f"{file.stem}_panoptic_seg.png"
            result["panoptic_seg_path"] = str(preds / file.with_name(name))
            with written_whole(result["panoptic_seg_path"]) as temporary:
                mmcv.imwrite(result.pop("panoptic_seg")[..., ::-1], str(temporary))
        write_json(preds / file, result)
    tell_unread(unread, pictures, args.pictures)
    print(f"pictures are in {vis}, detections in {preds}")


def threshold_detections(
    inferencer: DetInferencer, thresholds: dict[str, float], default: float
) -> None:
    """Have an inferencer of MMDetection return and draw thresholded detections only.

    Args:
        inferencer: Any detector's inferencer.
        thresholds: Score threshold by category name.
        default: Threshold of categories that have none of their own.

    Raises:
        UserError: A category is unknown to the detector.
    """
    model = inferencer.model
    with refused_input():
        keeper = ScoreThresholds(thresholds, model.dataset_meta["classes"], default)
    warn_of_thresholds(thresholds, keeper.missing, getattr(model, "test_cfg", None), default)
    model.register_forward_hook(keeper)
