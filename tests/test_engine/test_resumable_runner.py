"""Checkpoints that are whole or not there."""

from pathlib import Path

import pytest
from mmengine.runner import Runner

from mmdet_rank.engine import ResumableRunner


def test_an_interrupted_checkpoint_leaves_the_old_one(tmp_path, monkeypatch):
    runner = ResumableRunner.__new__(ResumableRunner)
    path = tmp_path / "iter_4.pth"

    def write(content, error=None):
        def save(self, out_dir, filename, *args, **kwargs):
            Path(out_dir, filename).write_bytes(content)
            if error:
                raise error

        monkeypatch.setattr(Runner, "save_checkpoint", save)
        runner.save_checkpoint(str(tmp_path), path.name)

    with pytest.raises(KeyboardInterrupt):
        write(b"ha", KeyboardInterrupt())
    assert not list(tmp_path.iterdir())
    write(b"whole")
    assert path.read_bytes() == b"whole"
    assert list(tmp_path.iterdir()) == [path]
    # Nothing is left of what did not fit on the disk.
    with pytest.raises(OSError, match="No space left"):
        write(b"ha", OSError(28, "No space left on device"))
    assert path.read_bytes() == b"whole"
    assert list(tmp_path.iterdir()) == [path]
