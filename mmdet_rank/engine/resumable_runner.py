"""Runner whose checkpoints are whole, and whose learning rate counts accumulated batches."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path
from typing import Any

from mmdet.registry import RUNNERS
from mmengine.dist import get_world_size, is_main_process
from mmengine.optim import OptimWrapper
from mmengine.runner import Runner
from torch.utils.data import DataLoader

from mmdet_rank.datasets.checked_data import with_checked_files


@RUNNERS.register_module()
class ResumableRunner(Runner):
    """MMEngine's Runner, but for four things.

    A checkpoint is written under another name before it gets its own: it is whole or not there, so
    that a kill at any moment can be resumed. And the total batch that ``auto_scale_lr`` scales the
    learning rate to has the accumulated batches in it, which MMEngine leaves out. A checkpoint
    knows by how many processes it was trained (``meta["world_size"]``). And COCO data sets are
    built from annotation files that have been checked (`mmdet_rank.datasets.checked_data`).
    """

    @staticmethod
    def build_dataloader(dataloader: DataLoader | dict, *args: Any, **kwargs: Any) -> DataLoader:
        """Build a data loader whose COCO data sets take the files as they have been checked.

        Args:
            dataloader: A data loader or its config.
            *args: As for `Runner.build_dataloader`.
            **kwargs: As for `Runner.build_dataloader`.
        """
        return Runner.build_dataloader(with_checked_files(dataloader), *args, **kwargs)

    def scale_lr(self, optim_wrapper: OptimWrapper, auto_scale_lr: dict | None = None) -> None:
        """Scale the learning rate to images per process x processes x accumulation.

        Args:
            optim_wrapper: The optimizer, built.
            auto_scale_lr: ``enable``, and the ``base_batch_size`` that the learning rate is for.
        """
        accumulated = self.cfg.get("optim_wrapper", {}).get("accumulative_counts", 1)
        if auto_scale_lr and "base_batch_size" in auto_scale_lr and accumulated != 1:
            base = auto_scale_lr["base_batch_size"] / accumulated
            auto_scale_lr = dict(auto_scale_lr, base_batch_size=base)
        super().scale_lr(optim_wrapper, auto_scale_lr)

    def save_checkpoint(self, out_dir: str, filename: str, *args, **kwargs) -> None:
        """Save a checkpoint.

        Args:
            out_dir: Folder of the checkpoint; one with a scheme (`s3://...`) is left to
                MMEngine's backend.
            filename: Name in that folder.
            *args: As `Runner.save_checkpoint`.
            **kwargs: As `Runner.save_checkpoint`.
        """
        kwargs["meta"] = {**(kwargs.get("meta") or {}), "world_size": get_world_size()}
        if "://" in str(out_dir):
            super().save_checkpoint(out_dir, filename, *args, **kwargs)
            return
        partial = Path(out_dir, f"{filename}.partial")
        try:
            super().save_checkpoint(out_dir, partial.name, *args, **kwargs)
            if is_main_process():
                os.replace(partial, Path(out_dir, filename))
        except BaseException:
            # It would keep a disk full that has no room for the rest of it.
            if is_main_process():
                with contextlib.suppress(OSError):
                    partial.unlink(missing_ok=True)
            raise
