"""MMDetection's hook that shows detections, with the folders of the pictures kept."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from mmdet.engine.hooks import DetVisualizationHook
from mmdet.structures import DetDataSample
from mmengine.registry import HOOKS
from mmengine.runner import Runner

from mmdet_rank.datasets.checked_data import leaves

__all__ = ["FolderVisualizationHook"]


@HOOKS.register_module()
class FolderVisualizationHook(DetVisualizationHook):
    """DetVisualizationHook that writes shown pictures into the folders that they come from.

    MMDetection writes all into one folder by their base names, so that pictures of one name in
    several folders overwrite each other. Folders are those below what the image folders of the test
    data have in common; of pictures elsewhere the whole path. Nor does it draw by the visualizer of
    another run in the same process.
    """

    def before_test(self, runner: Runner) -> None:
        """Draw by the visualizer of this run, not by the one that was made last in the process."""
        self._visualizer = runner.visualizer

    def after_test_iter(
        self,
        runner: Runner,
        batch_idx: int,
        data_batch: dict,
        outputs: Sequence[DetDataSample],
    ) -> None:
        """Show the detections of a batch."""
        if not self.draw or self.test_out_dir is None:
            super().after_test_iter(runner, batch_idx, data_batch, outputs)
            return
        root = _root(runner.test_dataloader.dataset)
        named = self.test_out_dir
        shown = Path(runner.work_dir, runner.timestamp, named).absolute()
        for sample in outputs:
            folder = Path(os.path.abspath(sample.img_path)).parent
            below = folder.relative_to(root) if folder.is_relative_to(root) else _whole(folder)
            self.test_out_dir = str(shown / below)
            super().after_test_iter(runner, batch_idx, data_batch, [sample])
        self.test_out_dir = named


def _root(dataset: Any) -> Path:
    prefixes = [
        os.path.abspath((getattr(leaf, "data_prefix", None) or {}).get("img") or "")
        for leaf in leaves(dataset)
    ]
    return Path(os.path.commonpath(prefixes))


def _whole(folder: Path) -> Path:
    """A path that can be appended to another."""
    return folder.relative_to(folder.anchor)
