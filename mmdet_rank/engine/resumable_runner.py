"""Runner whose checkpoints are whole, and whose learning rate counts accumulated batches."""

from __future__ import annotations

import os
from pathlib import Path

from mmdet.registry import RUNNERS
from mmengine.dist import is_main_process
from mmengine.optim import OptimWrapper
from mmengine.runner import Runner


@RUNNERS.register_module()
class ResumableRunner(Runner):
    """MMEngine's Runner, but for two things.

    A checkpoint is written under another name before it gets its own: it is whole or not there, so
    that a kill at any moment can be resumed. And the total batch that ``auto_scale_lr`` scales the
    learning rate to has the accumulated batches in it, which MMEngine leaves out.
    """

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
        if "://" in str(out_dir):
            super().save_checkpoint(out_dir, filename, *args, **kwargs)
            return
        partial = f"{filename}.partial"
        super().save_checkpoint(out_dir, partial, *args, **kwargs)
        if is_main_process():
            os.replace(Path(out_dir, partial), Path(out_dir, filename))
