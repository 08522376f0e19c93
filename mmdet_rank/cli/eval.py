"""Evaluating result files, or comparing reports: what `mmdet-rank eval` does."""

from __future__ import annotations

import argparse
import functools
import math
import sys
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from tqdm import tqdm

from mmdet_rank.annotations import check_coco, check_results
from mmdet_rank.cli.errors import UserError, refused_input
from mmdet_rank.evaluation.average_precision import correlation_bounds
from mmdet_rank.evaluation.coco import DEFAULT_MAX_DETS, evaluate_coco
from mmdet_rank.evaluation.confusion import confusion_matrix
from mmdet_rank.evaluation.lrp import mean_defined
from mmdet_rank.evaluation.panoptic import evaluate_panoptic
from mmdet_rank.evaluation.report import (
    F1_TAU,
    Evaluation,
    class_table,
    comparison_table,
    defined,
    format_table,
    percent,
    summary_table,
    tau_table,
)
from mmdet_rank.evaluation.thresholds import report_thresholds
from mmdet_rank.files import load_json, write_json


def evaluate_files(args: argparse.Namespace) -> None:
    """Evaluate or compare.

    Args:
        args: The arguments of ``mmdet-rank eval``.

    Raises:
        UserError: An argument is missing, or a file is not what it should be.
    """
    if args.compare is None and (args.annotations is None or args.results is None):
        raise UserError("--annotations and --results are needed, or --compare")
    check_outputs(args)
    if args.dataset != "coco" and args.quality != "iou":
        raise UserError(f"--quality giou is for boxes of COCO files, not for {args.dataset}")
    if args.bounds and args.quality != "iou":
        raise UserError("Expected --quality iou with --bounds, but got giou; leave one out")
    if args.dataset == "panoptic" and args.bounds:
        raise UserError("panoptic predictions have no scores, so --bounds has nothing to order")
    if args.dataset == "panoptic" and args.thresholds is not None:
        raise UserError("panoptic predictions have no scores, so --thresholds has nothing to write")
    if args.dt_folder is not None and args.compare is None and len(args.results) > 1:
        raise UserError(
            "Expected one file of --results with --dt-folder, but got several, each of which has "
            "PNG files of its own; leave it out: they are looked for in the folder beside each "
            "file that has its name"
        )
    if args.confusion is not None:
        check_confusion(args)
    with refused_input():
        if args.compare is not None:
            compare(args.compare, args.plots)
            return
        if len(args.results) > 1:
            from mmdet_rank.cli.eval_detectors import compare_results

            compare_results(args)
            return
        report, evaluation = evaluate(args, args.results[0])
        if args.thresholds is not None:
            write_json(args.thresholds, report_thresholds(report))
            _say_written([args.thresholds])
        if args.out is not None:
            write_json(args.out, report)
            _say_written([args.out])
        if args.confusion is not None:
            _say_written(save_confusion(args.confusion, report["confusion"], args.results[0].stem))
        if args.plots is not None:
            _say_written(save_plots(args.plots, report, evaluation, args.results[0].stem))
        for note in evaluation.notes if evaluation is not None else []:
            print(f"warning: {note}", file=sys.stderr)
        if not args.quiet:
            print(class_table(report), end="\n\n")
        print(summary_table(report))
        for table in (tau_table(report), bounds_table(report)):
            if table:
                print(f"\n{table}")
        if evaluation is not None and (names := cut_off(evaluation)):
            print(
                f"note: {len(names)} categories are best with all their detections kept "
                f"({', '.join(names[:10])}); with a lower score threshold in the detector they "
                "may be better still.",
                file=sys.stderr,
            )


