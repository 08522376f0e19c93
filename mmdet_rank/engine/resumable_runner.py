"""Runner whose checkpoints are whole or not there, so that a kill at any moment can be resumed."""

from __future__ import annotations

import os
from pathlib import Path

from mmdet.registry import RUNNERS
from mmengine.dist import is_main_process
from mmengine.runner import Runner


@RUNNERS.register_module()
class ResumableRunner(Runner):
    """MMEngine's Runner, writing each checkpoint under another name before giving it its own."""

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
