"""A work folder that lies elsewhere than it was written, such as a copy of it."""

from __future__ import annotations

from pathlib import Path

from mmengine.hooks import Hook
from mmengine.runner import Runner

from mmdet_rank.cli.own_data.config import TRAINING
from mmdet_rank.files import written_whole


def make_own(path: Path) -> None:
    """Put a file in the place of a link, as in a copy made of links, whose original stays."""
    if path.is_symlink():
        content = path.read_bytes()
        path.unlink()
        path.write_bytes(content)


def settle(folder: Path, old: Path) -> None:
    """Let the files of a work folder name each other where they lie now.

    Otherwise a copy would be trained in the folder of the original, whose checkpoints it removes.

    Args:
        folder: Where ``config.py`` and what belongs to it lie.
        old: Where they lay when they were written.
    """
    config = folder / "config.py"
    text = config.read_text(encoding="utf-8")
    written = repr(f"{old}/")[1:-1]
    # Escaped, both kinds of quotes may stand between both.
    new = f"{folder}/".replace("\\", r"\\").replace("'", r"\'").replace('"', r"\"")
    for quote in ("'", '"'):
        text = text.replace(quote + written, quote + new)
    make_own(config)
    with written_whole(config) as temporary:
        temporary.write_text(text, encoding="utf-8")
    latest = folder / TRAINING / "last_checkpoint"
    if latest.is_file():
        name = Path(latest.read_text(encoding="utf-8").strip()).name
        make_own(latest)
        with written_whole(latest) as temporary:
            temporary.write_text(str(latest.parent / name), encoding="utf-8")


class OwnBestHook(Hook):
    """Lets a resumed training remove its own best checkpoint where a better one comes.

    The checkpoint that it goes on from names that of the folder in which it was written.
    """

    def before_train(self, runner: Runner) -> None:
        """Name the file in this folder, before CheckpointHook reads the name."""
        for key, path in list(runner.message_hub.runtime_info.items()):
            if key.startswith("best_ckpt") and path:
                own = Path(runner.work_dir, Path(path).name)
                runner.message_hub.update_info(key, str(own))
