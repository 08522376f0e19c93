"""The demo, `mmdet-rank demo`: data, training, evaluation and pictures by one command.

Each step runs the project's own command or function and leaves its results in the work folder; a
step whose results are there is not repeated.
"""

from __future__ import annotations

import argparse
import contextlib
import hashlib
import io
import json
import shutil
import sys
import time
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from mmengine.config import Config
from pycocotools.coco import COCO

from mmdet_rank.cli.config import find_config
from mmdet_rank.cli.errors import UserError, explained, interruptible, refused_input
from mmdet_rank.cli.progress import run_quietly, run_training
from mmdet_rank.datasets.digits.build import build_digits
from mmdet_rank.datasets.digits.metainfo import CLASSES
from mmdet_rank.datasets.digits.options import DigitsOptions
from mmdet_rank.evaluation.report import format_table, percent
from mmdet_rank.evaluation.thresholds import report_thresholds
from mmdet_rank.files import write_json, written_whole
from mmdet_rank.visualization.detection_pictures import (
    draw_detections,
    draw_sheet,
    save_picture,
)
from mmdet_rank.visualization.training_curve import draw_training_curve, read_scalars

NUM_PICTURES = 24
NUM_ON_SHEET = 8
COLUMNS = ("AP", "AP50", "AP75", "oLRP", "oLRP_Loc", "oLRP_FP", "oLRP_FN")


def demo(args: argparse.Namespace) -> None:
    """Run the demo.

    Args:
        args: The arguments of ``mmdet-rank demo``.

    Raises:
        UserError: The config or the data folder does not allow it, or a step failed.
    """
    started = time.perf_counter()
    run = Demo(find_config(args.config), Path(args.work_dir))
    with refused_input():
        options = DigitsOptions(train=args.train, val=args.val)
    with interruptible(lambda: "the same command goes on after the last epoch"):
        run.prepare_data(options)
        run.forget_other_runs()
        run.train()
        run.evaluate()
        run.draw()
    print(f"\nAll done in {_duration(time.perf_counter() - started)}.")
    print("On your own pictures: mmdet-rank train DATA --work-dir DIR\n\nResults:\n")
    print(run.table())


