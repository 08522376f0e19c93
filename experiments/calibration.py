r"""Where to cut the scores: thresholds by LRP Error, by F1, and 0.5, chosen and judged apart.

For each run of ``experiments/real_data.py`` the thresholds of every class are chosen on the
validation set, where LRP Error is least and where F1 is greatest (at IoU 0.5), and judged on the
test set, beside the customary 0.5: LRP Error, precision, recall and F1 there, means over classes.

Example:
    python experiments/calibration.py work_dirs/real/*bccd* --data-root data/bccd \
        --out benchmarks/results/real_bccd_600_thresholds.json
"""

from __future__ import annotations

import argparse
import math
import statistics
import sys
from collections import defaultdict
from pathlib import Path

import numpy as np
from runs import check_runs, spread

from mmdet_rank.cli.errors import UserError, refused_input, run_tool
from mmdet_rank.evaluation.coco import evaluate_coco
from mmdet_rank.evaluation.lrp import MatchedDetections, lrp_curve
from mmdet_rank.evaluation.report import format_table
from mmdet_rank.evaluation.thresholds import midway_threshold
from mmdet_rank.files import load_json, write_json

CUSTOMARY = 0.5
RULES = ("LRP-optimal", "F1-optimal", "0.5")
FIGURES = ("LRP", "precision", "recall", "F1")


def main(argv: list[str] | None = None) -> int:
    """Judge all runs, write the figures and print their means; return the exit code."""
    return run_tool(lambda: judge_runs(argv))


def judge_runs(argv: list[str] | None = None) -> None:
    """Judge, write and print.

    Raises:
        UserError: A run has not ended, or a file is missing.
    """
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("runs", nargs="+", type=Path, help="folders of runs")
    parser.add_argument("--data-root", type=Path, required=True, help="folder of annotations/")
    parser.add_argument("--out", type=Path, help="JSON file for the figures of every run")
    parser.add_argument("--iou-type", default="bbox", choices=["bbox", "segm"])
    args = parser.parse_args(argv)
    for run in args.runs:
        if not (run / "result.json").is_file():
            raise UserError(
                f"Expected runs of real_data.py that have ended, but {run} has no result.json; "
                "run it to its end, or leave it out"
            )
    rows: dict[str, list[dict]] = defaultdict(list)
    with refused_input():
        runs: dict[str, list[dict]] = defaultdict(list)
        for run in sorted(args.runs):
            result = load_json(run / "result.json")
            runs[result["config"]].append(result)
        check_runs(runs)
        for run in sorted(args.runs):
            rows[load_json(run / "result.json")["config"]].append(
                judge(run, args.data_root, args.iou_type)
            )
    if args.out:
        write_json(args.out, rows)
    print(table(rows))


def judge(run: Path, data_root: Path, iou_type: str) -> dict[str, dict[str, float]]:
    """Figures of one run on the test set by each rule of choosing thresholds."""
    matches = {}
    for split in ("val", "test"):
        truth = load_json(data_root / "annotations" / f"{split}.json")
        detections = load_json(run / f"{split}.{iou_type}.json")
        matches[split] = evaluate_coco(truth, detections, iou_type).matches["all"]
    figures = {}
    for rule in RULES:
        found = [
            at_threshold(matched, choose(matches["val"][name], rule))
            for name, matched in matches["test"].items()
            if matched.num_gt
        ]
        figures[rule] = {key: statistics.fmean(f[key] for f in found) for key in FIGURES}
    return figures


def choose(matched: MatchedDetections, rule: str) -> float:
    """The threshold that a rule chooses on a class's detections; infinite for none of them."""
    if rule == "0.5":
        return CUSTOMARY
    curve = lrp_curve(*matched)
    if not curve.num_tp.any():
        return math.inf
    if rule == "LRP-optimal":
        best = int(np.argmin(curve.lrp))
    else:
        precision, recall = 1 - np.nan_to_num(curve.fp, nan=1.0), 1 - curve.fn
        best = int(np.argmax(f1(precision, recall)))
    return midway_threshold(matched.scores, float(curve.thresholds[best]))


def at_threshold(matched: MatchedDetections, threshold: float) -> dict[str, float]:
    """Figures of a class's detections from a threshold on; without any, LRP is 1, the rest 0.

    Example:
        >>> matched = MatchedDetections([0.9, 0.8, 0.3], [True, False, True], [0.75, 0, 1], 4)
        >>> {key: round(value, 3) for key, value in at_threshold(matched, 0.5).items()}
        {'LRP': 0.9, 'precision': 0.5, 'recall': 0.25, 'F1': 0.333}
    """
    keep = np.asarray(matched.scores) >= threshold
    right = int(np.asarray(matched.is_tp)[keep].sum())
    if not keep.any():
        return {"LRP": 1.0, "precision": 0.0, "recall": 0.0, "F1": 0.0}
    kept = (np.asarray(part)[keep] for part in matched[:3])
    precision, recall = right / int(keep.sum()), right / matched.num_gt
    return {
        "LRP": float(lrp_curve(*kept, matched.num_gt).lrp[-1]),
        "precision": precision,
        "recall": recall,
        "F1": float(f1(precision, recall)),
    }


def f1(precision: float | np.ndarray, recall: float | np.ndarray) -> np.ndarray:
    """Harmonic mean of precision and recall; 0 where both are."""
    total = np.asarray(precision + recall)
    return 2 * np.asarray(precision * recall) / np.where(total > 0, total, 1.0)


def table(rows: dict[str, list[dict]]) -> str:
    """Means and standard deviations over the seeds, in percent."""
    cells = [
        [name, rule, *(spread([run[rule][key] for run in runs], 100, 1) for key in FIGURES)]
        for name, runs in rows.items()
        for rule in RULES
    ]
    return format_table(["detector", "thresholds", *FIGURES], cells)


if __name__ == "__main__":
    sys.exit(main())
