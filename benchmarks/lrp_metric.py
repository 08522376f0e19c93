"""Time CocoLRPMetric, on either backend, beside CocoMetric on the same made-up detections.

All evaluate the same results in one process, in turns. Wall-clock and processor time are
recorded, and the processor time of what CocoLRPMetric does on its own: on a machine that others use
too, only processor time compares.

Example:
    python benchmarks/lrp_metric.py --out benchmarks/results/lrp_metric.json
"""

from __future__ import annotations

import argparse
import contextlib
import functools
import gc
import io
import json
import platform
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from importlib import metadata
from pathlib import Path
from statistics import median
from typing import Any

import mmdet_rank.register

import mmdet
import numpy as np
import torch
from mmdet.datasets.api_wrappers import COCOeval
from mmdet.evaluation.metrics import CocoMetric
from mmengine.logging import MMLogger

import mmdet_rank
from mmdet_rank.evaluation.metrics import CocoLRPMetric
from mmdet_rank.evaluation.report import Evaluation
from mmdet_rank.files import write_json

HEIGHT, WIDTH = 480, 640


def make_annotations(rng: np.random.Generator, images: int, classes: int) -> dict:
    """Make COCO ground truth with about seven boxes per image, one in fifty a crowd."""
    annotations = []
    for image in range(images):
        for _ in range(rng.poisson(7)):
            size = rng.uniform(8, 300, 2)
            corner = rng.uniform(0, (WIDTH, HEIGHT)) * 0.7
            annotations.append(
                {
                    "id": len(annotations) + 1,
                    "image_id": image,
                    "category_id": int(rng.integers(classes)) + 1,
                    "bbox": [*corner.tolist(), *size.tolist()],
                    "area": float(size.prod()),
                    "iscrowd": int(rng.random() < 0.02),
                }
            )
    return {
        "images": [
            {"id": i, "file_name": f"{i}.jpg", "width": WIDTH, "height": HEIGHT}
            for i in range(images)
        ],
        "annotations": annotations,
        "categories": [{"id": i + 1, "name": f"class {i}"} for i in range(classes)],
    }


def make_samples(rng: np.random.Generator, data: dict, detections: int) -> list[dict]:
    """Make predictions: most objects found with some error, the rest anywhere."""
    classes = len(data["categories"])
    found: dict[int, list] = {image["id"]: [] for image in data["images"]}
    for annotation in data["annotations"]:
        if rng.random() < 0.8:
            x, y, w, h = annotation["bbox"] + rng.normal(0, 4, 4)
            box = [x, y, x + max(w, 1), y + max(h, 1)]
            found[annotation["image_id"]].append((box, annotation["category_id"] - 1, rng.random()))
    samples = []
    for image, objects in found.items():
        objects = objects[:detections]
        rest = detections - len(objects)
        corners = rng.uniform(0, 400, (rest, 2))
        boxes = np.concatenate([corners, corners + rng.uniform(8, 200, (rest, 2))], axis=1)
        labels = [label for _, label, _ in objects] + rng.integers(classes, size=rest).tolist()
        scores = [score for *_, score in objects] + (rng.random(rest) ** 3).tolist()
        samples.append(
            {
                "img_id": image,
                "ori_shape": (HEIGHT, WIDTH),
                "pred_instances": {
                    "bboxes": torch.tensor(np.array([b for b, *_ in objects] + list(boxes))),
                    "labels": torch.tensor(labels),
                    "scores": torch.tensor(scores),
                },
            }
        )
    return samples


class TimedLRPMetric(CocoLRPMetric):
    """CocoLRPMetric that adds up the processor time of what CocoMetric does not do."""

    own_seconds = 0.0

    def _read(self, coco_eval: COCOeval) -> Evaluation | None:
        started = time.process_time()
        evaluation = super()._read(coco_eval)
        self.own_seconds += time.process_time() - started
        return evaluation

    def _publish(self, *args: Any) -> dict[str, float]:
        started = time.process_time()
        figures = super()._publish(*args)
        self.own_seconds += time.process_time() - started
        return figures


