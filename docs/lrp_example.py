"""The worked example of docs/lrp.md: three detectors of equal AP, and a page about a fourth.

Example:
    python docs/lrp_example.py --out docs/img
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

from mmdet_rank.evaluation.coco import evaluate_coco
from mmdet_rank.evaluation.report import Evaluation, comparison_table
from mmdet_rank.visualization.lrp_components import draw_comparison
from mmdet_rank.visualization.lrp_curves import plot_pr, plot_s_lrp
from mmdet_rank.visualization.lrp_overview import draw_overview

NUM_OBJECTS = 200
# Corner and size of the object in image i: those of i modulo 3.
BOXES = ((100, 100, 100, 100), (50, 80, 60, 60), (20, 20, 24, 24))
NAMES = ("crack", "pothole", "patch", "manhole", "joint", "marking", "sign", "barrier")


def ground_truth(names: tuple[str, ...], objects: list[int]) -> dict:
    """Make one object of a category per image."""
    return {
        "images": [{"id": i, "width": 640, "height": 480} for i in range(len(objects))],
        "categories": [{"id": i, "name": name} for i, name in enumerate(names)],
        "annotations": [
            {"id": i + 1, "image_id": i, "category_id": category, "bbox": list(BOXES[i % 3])}
            for i, category in enumerate(objects)
        ],
    }


def detection(image: int, score: float, category: int = 0, iou: float = 1.0) -> dict:
    """Make a detection of the object of an image; one of IoU 0 is beside it."""
    x, y, w, h = BOXES[image % 3]
    box = [x, y, w * iou, h] if iou > 0 else [x + 2 * w, y, w, h]
    return {"image_id": image, "category_id": category, "bbox": box, "score": score}


def three_detectors() -> tuple[dict, dict[str, list[dict]]]:
    """Make results that find half of the objects, find as much that is none, and find roughly."""
    truth = ground_truth(("thing",), [0] * NUM_OBJECTS)
    scores = np.linspace(0.99, 0.01, 2 * NUM_OBJECTS).round(4).tolist()
    return truth, {
        "misses": [detection(i, scores[i]) for i in range(NUM_OBJECTS // 2)],
        "invents": [
            detection(i, scores[2 * i + k], iou=float(k))
            for i in range(NUM_OBJECTS)
            for k in (0, 1)
        ],
        "imprecise": [detection(i, scores[i], iou=0.72) for i in range(NUM_OBJECTS)],
    }


def one_detector() -> tuple[dict, list[dict]]:
    """Make results of a detector whose categories fail in different ways."""
    rng = np.random.default_rng(0)
    objects = rng.integers(len(NAMES), size=400).tolist()
    results = []
    for image, category in enumerate(objects):
        if rng.random() < 0.95 - 0.07 * category:
            iou = rng.uniform(0.95 - 0.04 * (category % 4), 1) - 0.05 * (category % 3)
            score = rng.beta(5, 2 + category % 5)
            results.append(detection(image, float(score), category, float(iou)))
        for _ in range(rng.poisson(0.6)):
            other = int(rng.integers(len(NAMES)))
            results.append(detection(image, float(rng.beta(1.5, 5)), other, 0.0))
    return ground_truth(NAMES, objects), results


def draw_three(evaluations: dict[str, Evaluation]) -> Figure:
    """Draw s-LRP and PR curves of the three detectors on common axes."""
    merged = Evaluation(
        tau=0.5,
        matches={"all": {name: e.matches["all"]["thing"] for name, e in evaluations.items()}},
    )
    figure = Figure(figsize=(9, 3.6), layout="constrained")
    left, right = figure.subplots(1, 2)
    plot_pr(left, merged, list(evaluations))
    left.set_title("equal AP, different curves")
    plot_s_lrp(right, merged, list(evaluations))
    right.set_title("LRP over the threshold; x: oLRP")
    right.legend(fontsize=8)
    return figure


def main() -> None:
    """Print the table of docs/lrp.md and draw its pictures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, required=True, help="folder for the pictures")
    args = parser.parse_args()
    args.out.mkdir(parents=True, exist_ok=True)
    truth, detectors = three_detectors()
    evaluations = {name: evaluate_coco(truth, dt) for name, dt in detectors.items()}
    reports = {name: evaluation.report() for name, evaluation in evaluations.items()}
    print(comparison_table(reports))
    figures = {
        "lrp_three_detectors": draw_three(evaluations),
        "lrp_comparison": draw_comparison(reports),
        "lrp_overview": draw_overview(evaluate_coco(*one_detector()), "a made-up road detector"),
    }
    for name, figure in figures.items():
        figure.savefig(args.out / f"{name}.png", dpi=80)


if __name__ == "__main__":
    main()
