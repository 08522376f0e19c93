"""Evaluate detection results by LRP Error, from files alone.

Examples:
    python tools/eval_lrp.py --annotations instances_val2017.json --results dt.bbox.json \
        --iou-type bbox --out report.json --plots plots/
    python tools/eval_lrp.py --dataset panoptic --annotations panoptic_val2017.json \
        --results pred.json --out report.json
    python tools/eval_lrp.py --compare faster-rcnn.json rs-rcnn.json
"""

from __future__ import annotations

import argparse
import functools
import sys
from pathlib import Path
from typing import NoReturn

from tqdm import tqdm

from mmdet_rank.evaluation.coco import evaluate_coco
from mmdet_rank.evaluation.coco_files import IOU_TYPES, load_json
from mmdet_rank.evaluation.files import write_json
from mmdet_rank.evaluation.lrp import EQUAL_IMPORTANCE
from mmdet_rank.evaluation.panoptic import evaluate_panoptic
from mmdet_rank.evaluation.report import (
    Evaluation,
    class_table,
    comparison_table,
    summary_table,
    tau_table,
)
from mmdet_rank.evaluation.thresholds import report_thresholds


class _Parser(argparse.ArgumentParser):
    """An argument parser whose errors are one line and exit code 1."""

    def error(self, message: str) -> NoReturn:
        self.exit(1, f"error: {message} (see {self.prog} --help)\n")


def parse_args(argv: list[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = _Parser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--annotations", type=Path, metavar="GT.json", help="ground truth")
    parser.add_argument("--results", type=Path, metavar="DT.json", help="results of a detector")
    parser.add_argument(
        "--dataset",
        choices=("coco", "lvis", "panoptic"),
        default="coco",
        help="format and rules of the data set (default: %(default)s)",
    )
    parser.add_argument(
        "--iou-type",
        choices=IOU_TYPES,
        default="bbox",
        help="what is compared: boxes, masks or keypoints (default: %(default)s)",
    )
    parser.add_argument(
        "--tau",
        type=float,
        nargs="+",
        default=[0.5],
        help="localisation quality from which on a match counts (default: 0.5); with several, the "
        "first is that of categories and thresholds, and the error is given over all",
    )
    parser.add_argument(
        "--importance",
        type=float,
        nargs=3,
        default=EQUAL_IMPORTANCE,
        metavar=("TP", "FP", "FN"),
        help="weights of localisation errors, false positives and false negatives in LRP Error "
        "(default: 1 1 1); 1 1 2 counts every miss twice, and thresholds follow",
    )
    parser.add_argument("--out", type=Path, metavar="REPORT.json", help="where the report goes")
    parser.add_argument(
        "--thresholds", type=Path, metavar="FILE", help="where LRP-optimal thresholds go"
    )
    parser.add_argument("--plots", type=Path, metavar="DIR", help="folder for pictures")
    parser.add_argument(
        "--gt-folder", type=Path, help="PNG files of GT.json (default: its name without .json)"
    )
    parser.add_argument(
        "--dt-folder", type=Path, help="PNG files of DT.json (default: its name without .json)"
    )
    parser.add_argument(
        "--compare",
        type=Path,
        nargs="+",
        metavar="REPORT.json",
        help="put reports that were written before side by side, evaluate nothing",
    )
    parser.add_argument("--quiet", action="store_true", help="no progress bar, no table by class")
    args = parser.parse_args(argv)
    if args.compare is None and (args.annotations is None or args.results is None):
        parser.error("--annotations and --results are needed, or --compare")
    if args.dataset == "panoptic" and (len(args.tau) > 1 or args.importance != EQUAL_IMPORTANCE):
        parser.error("--dataset panoptic takes one --tau and no --importance")
    if args.dataset == "panoptic" and args.thresholds is not None:
        parser.error("panoptic predictions have no scores, so --thresholds has nothing to write")
    return args


def compare(paths: list[Path], plots: Path | None) -> None:
    """Print reports side by side, and draw them."""
    reports: dict[str, dict] = {}
    for path in paths:
        report = load_json(path)
        if not isinstance(report, dict) or "per_class" not in report:
            raise ValueError(
                f"Expected an LRP report in {path} but got something else; write one with --out."
            )
        # Reports of the same name in different folders are told apart by the whole path.
        same_name = [other.stem for other in paths].count(path.stem) > 1
        reports[str(path) if same_name else path.stem] = report
    print(comparison_table(reports))
    if plots is not None:
        from mmdet_rank.visualization.lrp_plots import save_comparison

        _say_written(save_comparison(plots, reports))


def evaluate(args: argparse.Namespace) -> tuple[dict, Evaluation | None]:
    """Evaluate as the command line says; return the report, and the matches unless panoptic."""
    progress = None if args.quiet else functools.partial(tqdm, desc="matching", file=sys.stderr)
    ground_truth, results = load_json(args.annotations), load_json(args.results)
    names = str(args.annotations), str(args.results)
    if args.dataset == "panoptic":
        report = evaluate_panoptic(
            ground_truth,
            results,
            args.gt_folder or args.annotations.with_suffix(""),
            args.dt_folder or args.results.with_suffix(""),
            tau=args.tau[0],
            progress=progress,
            names=names,
        )
        return report, None
    if args.dataset == "lvis":
        from mmdet_rank.evaluation.lvis import evaluate_lvis as evaluate_dataset
    else:
        evaluate_dataset = evaluate_coco
    evaluation = evaluate_dataset(
        ground_truth,
        results,
        args.iou_type,
        tau=args.tau,
        importance=args.importance,
        progress=progress,
        names=names,
    )
    return evaluation.report(), evaluation


def save_plots(folder: Path, report: dict, evaluation: Evaluation | None, title: str) -> list[Path]:
    """Draw the evaluation into a folder."""
    from mmdet_rank.visualization.lrp_plots import save_lrp_plots, save_panoptic_plots

    if evaluation is None:
        return save_panoptic_plots(folder, report, title)
    return save_lrp_plots(folder, evaluation, title)


def cut_off(evaluation: Evaluation) -> list[str]:
    """Return categories that are best with all their detections: the results may be cut too high.

    One or two detections more would not tell, so only categories with ten or more count.
    """
    return [
        name
        for name, value in evaluation.optimal().items()
        if (scores := evaluation.matches["all"][name].scores).size >= 10
        and value.threshold <= scores.min()
    ]


def main(argv: list[str] | None = None) -> int:
    """Evaluate or compare; return the exit code."""
    args = parse_args(argv)
    try:
        if args.compare is not None:
            compare(args.compare, args.plots)
            return 0
        report, evaluation = evaluate(args)
        if not args.quiet:
            print(class_table(report), end="\n\n")
        print(summary_table(report))
        if table := tau_table(report):
            print(f"\n{table}")
        if evaluation is not None and (names := cut_off(evaluation)):
            print(
                f"note: {len(names)} categories are best with all their detections kept "
                f"({', '.join(names[:10])}); with a lower score threshold in the detector they "
                "may be better still.",
                file=sys.stderr,
            )
        if args.thresholds is not None:
            write_json(args.thresholds, report_thresholds(report))
            _say_written([args.thresholds])
        if args.out is not None:
            write_json(args.out, report)
            _say_written([args.out])
        if args.plots is not None:
            _say_written(save_plots(args.plots, report, evaluation, args.results.stem))
    except (ValueError, OSError, ImportError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


def _say_written(paths: list[Path]) -> None:
    for path in paths:
        print(f"wrote {path}", file=sys.stderr)


if __name__ == "__main__":
    sys.exit(main())
