"""Drawing detections on pictures: what `mmdet-rank demo-image` does."""

from __future__ import annotations

import argparse
from pathlib import Path

import mmdet_rank.register  # noqa: F401

from mmdet.apis import DetInferencer

from mmdet_rank.cli import checkpoints
from mmdet_rank.cli.config import load_config
from mmdet_rank.cli.errors import explained, refused_input
from mmdet_rank.cli.predict import find_pictures
from mmdet_rank.engine.lrp_threshold_hook import warn_of_thresholds
from mmdet_rank.evaluation.thresholds import ScoreThresholds, load_thresholds


def draw(args: argparse.Namespace) -> None:
    """Draw.

    Args:
        args: The arguments of ``mmdet-rank demo-image``.

    Raises:
        UserError: The pictures, the config, the checkpoint or the thresholds do not allow it.
    """
    pictures = [str(path) for path in find_pictures(args.pictures)]
    thresholds = None
    if args.thresholds is not None:
        with refused_input():
            thresholds = load_thresholds(args.thresholds)
    checkpoints.use_safe_loading(args.trust_checkpoint)
    checkpoint = checkpoints.read_checkpoint(args.checkpoint, trust=args.trust_checkpoint)
    cfg = load_config(args)
    with explained("The detector cannot be built"):
        inferencer = DetInferencer(model=cfg, weights=args.checkpoint, device=args.device)
    checkpoints.check_fits(inferencer.model, checkpoint, args.checkpoint)
    if thresholds is not None:
        threshold_detections(inferencer, thresholds, default=args.score_thr)
    with explained("The pictures cannot be read"):
        inferencer(
            pictures,
            out_dir=args.out_dir,
            no_save_pred=False,
            pred_score_thr=args.score_thr if thresholds is None else 0.0,
        )
    print(
        f"pictures are in {Path(args.out_dir, 'vis')}, detections in {Path(args.out_dir, 'preds')}"
    )


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
