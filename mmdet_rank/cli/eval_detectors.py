"""Several detectors by their result files: what `mmdet-rank eval` does with more than one."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from mmdet_rank.cli.errors import UserError
from mmdet_rank.cli.eval import evaluate, refuse_overwriting_inputs
from mmdet_rank.evaluation.report import Evaluation, comparison_table
from mmdet_rank.files import write_json


def compare_results(args: argparse.Namespace) -> None:
    """Evaluate several result files against one ground truth, and put them side by side.

    Args:
        args: The arguments of ``mmdet-rank eval``.

    Raises:
        UserError: An argument does not go with several results.
        ValueError: A file is not what it should be.
    """
    if args.thresholds is not None:
        raise UserError(
            "Expected one file of --results with --thresholds, but got several; thresholds belong "
            "to one detector."
        )
    stems = [file.stem for file in args.results]
    names = [s if stems.count(s) == 1 else str(f) for s, f in zip(stems, args.results, strict=True)]
    if len(set(names)) < len(names):
        raise UserError(f"Expected different files of --results, but got {names}.")
    if args.out is not None and args.out.suffix == ".json":
        raise UserError(
            f"Expected a folder as --out with several results, but got {args.out}; each detector "
            "gets a report of its own."
        )
    written_to: dict[str, Path] = {}
    if args.out is not None:
        written_to = {name: args.out / f"{name.replace('/', '_')}.json" for name in names}
        for path in written_to.values():
            refuse_overwriting_inputs(args, {"out": path})
    reports: dict[str, dict] = {}
    evaluations: dict[str, Evaluation] = {}
    for name, file in zip(names, args.results, strict=True):
        reports[name], evaluation = evaluate(args, file)
        if evaluation is not None:
            check_categories(args.categories, evaluation)
            evaluations[name] = evaluation
            for note in evaluation.notes:
                print(f"warning: {note}", file=sys.stderr)
        if args.out is not None:
            write_json(written_to[name], reports[name])
            print(f"wrote {written_to[name]}", file=sys.stderr)
    if args.plots is not None:
        from mmdet_rank.visualization.lrp_plots import save_comparison, save_detectors

        if evaluations:
            written = save_detectors(args.plots, evaluations, args.categories)
        else:
            written = save_comparison(args.plots, reports)
        for path in written:
            print(f"wrote {path}", file=sys.stderr)
    print(comparison_table(reports))


def check_categories(names: list[str], evaluation: Evaluation) -> None:
    """Check the categories that are to get curves of their own.

    Raises:
        UserError: One has no ground truth.
    """
    known = list(evaluation.optimal())
    unknown = [name for name in names if name not in known]
    if unknown:
        raise UserError(
            f"Expected categories with ground truth as --categories, but got {unknown}; there are "
            f"{known[:10]}{' and more' if len(known) > 10 else ''}."
        )