def time_metric(kind: Callable, ann_file: Path, data: dict, samples: list[dict]) -> dict:
    """Time a metric from collected results to figures; return seconds and figures."""
    with contextlib.redirect_stdout(io.StringIO()):
        metric = kind(ann_file=str(ann_file))
        metric.dataset_meta = {"classes": tuple(c["name"] for c in data["categories"])}
        metric.process({}, samples)
        gc.collect()
        wall, cpu = time.perf_counter(), time.process_time()
        figures = metric.evaluate(size=len(samples))
        return {
            "wall": time.perf_counter() - wall,
            "cpu": time.process_time() - cpu,
            "own_cpu": getattr(metric, "own_seconds", 0.0),
            "figures": {key: figures.get(key) for key in ("coco/bbox_mAP", "coco/bbox_oLRP")},
        }


def commit() -> str:
    """Return the commit of the working tree."""
    command = ["git", "rev-parse", "--short", "HEAD"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return done.stdout.strip() or "unknown"


def main() -> int:
    """Time both metrics in turns and write the figures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--images", type=int, default=5000)
    parser.add_argument("--detections", type=int, default=100, help="per image")
    parser.add_argument("--classes", type=int, default=80)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path)
    args = parser.parse_args()
    MMLogger.get_instance("mmengine", log_level="ERROR")
    rng = np.random.default_rng(args.seed)
    data = make_annotations(rng, args.images, args.classes)
    samples = make_samples(rng, data, args.detections)
    kinds = {
        "CocoMetric": CocoMetric,
        "CocoLRPMetric": functools.partial(TimedLRPMetric, backend="pycocotools"),
        "CocoLRPMetric, faster": functools.partial(TimedLRPMetric, backend="faster"),
    }
    runs: dict[str, list[dict]] = {name: [] for name in kinds}
    with tempfile.TemporaryDirectory() as folder:
        ann_file = Path(folder) / "gt.json"
        ann_file.write_text(json.dumps(data))
        for repeat in range(args.repeats):
            # Back and forth, so that a machine that slows down favours none.
            names = list(kinds) if repeat % 2 == 0 else list(reversed(kinds))
            for name in names:
                run = time_metric(kinds[name], ann_file, data, samples)
                runs[name].append(run)
                print(f"run {repeat + 1}: {name} {run['cpu']:.2f} s of processor", file=sys.stderr)
    medians = {
        name: {key: median(run[key] for run in of_metric) for key in ("wall", "cpu", "own_cpu")}
        for name, of_metric in runs.items()
    }
    own_cpu = medians["CocoLRPMetric"]["own_cpu"]
    result = {
        "command": "python benchmarks/lrp_metric.py "
        + f"--images {args.images} --detections {args.detections} --classes {args.classes} "
        + f"--repeats {args.repeats} --seed {args.seed}",
        "commit": commit(),
        "machine": f"{platform.machine()}, {cpu_name()}",
        "versions": {
            "python": platform.python_version(),
            "numpy": np.__version__,
            "torch": torch.__version__,
            "mmdet": mmdet.__version__,
            "pycocotools": metadata.version("pycocotools"),
            "faster_coco_eval": metadata.version("faster_coco_eval"),
            "mmdet_rank": mmdet_rank.__version__,
        },
        "runs": runs,
        "medians": medians,
        "ratio_cpu": medians["CocoLRPMetric"]["cpu"] / medians["CocoMetric"]["cpu"],
        "ratio_cpu_faster": medians["CocoLRPMetric"]["cpu"]
        / medians["CocoLRPMetric, faster"]["cpu"],
        "own_share": own_cpu / (medians["CocoLRPMetric"]["cpu"] - own_cpu),
    }
    print(json.dumps(result, indent=2))
    if args.out is not None:
        write_json(args.out, result)
    return 0


def cpu_name() -> str:
    """Return the processor's name where the system tells it."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return f"{len(names)} x {names[0]}" if names else platform.processor()


if __name__ == "__main__":
    sys.exit(main())
