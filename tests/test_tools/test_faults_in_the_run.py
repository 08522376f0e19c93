"""Faults that the checks before a run cannot see, and what is left of the run then."""

from __future__ import annotations

import zipfile
from pathlib import Path
from types import SimpleNamespace

import pytest
import tiny_detection
import torch
from mmdet.engine.hooks import DetVisualizationHook
from mmdet.models import DetTTAModel
from torch import nn

from mmdet_rank.cli import running
from mmdet_rank.cli.errors import UserError
from mmdet_rank.cli.main import run_command
from mmdet_rank.cli.test import refuse_masks
from mmdet_rank.engine.folder_visualization_hook import FolderVisualizationHook


@pytest.mark.parametrize("workers", [0, 2])
def test_a_picture_whose_pixels_are_broken(workers, tmp_path, capsys):
    """Its header is whole, so that it is found only when it is loaded, in the last step."""
    data = tiny_detection.write_data(tmp_path)
    config = tiny_detection.write_config(tmp_path, data, epochs=1, workers=workers)
    picture = data / "images" / "005.png"
    whole = picture.read_bytes()
    picture.write_bytes(whole[:60] + b"\x00" * 200)
    arguments = [str(config), "--work-dir", str(tmp_path / "run")]
    options = ["--cfg-options", "train_dataloader.sampler.shuffle=False"]
    capsys.readouterr()
    assert run_command("train", [*arguments, *options]) == 1
    error = capsys.readouterr().err
    assert "Traceback" not in error
    (message,) = [text for text in error.split("error: ")[1:] if "005.png" in text]
    assert f"{picture} (image 5, entry 5 of the data) failed" in message
    stopped = tmp_path / "run" / f"stopped_iter_{2}.pth"
    assert f"add --resume {stopped} to go on from there" in message
    assert torch.load(stopped, weights_only=False)["meta"]["iter"] == 2
    if workers == 0:
        picture.write_bytes(whole)
        assert run_command("train", [*arguments, "--resume", str(stopped), *options]) == 0


@pytest.mark.parametrize("saved", [True, False])
def test_a_full_disk_ends_a_training_by_a_message(saved, tmp_path):
    """Neither the checkpoint of the place where it stopped nor the traceback can be written."""

    def save(*args, **kwargs):
        raise RuntimeError("PytorchStreamWriter failed writing file\nframe #0")

    if saved:
        with zipfile.ZipFile(tmp_path / "iter_2.pth", "w") as file:
            file.writestr("data", "x")
    runner = SimpleNamespace(
        iter=3,
        work_dir=str(tmp_path),
        log_dir=str(tmp_path / "no folder"),
        train_loop=SimpleNamespace(_iter=3),
        save_checkpoint=save,
    )
    with pytest.raises(UserError) as told, running.training(runner):
        raise OSError(28, "No space left on device")
    first, *_, last = str(told.value).splitlines()
    assert first == "Training stopped: OSError: [Errno 28] No space left on device"
    reason = "RuntimeError: PytorchStreamWriter failed writing file"
    assert last.startswith(f"The training cannot be saved where it stopped ({reason}); ")
    again = f"go on from {tmp_path}/iter_2.pth" if saved else "the same command begins anew"
    assert last.endswith(again)


def test_more_images_in_a_batch_than_there_are(tmp_path, capsys):
    data = tiny_detection.write_data(tmp_path)
    config = tiny_detection.write_config(tmp_path, data, epochs=1)
    options = ["train_dataloader.batch_size=16", "train_dataloader.drop_last=True"]
    arguments = [str(config), "--work-dir", str(tmp_path / "run"), "--cfg-options", *options]
    assert run_command("train", arguments) == 1
    assert "has 6 images, batch_size 16 and drop_last=True" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("kind", "masks", "refused"),
    [
        (DetTTAModel, True, True),
        (DetTTAModel, False, False),
        (nn.Module, True, False),
    ],
)
def test_augmented_masks_are_refused_where_they_cannot_be_merged(kind, masks, refused):
    model = object.__new__(kind)
    nn.Module.__init__(model)
    model.module = nn.Module()
    model.module.with_mask = masks
    if refused:
        with pytest.raises(UserError, match="--tta"):
            refuse_masks(model)
    else:
        refuse_masks(model)


def test_shown_pictures_keep_their_folders(tmp_path, monkeypatch):
    written = []
    monkeypatch.setattr(
        DetVisualizationHook,
        "after_test_iter",
        lambda self, runner, batch, data, outputs: written.extend(
            Path(self.test_out_dir, Path(sample.img_path).name) for sample in outputs
        ),
    )
    leaves = [SimpleNamespace(data_prefix={"img": str(tmp_path / name)}) for name in ("a", "b")]
    dataset = SimpleNamespace(datasets=leaves)
    runner = SimpleNamespace(
        test_dataloader=SimpleNamespace(dataset=dataset), work_dir=str(tmp_path), timestamp="now"
    )
    hook = object.__new__(FolderVisualizationHook)
    hook.draw, hook.test_out_dir = True, "shown"
    names = ["a/1.jpg", "a/deep/1.jpg", "b/1.jpg", "../1.jpg"]
    samples = [SimpleNamespace(img_path=str(tmp_path / name)) for name in names]
    for batch in (samples[:2], samples[2:]):
        hook.after_test_iter(runner, 0, {}, batch)
    shown = tmp_path / "now" / "shown"
    outside = tmp_path.parent.relative_to(tmp_path.anchor)
    assert written == [
        shown / "a/1.jpg",
        shown / "a/deep/1.jpg",
        shown / "b/1.jpg",
        shown / outside / "1.jpg",
    ]
    assert hook.test_out_dir == "shown"
