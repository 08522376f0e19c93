"""RS-ATSS's criterion on a CPU, told dense targets as it once was, beside places.

From the maps of all levels to their gradients, in turns, in processor time: "dense" copies maps
twice and writes a target for every logit, in which the loss searches for the positives; "places" is
what the heads do. The table in ``docs/benchmarks.md`` is written too.

Example:
    python benchmarks/criterion.py --out benchmarks/results/criterion_cpu.json
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from statistics import median

import mmdet_rank.register  # noqa: F401, first: it stands in for operators that mmcv comes without

# isort: split

import torch
from measure import environment, time_in_turns, write_json
from mmdet.models.losses import GIoULoss
from tables import fill, markdown, provenance

from mmdet_rank.criteria import BoxTask, RankingCriterion, RankingProblem
from mmdet_rank.losses import RankSortLoss
from mmdet_rank.models.dense_heads.levels import flatten_maps

ROOT = Path(__file__).resolve().parents[1]
#: An image of 1333 x 800, padded to a multiple of 32, at the strides of ATSS.
LEVELS = [(100, 168), (50, 84), (25, 42), (13, 21), (7, 11)]


class DenseCriterion(RankingCriterion):
    """The criterion as it was: the loss is told a target for every logit."""

    def forward(self, problem):
        """Losses of a head."""
        rank, targets = self.loss_cls.rank, self.targets(problem)
        self.loss_cls.rank = lambda logits, loc_errors=None, **_: rank(logits, targets, loc_errors)
        try:
            return super().forward(problem)
        finally:
            del self.loss_cls.rank


def flatten_twice(maps, channels):
    """The maps as rows, by a reshape and a concatenation."""
    return torch.cat([level.permute(0, 2, 3, 1).reshape(-1, channels) for level in maps])


def make_maps(images, classes, positives):
    """Maps of logits, places and labels of positives, and their boxes, as of a trained model."""
    gen = torch.Generator().manual_seed(0)
    maps = [torch.randn(images, classes, *size, generator=gen) * 1.2 - 6.5 for size in LEVELS]
    number = images * sum(height * width for height, width in LEVELS)
    places = torch.randperm(number, generator=gen)[:positives].sort().values
    labels = torch.full((number,), classes)
    labels[places] = torch.randint(classes, (positives,), generator=gen)
    corners = torch.rand(positives, 2, generator=gen) * 700
    sizes = torch.rand(positives, 2, generator=gen) * 200 + 20
    objects = torch.cat([corners, corners + sizes], dim=1)
    boxes = objects + torch.randn(positives, 4, generator=gen) * 8
    return [level.requires_grad_() for level in maps], places, labels, boxes, objects


def make_step(criterion, flatten, maps, places, labels, weights, boxes, objects):
    """Function that runs one step; returns the losses and the gradients of the maps."""

    def step():
        pred = boxes.clone().requires_grad_()
        logits = flatten(maps, criterion.num_classes)
        task = BoxTask(pred, objects, pred, objects)
        losses = criterion(RankingProblem(logits, labels, places, weights, task))
        total = losses["loss_cls"] + losses["loss_bbox"]
        return [total.detach(), *torch.autograd.grad(total, maps)]

    return step


def measure(images, classes, positives, ignored, seconds):
    """Median processor milliseconds of both, on the same maps."""
    maps, places, labels, boxes, objects = make_maps(images, classes, positives)
    weights = torch.ones(len(labels))
    weights[torch.randperm(len(labels))[: int(ignored * len(labels))]] = 0
    weights[places] = 1
    steps = {}
    for name, kind, flatten in (
        ("dense", DenseCriterion, flatten_twice),
        ("places", RankingCriterion, flatten_maps),
    ):
        criterion = kind(RankSortLoss(), GIoULoss())
        criterion.num_classes = classes
        steps[name] = make_step(criterion, flatten, maps, places, labels, weights, boxes, objects)
    equal = all(map(torch.equal, steps["dense"](), steps["places"]()))
    times = time_in_turns(steps, torch.device("cpu"), seconds)
    return {
        "images": images,
        "num_logits": len(labels) * classes,
        "num_positives": positives,
        "ignored": ignored,
        "equal": equal,
        "processor_ms": {name: 1000 * median(t["processor"]) for name, t in times.items()},
        "runs": {name: len(t["processor"]) for name, t in times.items()},
    }


def table(report):
    """One problem a row."""
    rows = []
    for row in report["results"]:
        ms = row["processor_ms"]
        rows.append([
            f"{row['images']} image{'s' * (row['images'] > 1)}, "
            f"N = {row['num_logits'] / 1e6:.2f} M, "
            f"{100 * row['ignored']:.0f} % ignored",
            f"{ms['dense']:.0f}", f"{ms['places']:.0f}", f"{ms['dense'] / ms['places']:.2f}",
            "yes" if row["equal"] else "no",
        ])  # fmt: skip
    return markdown(["ms of processor", "dense", "places", "times faster", "same bits"], rows)


def main(argv=None):
    """Entry point; returns the exit code."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--out", required=True, help="JSON file to write")
    parser.add_argument("--seconds", type=float, default=5.0, help="time budget of each")
    args = parser.parse_args(argv)
    torch.set_num_threads(1)
    report = {**environment(torch.device("cpu")), "results": []}
    for images, ignored in ((1, 0.0), (4, 0.0), (4, 0.1)):
        report["results"].append(measure(images, 80, 100 * images, ignored, args.seconds))
        print(report["results"][-1], flush=True)
    write_json(args.out, report)
    fill(
        ROOT / "docs" / "benchmarks.md",
        {"criterion": f"{table(report)}\n\n{provenance(report, args.out)}"},
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
