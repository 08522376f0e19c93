"""Draw detections on pictures: `python tools/demo_image.py PICTURES CONFIG CHECKPOINT`."""

from __future__ import annotations

import argparse
from pathlib import Path

from mmdet.apis import DetInferencer
from mmdet.apis.det_inferencer import IMG_EXTENSIONS

from mmdet_rank.cli import checkpoints
from mmdet_rank.cli.config import add_arguments, load_config, parse_arguments
from mmdet_rank.cli.errors import UserError, explained, refused_input, run_tool
from mmdet_rank.engine.lrp_threshold_hook import warn_of_thresholds
from mmdet_rank.evaluation.thresholds import ScoreThresholds, load_thresholds

DEFAULT_SCORE = 0.3


def main(argv: list[str] | None = None) -> int:
    """Run the tool.

    Args:
        argv: Arguments, those of the command line by default.

    Returns:
        The exit code.
    """
    return run_tool(lambda: draw(argv))


def draw(argv: list[str] | None = None) -> None:
    """Draw as `main` does.

    Raises:
        UserError: The pictures, the config, the checkpoint or the thresholds do not allow it.
    """
    args = parse_arguments(make_parser(), argv)
    pictures = find_pictures(args.pictures)
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


def make_parser() -> argparse.ArgumentParser:
    """Make the parser of the command line."""
    parser = argparse.ArgumentParser(
        prog="demo_image.py", description="Draw a detector's detections on pictures."
    )
    parser.add_argument("pictures", help="a picture or a folder of pictures")
    parser.add_argument("config", help="config file")
    parser.add_argument("checkpoint", help="checkpoint file")
    add_arguments(parser)
    parser.add_argument(
        "--thresholds",
        metavar="FILE",
        help="draw detections that reach the score threshold of their category: {name: score}, or "
        "an LRP report",
    )
    parser.add_argument(
        "--score-thr",
        type=float,
        default=DEFAULT_SCORE,
        help="draw detections of this score and above, where --thresholds has none for their "
        "category (default: %(default)s)",
    )
    parser.add_argument("--out-dir", default="outputs", help="where pictures and detections go")
    parser.add_argument("--device", help="such as cpu or cuda:0; the best there is by default")
    return parser


def find_pictures(path: str) -> list[str]:
    """Name the picture, or all pictures of a folder.

    Raises:
        UserError: There is none.
    """
    if not Path(path).exists():
        raise UserError(f"Expected a picture or a folder of pictures, but {path} does not exist")
    if not Path(path).is_dir():
        return [path]
    found = [str(each) for each in sorted(Path(path).iterdir()) if each.is_file()]
    pictures = [each for each in found if each.lower().endswith(IMG_EXTENSIONS)]
    if not pictures:
        raise UserError(
            f"Expected pictures ({', '.join(IMG_EXTENSIONS)}) in {path}, but there is none among "
            f"its {len(found)} files"
        )
    return pictures


def threshold_detections(
    inferencer: DetInferencer, thresholds: dict[str, float], default: float = DEFAULT_SCORE
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
