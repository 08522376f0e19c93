r"""Video object detection and its score thresholds: the use case of thesis H.1.

A detector of still images on clips of moving digits, in three ways:

B: every frame by itself, with all detections.
G: detections from one general threshold on, linked from frame to frame and rescored by Bayes' rule.
S: the same with a threshold for each class, the LRP-optimal one on still validation images.

G and S are there without links too, and with score distributions over the classes and background
and over the classes alone. Everything stays in OUT: clips and detections, which are not made again
where they are there, all figures in ``video.json``, tables in ``video.md``, and ``pr.png`` (Fig.
H.1).

Example:
    python experiments/video.py configs/digits/faster-rcnn_r18_fpn_digits.py epoch_3.pth \
        --out work_dirs/video
"""

from __future__ import annotations

import argparse
import itertools
import statistics
import sys
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path

import mmdet_rank.register  # noqa: F401

import torch
from mmdet.structures import DetDataSample
from mmengine.config import Config
from mmengine.structures import InstanceData
from run_grid import check_folder, data_options, markdown
from runs import NOTHING_FOUND, ROOT, commit_of, digest, keep_settings

from mmdet_rank.cli.errors import UserError, refused_input, run_tool
from mmdet_rank.cli.progress import run_quietly
from mmdet_rank.datasets.digits.build import build_digits
from mmdet_rank.datasets.digits.options import DigitsOptions
from mmdet_rank.evaluation.coco import evaluate_coco
from mmdet_rank.evaluation.report import Evaluation, percent
from mmdet_rank.evaluation.thresholds import report_thresholds
from mmdet_rank.files import load_json, write_json, written_whole
from mmdet_rank.models.trackers import RescoringTracker
from mmdet_rank.visualization.lrp_detectors import draw_pr_detectors

FIGURES = ("AP", "AP50", "oLRP", "oLRP_Loc", "oLRP_FP", "oLRP_FN")
#: The ways of the table by class and of the picture.
WAYS = ("B", "G", "S")


def main(argv: list[str] | None = None) -> int:
    """Run the tool; return the exit code."""
    return run_tool(lambda: compare(make_parser().parse_args(argv)))