def check_outputs(args: argparse.Namespace) -> None:
    """Refuse what would be written elsewhere than asked for, or not at all.

    Raises:
        UserError: An output does not go with the inputs, is a folder where a file belongs or a file
            where a folder does.
    """
    if args.compare is not None:
        for name in ("annotations", "results", "out", "thresholds"):
            if getattr(args, name) is not None:
                raise UserError(
                    f"Expected reports alone with --compare, but got --{name} too; leave it out: "
                    "nothing is evaluated"
                )
    several = args.compare is None and len(args.results) > 1
    if args.categories and not (several and args.plots is not None):
        raise UserError(
            "Expected several --results and --plots with --categories, which get curves of their "
            "own there, but did not get both; leave it out"
        )
    for name in ("out", "thresholds"):
        path = getattr(args, name)
        if path is not None and path.is_dir() and not (several and name == "out"):
            raise UserError(
                f"Expected a file as --{name}, but {path} is a folder; give a file in it, such as "
                f"{path / 'report.json'}"
            )
    for name in ("plots", *(["out"] if several else [])):
        path = getattr(args, name)
        if path is not None and path.exists() and not path.is_dir():
            raise UserError(f"Expected a folder as --{name}, but {path} is a file; give another")
    outputs = {name: getattr(args, name) for name in ("out", "thresholds", "confusion")}
    if several:
        outputs.pop("out")
    refuse_overwriting_inputs(args, outputs)


def refuse_overwriting_inputs(args: argparse.Namespace, outputs: Mapping[str, Path | None]) -> None:
    """Refuse to write a file in the place of one that is read, or two into one.

    Args:
        args: With ``annotations``, ``results`` and ``compare``.
        outputs: Files that will be written, by option.

    Raises:
        UserError: A file would be lost.
    """
    read = [args.annotations, *(args.results or []), *(args.compare or [])]
    taken = {file.resolve(): "which is read" for file in read if file is not None}
    for name, path in outputs.items():
        if path is None:
            continue
        if path.resolve() in taken:
            raise UserError(
                f"Expected another file as --{name} than {path}, {taken[path.resolve()]}; give a "
                "new one"
            )
        taken[path.resolve()] = "which is written too"


def check_confusion(args: argparse.Namespace) -> None:
    """Refuse a confusion matrix where there is none.

    Raises:
        UserError: Another argument does not go with ``--confusion``.
    """
    if args.compare is not None or len(args.results) > 1:
        raise UserError(
            "Expected one file of --results with --confusion, but got several; draw one detector "
            "at a time"
        )
    if args.dataset != "coco" or args.iou_type == "keypoints" or args.quality != "iou":
        raise UserError(
            "Expected boxes or masks of COCO files and IoU with --confusion, but got --dataset "
            f"{args.dataset} --iou-type {args.iou_type} --quality {args.quality}; leave it out"
        )
    from matplotlib.figure import Figure

    known = Figure().canvas.get_supported_filetypes()
    if args.confusion.suffix.removeprefix(".").lower() not in known or args.confusion.is_dir():
        raise UserError(
            f"Expected a picture as --confusion, but got {args.confusion}; give a name such as "
            "confusion.png"
        )


def compare(paths: list[Path], plots: Path | None) -> None:
    """Print reports side by side, and draw them."""
    reports: dict[str, dict] = {}
    for path in paths:
        report = load_json(path)
        if not isinstance(report, dict) or "per_class" not in report:
            raise ValueError(
                f"Expected an LRP report in {path}, but got something else; write one with --out."
            )
        # Reports of the same name in different folders are told apart by the whole path.
        same_name = [other.stem for other in paths].count(path.stem) > 1
        reports[str(path) if same_name else path.stem] = report
    table = comparison_table(reports)
    if plots is not None:
        from mmdet_rank.visualization.lrp_plots import save_comparison

        _say_written(save_comparison(plots, reports))
    print(table)


def evaluate(args: argparse.Namespace, file: Path) -> tuple[dict, Evaluation | None]:
    """Evaluate a result file as the command line says.

    Returns:
        The report, and the matches unless panoptic.
    """
    bar = functools.partial(tqdm, disable=args.quiet, file=sys.stderr)
    progress = None if args.quiet else functools.partial(bar, desc="matching")
    reading = functools.partial(bar, delay=5, leave=False)
    ground_truth, results = (
        load_json(path, progress=functools.partial(reading, desc=f"reading {path.name}"))
        for path in (args.annotations, file)
    )
    names = str(args.annotations), str(file)
    if args.dataset == "panoptic":
        report = evaluate_panoptic(
            ground_truth,
            results,
            args.gt_folder or args.annotations.with_suffix(""),
            args.dt_folder or file.with_suffix(""),
            tau=args.tau,
            importance=args.importance,
            progress=progress,
            names=names,
        )
        return report, None
    options = {}
    if args.dataset == "lvis":
        from mmdet_rank.evaluation.lvis import evaluate_lvis as evaluate_dataset
    else:
        evaluate_dataset = functools.partial(evaluate_coco, backend=args.backend)
        options = {"quality": args.quality}
    evaluation = evaluate_dataset(
        ground_truth,
        results,
        args.iou_type,
        tau=args.tau,
        importance=args.importance,
        max_dets=args.max_dets,
        progress=progress,
        names=names,
        **options,
    )
    report = evaluation.report()
    if args.bounds:
        report["correlation_bounds"] = bounds_report(evaluation)
    if args.confusion is not None:
        report["confusion"] = confusion_report(args, report, ground_truth, results)
    return report, evaluation


