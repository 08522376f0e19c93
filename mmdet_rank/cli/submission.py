"""`tools/test.py --submission`: test on an image list without annotations, pack the results."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from mmengine.config import Config
from mmengine.dist import is_main_process
from mmengine.logging import print_log
from mmengine.runner import Runner

from mmdet_rank.cli.errors import UserError, refused_input
from mmdet_rank.evaluation.submission import check_image_list, submission_name, write_submission

IOU_TYPES = ("bbox", "segm")


class Submission:
    """One submission, from the config to the zip files.

    Args:
        cfg: Config of the test; its test data set names the image list. It is changed so that
            testing needs no annotations and writes results instead of evaluating them.
        folder: Where the zip files go.

    Raises:
        UserError: There is no image list, or the config does not evaluate boxes or masks.
    """

    def __init__(self, cfg: Config, folder: str) -> None:
        self.folder = Path(folder)
        self.name = Path(cfg.filename).stem
        dataset = cfg.test_dataloader.dataset
        while "dataset" in dataset:
            dataset = dataset.dataset
        self.list_path = Path(dataset.get("data_root") or "", dataset.get("ann_file", ""))
        with refused_input():
            submission_name(self.name)
            self.image_list = check_image_list(self.list_path)
        if self.image_list.get("annotations"):
            print_log(
                f"{self.list_path} has annotations, so it is not COCO test-dev's list of images, "
                "and the server will refuse the results. For test-dev, add --cfg-options "
                "test_dataloader.dataset.ann_file=annotations/image_info_test-dev2017.json "
                "test_dataloader.dataset.data_prefix.img=test2017/",
                logger="current",
                level=logging.WARNING,
            )
        self.iou_types = _iou_types(cfg.test_evaluator)
        prefix = Path(cfg.work_dir, "submission", "results")
        self.result_files = {iou: Path(f"{prefix}.{iou}.json") for iou in self.iou_types}
        dataset.pipeline = [t for t in dataset.pipeline if not _loads_annotations(t)]
        cfg.test_evaluator = {
            "type": "CocoLRPMetric",
            "ann_file": str(self.list_path),
            "metric": list(self.iou_types),
            "format_only": True,
            "outfile_prefix": str(prefix),
        }

    def clear(self) -> None:
        """Remove results of an earlier test, so that none can be taken for those of this one."""
        if is_main_process():
            for path in self.result_files.values():
                path.unlink(missing_ok=True)
                path.parent.mkdir(parents=True, exist_ok=True)

    def write(self, runner: Runner) -> list[Path]:
        """Write the zip files, in the main process, after the test.

        Returns:
            Their paths.

        Raises:
            UserError: The results are not for the images and categories of the list.
        """
        if not is_main_process():
            return []
        missing = [iou for iou, path in self.result_files.items() if not path.is_file()]
        if missing:
            raise UserError(
                f"Expected results of {' and '.join(missing)}, but the detector gives none; set "
                "test_evaluator.metric to what it predicts"
            )
        dataset = runner.test_dataloader.dataset
        tested = {dataset.get_data_info(index)["img_id"] for index in range(len(dataset))}
        with refused_input():
            return write_submission(
                self.result_files, self.image_list, self.folder, self.name, tested=tested
            )


def _iou_types(evaluator: Any) -> tuple[str, ...]:
    """Return what the config evaluates, of boxes and masks."""
    found = [metric for entry in _entries(evaluator) for metric in _entries(entry.get("metric"))]
    wanted = tuple(iou for iou in IOU_TYPES if iou in found)
    if not wanted:
        raise UserError(
            f"Expected test_evaluator.metric to have bbox or segm for --submission, but got "
            f"{found}; set it with --cfg-options test_evaluator.metric=bbox"
        )
    return wanted


def _entries(node: Any) -> Iterator[Any]:
    if node is not None:
        yield from node if isinstance(node, (list, tuple)) else [node]


def _loads_annotations(transform: dict) -> bool:
    name = transform["type"] if isinstance(transform["type"], str) else transform["type"].__name__
    return name.rsplit(".", 1)[-1].startswith("Load") and name.endswith("Annotations")