def make_parser() -> argparse.ArgumentParser:
    """Make the parser of the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("config", type=Path, help="of a detector of digits")
    parser.add_argument("checkpoint", type=Path, help="of that detector")
    parser.add_argument("--out", type=Path, required=True, help="folder of all that comes out")
    parser.add_argument(
        "--data",
        type=Path,
        metavar="DIR",
        help="folder of tools/make_digits.py with the stills (default: the config's)",
    )
    parser.add_argument(
        "--clips",
        type=Path,
        metavar="DIR",
        help="folder of tools/make_digits.py --frames (default: made in OUT)",
    )
    parser.add_argument("--num-clips", type=int, default=20, help="of those made")
    parser.add_argument("--frames", type=int, default=20, help="of each of them")
    parser.add_argument("--size", type=int, default=192, help="of their sides, in pixels")
    parser.add_argument("--general", type=float, default=0.5, help="threshold of G")
    parser.add_argument(
        "--cfg-options", nargs="+", default=[], help="as for tools/test.py, for stills and frames"
    )
    return parser


def compare(args: argparse.Namespace) -> None:
    """Detect, rescore, evaluate, and print the tables.

    Raises:
        UserError: A file is missing, the clips are none, OUT has other results, or testing failed.
    """
    for file in (args.config, args.checkpoint):
        if not file.is_file():
            raise UserError(f"Expected a config and a checkpoint, but {file} does not exist.")
    check_folder(args.data, "--data")
    check_folder(args.clips, "--clips")
    size = dict(val=args.num_clips, frames=args.frames, size=args.size)
    clips = args.clips or args.out / "clips"
    settings = {
        "config": args.config.name,
        "checkpoint": f"{args.checkpoint.resolve()}, sha256 {digest(args.checkpoint)}",
        "data": str(args.data) if args.data else None,
        "clips": str(args.clips) if args.clips else size,
        "cfg_options": args.cfg_options,
    }
    with refused_input():
        options = DigitsOptions(train=1, **size)
    keep_settings(args.out, settings)
    if args.clips is None:
        with refused_input():
            build_digits(clips, options)
    stills = detect(args, args.data, args.out / "stills")
    frames = detect(args, clips, args.out / "frames")
    thresholds = report_thresholds(evaluate_coco(*stills).report())
    names = {category["id"]: category["name"] for category in frames[0]["categories"]}
    general = dict.fromkeys(names.values(), args.general)
    detections = {"B": frames[1]}
    # A class of which nothing was found on the stills has no threshold of its own.
    for way, chosen in (("G", general), ("S", general | thresholds)):
        kept = [d for d in frames[1] if d["score"] >= chosen[names[d["category_id"]]]]
        detections[f"{way}, not linked"] = kept
        detections[way] = rescore(*frames, chosen, background=True)
        detections[f"{way}, classes alone"] = rescore(*frames, chosen, background=False)
    # Where no score reaches the threshold there is nothing to evaluate.
    evaluations = {way: evaluate_coco(frames[0], each) for way, each in detections.items() if each}
    nothing = nothing_found(frames[0])
    reports = {
        way: evaluations[way].report() if way in evaluations else nothing for way in detections
    }
    write_json(
        args.out / "video.json",
        {
            "config": args.config.stem,
            "general": args.general,
            "thresholds": thresholds,
            "commit": commit_of(ROOT),
            "torch": torch.__version__,
            "ways": reports,
        },
    )
    text = tables(reports, thresholds)
    with written_whole(args.out / "video.md") as temporary:
        temporary.write_text(text + "\n")
    with written_whole(args.out / "pr.png") as temporary:
        shown = {way: evaluations[way] for way in WAYS if way in evaluations}
        draw(shown, thresholds).savefig(temporary, dpi=110)
    print(text)


def detect(args: argparse.Namespace, data: Path | None, folder: Path) -> tuple[dict, list[dict]]:
    """Ground truth of a data set, and the detections on it.

    Args:
        args: Arguments of the command.
        data: Folder of the data set; None for that of the config.
        folder: Where the detections stay.
    """
    prefix = folder / "detections"
    results = Path(f"{prefix}.bbox.json")
    if not results.is_file():
        options = [*data_options(data), *args.cfg_options]
        run_quietly(
            [
                *(sys.executable, "-m", "mmdet_rank", "test", str(args.config)),
                *(str(args.checkpoint), "--work-dir", str(folder), "--cfg-options", *options),
                f"test_evaluator.outfile_prefix={prefix}",
            ],
            folder / "test.log",
        )
    truth = Config.fromfile(folder / args.config.name).test_evaluator.ann_file
    return load_json(truth), load_json(results)


def rescore(
    truth: dict,
    detections: Sequence[Mapping],
    thresholds: float | Mapping[str, float],
    *,
    background: bool,
) -> list[dict]:
    """The detections of clips that reach their threshold, linked and rescored.

    Args:
        truth: Content of an annotation file whose images have ``video_id`` and ``frame_id``.
        detections: Content of a result file.
        thresholds: One, or by class name.
        background: Whether score distributions have a share for background.

    Raises:
        UserError: The images are not frames.
    """
    images = truth["images"]
    if not all({"video_id", "frame_id"} <= image.keys() for image in images):
        raise UserError(
            "Expected frames of clips, but the images have no video_id and frame_id; make clips by "
            "tools/make_digits.py --frames 20."
        )
    ids = [category["id"] for category in truth["categories"]]
    names = [category["name"] for category in truth["categories"]]
    tracker = RescoringTracker(names, thresholds, background=background)
    of_image = defaultdict(list)
    for detection in detections:
        of_image[detection["image_id"]].append(detection)
    rescored = []
    ordered = sorted(images, key=lambda image: (image["video_id"], image["frame_id"]))
    for _, clip in itertools.groupby(ordered, key=lambda image: image["video_id"]):
        for frame, image in enumerate(clip):
            found = of_image[image["id"]]
            sample = DetDataSample(metainfo=dict(frame_id=frame))
            boxes = torch.tensor([d["bbox"] for d in found], dtype=torch.float64).reshape(-1, 4)
            boxes[:, 2:] += boxes[:, :2]
            sample.pred_instances = InstanceData(
                bboxes=boxes,
                labels=torch.tensor([ids.index(d["category_id"]) for d in found]).long(),
                scores=torch.tensor([d["score"] for d in found], dtype=torch.float64),
            )
            tracked = tracker.track(sample)
            tracked.bboxes[:, 2:] -= tracked.bboxes[:, :2]
            rescored += [
                dict(image_id=image["id"], category_id=ids[label], bbox=box, score=score)
                for box, label, score in zip(
                    tracked.bboxes.tolist(),
                    tracked.labels.tolist(),
                    tracked.scores.tolist(),
                    strict=True,
                )
            ]
    return rescored


def nothing_found(truth: dict) -> dict:
    """The figures of a report on no detections."""
    figures = dict.fromkeys(FIGURES) | NOTHING_FOUND
    names = [category["name"] for category in truth["categories"]]
    return figures | {"per_class": dict.fromkeys(names, figures)}


def tables(reports: Mapping[str, Mapping], thresholds: Mapping[str, float]) -> str:
    """Means of every way, and by class AP50 and oLRP of B, G and S, in percent, as Markdown.

    Args:
        reports: LRP reports by way.
        thresholds: Of S, in [0, 1].
    """
    means = [[way, *(percent(report[key]) for key in FIGURES)] for way, report in reports.items()]
    header = ["class", *(f"{key}, {way}" for key in ("AP50", "oLRP") for way in WAYS), "threshold"]
    rows = []
    for name in reports["B"]["per_class"]:
        values = [
            percent(reports[way]["per_class"][name][key])
            for key in ("AP50", "oLRP")
            for way in WAYS
        ]
        rows.append([name, *values, f"{thresholds[name]:.2f}" if name in thresholds else "-"])
    return "\n\n".join([markdown(["", *FIGURES], means), markdown(header, rows)])


def draw(evaluations: Mapping[str, Evaluation], thresholds: Mapping[str, float]) -> object:
    """PR curves of the class whose threshold is farthest from the median (Fig. H.1)."""
    middle = statistics.median(thresholds.values()) if thresholds else 0.0
    name = max(thresholds, key=lambda name: abs(thresholds[name] - middle), default=None)
    return draw_pr_detectors(evaluations, name)


if __name__ == "__main__":
    sys.exit(main())