def confusion_report(
    args: argparse.Namespace, report: dict, ground_truth: object, results: object
) -> dict:
    """Counts of objects by their class and that of their detection, at the best mean F1.

    Args:
        args: The arguments of ``mmdet-rank eval``.
        report: Of the evaluation of both files.
        ground_truth: What was read of one.
        results: Of the other. Their ids may be another file's, which only the check translates.

    Returns:
        ``threshold`` (None where there is no detection), ``classes`` by their names with the
        background last, and ``counts``, a row for each class of objects.
    """
    threshold = report["F1_threshold"]
    iou_type = args.iou_type
    truth = check_coco(ground_truth, use="evaluation", iou_types=(iou_type,)).dataset
    counts = confusion_matrix(
        truth,
        check_results(results, truth, iou_type).detections,
        math.inf if threshold is None else threshold,
        iou_type,
        tau=F1_TAU,
        max_dets=args.max_dets or DEFAULT_MAX_DETS[iou_type],
    )
    names = [category["name"] for category in truth["categories"]]
    return {
        "threshold": threshold,
        "classes": [*names, "background"],
        "counts": counts.tolist(),
    }


def save_confusion(path: Path, confusion: dict, title: str) -> list[Path]:
    """Draw the confusion matrix of a report; return the path in a list."""
    from mmdet_rank.visualization.confusion_picture import draw_confusion
    from mmdet_rank.visualization.lrp_plots import save_figures

    heading = f"{title}: IoU {F1_TAU}"
    if confusion["threshold"] is not None:
        heading += f", confidence {confusion['threshold']:.3g}"
    figure = draw_confusion(np.array(confusion["counts"]), confusion["classes"][:-1], heading)
    return save_figures({path: figure})


def save_plots(folder: Path, report: dict, evaluation: Evaluation | None, title: str) -> list[Path]:
    """Draw the evaluation into a folder."""
    from mmdet_rank.visualization.lrp_plots import save_lrp_plots, save_panoptic_plots

    if evaluation is None:
        return save_panoptic_plots(folder, report, title)
    return save_lrp_plots(folder, evaluation, title)


def bounds_report(evaluation: Evaluation) -> dict:
    """AP, AP50, AP75 and AP90 as found and at both bounds, and the correlation as it is.

    Raises:
        ValueError: IoU 0.5 was not evaluated.
    """
    bounds = correlation_bounds(evaluation.matches_at(F1_TAU))

    def figures(by_tau: dict[float, float]) -> dict[str, float | None]:
        named = {"AP50": by_tau[0.5], "AP75": by_tau[0.75], "AP90": by_tau[0.9]}
        named = {"AP": mean_defined(by_tau.values())} | named
        return {key: defined(value) for key, value in named.items()}

    return {
        "correlation": defined(bounds.correlation),
        "lower": figures(bounds.lower),
        "found": figures(bounds.found),
        "upper": figures(bounds.upper),
    }


def bounds_table(report: dict) -> str:
    """Return the bounds of a report as a text table, in percent; empty without them."""
    bounds = report.get("correlation_bounds")
    if bounds is None:
        return ""
    found = bounds["correlation"]
    correlations = {"lower": "-1", "found": "-" if found is None else f"{found:.2f}", "upper": "1"}
    keys = list(bounds["found"])
    rows = [
        [name, correlation, *(percent(bounds[name][key]) for key in keys)]
        for name, correlation in correlations.items()
    ]
    return format_table(["localisation", "correlation", *keys], rows)


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


def _say_written(paths: list[Path]) -> None:
    for path in paths:
        print(f"wrote {path}", file=sys.stderr)