@dataclass
class Demo:
    """The steps of the demo and where their results lie.

    Attributes:
        config: Config of the detector.
        folder: Work folder.
    """

    config: Path
    folder: Path

    @cached_property
    def cfg(self) -> Config:
        """The config, read."""
        with explained(f"{self.config} cannot be read"):
            cfg = Config.fromfile(self.config)
        dataset = (cfg.get("val_dataloader") or {}).get("dataset") or {}
        classes = (dataset.get("metainfo") or {}).get("classes") or ()
        if tuple(classes) != CLASSES:
            raise UserError(
                f"Expected a config of configs/digits/, for the demo makes that data, but "
                f"{self.config} has other classes; train it by mmdet-rank train"
            )
        if "bbox" not in cfg.val_evaluator.metric:
            raise UserError(
                f"Expected a config that evaluates boxes, which the demo draws, but {self.config} "
                f"evaluates {cfg.val_evaluator.metric}; train it by mmdet-rank train"
            )
        return cfg

    @property
    def data(self) -> Path:
        """Folder of the data set, as the config says."""
        return Path(self.cfg.val_dataloader.dataset.data_root)

    @property
    def training(self) -> Path:
        """Work folder of the training."""
        return self.folder / "training"

    @property
    def report(self) -> Path:
        """The LRP report, which has AP too."""
        return self.folder / "evaluation" / "report.bbox.lrp.json"

    @property
    def detections(self) -> Path:
        """All detections on the validation set, in COCO's format."""
        return self.folder / "evaluation" / "detections.bbox.json"

    @property
    def state(self) -> Path:
        """The run that the results belong to, and how long training took."""
        return self.folder / "demo.json"

    @property
    def name(self) -> str:
        """Name of the detector: that of its config."""
        return self.config.stem

    def prepare_data(self, options: DigitsOptions) -> None:
        """Step 1: make the data set, or find it."""
        _announce(1, "Data: handwritten digits on photographs")
        with refused_input():
            try:
                report = build_digits(self.data, options)
            except FileExistsError as error:
                raise UserError(
                    f"{str(error).partition('. Choose')[0]}. Replace it by mmdet-rank make-digits "
                    f"--out {self.data} --train {options.train} --val {options.val} --overwrite"
                ) from error
        counts = ", ".join(
            f"{count['images']} images with {count['digits']} digits for {split}"
            for split, count in report.counts.items()
        )
        print(f"{'Made' if report.made else 'Found'} {counts}, in {self.data}")

    def forget_other_runs(self) -> None:
        """Remove results in the work folder that belong to another config or other data."""
        manifest = (self.data / "manifest.json").read_text(encoding="utf-8")
        text = self.cfg.pretty_text + manifest
        fingerprint = hashlib.sha256(text.encode()).hexdigest()
        state = self._read_state()
        if state.get("fingerprint") == fingerprint:
            return
        if state:
            print(f"The config or the data changed: the results in {self.folder} are made anew")
            for path in (self.training, self.report.parent, self.folder / "pictures"):
                shutil.rmtree(path, ignore_errors=True)
            for name in ("detections.png", "training_curve.png"):
                (self.folder / name).unlink(missing_ok=True)
        write_json(self.state, {"fingerprint": fingerprint, "training_seconds": 0.0})

    def train(self) -> None:
        """Step 2: train, go on with an interrupted training, or find it finished."""
        _announce(2, f"Training: {self.name}")
        state = self._read_state()
        if state.get("checkpoint") and (self.training / state["checkpoint"]).is_file():
            print(f"Found {self.training / state['checkpoint']}, {self._training_time()}")
            return
        pointer = self.training / "last_checkpoint"
        if not pointer.is_file():
            state["training_seconds"] = 0.0
        command = [
            *(sys.executable, "-m", "mmdet_rank", "train", str(self.config)),
            *("--work-dir", str(self.training), "--resume"),
        ]
        epochs = self.cfg.train_cfg.max_epochs
        for seconds in run_training(command, self.training / "console.log", epochs):
            state["training_seconds"] += seconds
            write_json(self.state, state)
        state["checkpoint"] = Path(pointer.read_text().strip()).name
        write_json(self.state, state)
        print(f"Trained {self.training / state['checkpoint']}, {self._training_time()}")

    def evaluate(self) -> None:
        """Step 3: detect on the validation set and compute AP and LRP Error."""
        _announce(3, "Evaluation: AP and LRP Error on the validation set")
        if self.report.is_file() and self.detections.is_file():
            print(f"Found {self.report}")
            return
        prefix = self.report.parent
        command = [
            *(sys.executable, "-m", "mmdet_rank", "test", str(self.config)),
            str(self.training / self._read_state()["checkpoint"]),
            *("--work-dir", str(prefix), "--cfg-options"),
            f"test_evaluator.outfile_prefix={prefix / 'detections'}",
            f"test_evaluator.report_prefix={prefix / 'report'}",
        ]
        run_quietly(command, prefix / "console.log")
        print(f"Wrote {self.report}")

    def draw(self) -> None:
        """Step 4: draw detections beside the ground truth, and the training curve."""
        _announce(4, "Pictures: detections beside ground truth, training curve")
        sheet, curve = self.folder / "detections.png", self.folder / "training_curve.png"
        if sheet.is_file() and curve.is_file():
            print(f"Found {sheet} and {curve}")
            return
        figure = draw_training_curve(read_scalars(self.training), self.name)
        with written_whole(curve) as temporary:
            figure.savefig(temporary, dpi=110)
        dataset = self.cfg.val_dataloader.dataset
        truth = _read_coco(self.data / dataset.ann_file)
        report = json.loads(self.report.read_text(encoding="utf-8"))
        pictures = draw_detections(
            truth,
            json.loads(self.detections.read_text(encoding="utf-8")),
            self.data / dataset.data_prefix.img,
            sorted(truth.imgs)[:NUM_PICTURES],
            classes=dataset.metainfo.classes,
            palette=dataset.metainfo.palette,
            thresholds=report_thresholds(report),
        )
        for number, picture in pictures.items():
            name = Path(truth.imgs[number]["file_name"]).with_suffix(".png").name
            save_picture(self.folder / "pictures" / name, picture)
        save_picture(sheet, draw_sheet(list(pictures.values())[:NUM_ON_SHEET]))
        print(f"Wrote {sheet}, {len(pictures)} pictures in {self.folder / 'pictures'}, and {curve}")
        print(
            "Drawn are detections above the LRP-optimal threshold of their class. Scores that a "
            "ranking loss trains order detections; they are not probabilities."
        )

    def table(self) -> str:
        """The results as one table, in percent."""
        report = json.loads(self.report.read_text(encoding="utf-8"))
        time_taken = _duration(self._read_state()["training_seconds"])
        row = [self.name, *(percent(report[key]) for key in COLUMNS), time_taken]
        return format_table(["detector", *COLUMNS, "training"], [row])

    def _training_time(self) -> str:
        return f"trained in {_duration(self._read_state()['training_seconds'])}"

    def _read_state(self) -> dict:
        try:
            return json.loads(self.state.read_text(encoding="utf-8"))
        except (FileNotFoundError, ValueError):
            return {}


def _announce(step: int, text: str) -> None:
    print(f"\n[{step}/4] {text}", flush=True)


def _duration(seconds: float) -> str:
    return f"{int(seconds) // 60} min {int(seconds) % 60:02d} s"


def _read_coco(path: Path) -> COCO:
    """Annotations, without what pycocotools prints while it reads them."""
    coco = COCO()
    coco.dataset = json.loads(path.read_text(encoding="utf-8"))
    with contextlib.redirect_stdout(io.StringIO()):
        coco.createIndex()
    return coco
