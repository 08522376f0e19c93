"""A user's mistake ends the tools with one message on stderr and exit code 1, no traceback."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import commands
import pytest
import tiny_detection
import torch

from mmdet_rank.cli.checkpoints import read_checkpoint
from mmdet_rank.cli.config import find_config
from mmdet_rank.cli.errors import UserError

REPOSITORY = Path(__file__).resolve().parents[2]


@pytest.fixture
def tiny(tmp_path) -> tuple[Path, Path]:
    data = tiny_detection.write_data(tmp_path)
    return tiny_detection.write_config(tmp_path, data, epochs=1), data


def fails(capsys, main, *arguments) -> str:
    """Run a tool that must fail, and return its message without the prefix."""
    capsys.readouterr()
    assert main([str(argument) for argument in arguments]) == 1
    errors = capsys.readouterr().err
    assert "Traceback" not in errors
    messages = [line for line in errors.splitlines() if line.startswith("error: ")]
    assert len(messages) == 1
    return errors[errors.index("error: ") + len("error: ") :]


def train_fails(capsys, config, *arguments) -> str:
    return fails(capsys, commands.train, config, "--work-dir", config.parent / "w", *arguments)


def edit(config: Path, old: str, new: str) -> None:
    text = config.read_text()
    assert old in text
    config.write_text(text.replace(old, new))


def test_config_path(capsys, tiny):
    config, _ = tiny
    message = train_fails(capsys, config.with_name("tinny.py"))
    assert "tinny.py does not exist" in message
    assert f"do you mean {config}?" in message


def test_config_syntax(capsys, tiny):
    config, _ = tiny
    config.write_text("model = dict(")
    assert "cannot be read" in train_fails(capsys, config)


def test_option_without_value(capsys, tiny):
    assert "KEY=VALUE" in train_fails(capsys, tiny[0], "--cfg-options", "randomness.seed")


@pytest.mark.parametrize(
    ("line", "hint"),
    [
        ('optimizer = dict(type="SGD", lr=0.01)', "optimizer= is now optim_wrapper"),
        ("lr_config = dict(step=[8, 11])", "lr_config= is now param_scheduler"),
        ("data = dict(samples_per_gpu=2)", "data= is now train_dataloader"),
        ("train_cfg = dict(rpn=dict(), rcnn=dict())", "train_cfg=dict(rpn=..., rcnn=...)"),
        ('model = dict(pretrained="torchvision://resnet18")', "model.pretrained= is now"),
    ],
)
def test_keys_of_mmdetection_2(capsys, tiny, line, hint):
    config, _ = tiny
    child = config.with_name("child.py")
    child.write_text(f'_base_ = "tiny.py"\n{line}\n')
    message = train_fails(capsys, child)
    assert "MMDetection 2" in message
    assert hint in message


def test_part_of_a_config(capsys, tiny):
    config, _ = tiny
    edit(config, "optim_wrapper =", "no_optim_wrapper =")
    for flags in (), ("--amp",):
        message = train_fails(capsys, config, *flags)
        assert message.startswith(f"Expected a whole config, but {config} has no optim_wrapper;")
    config.write_text("model = dict()\n")
    message = fails(capsys, commands.test, config, write_weights(config.parent))
    assert "has no test_dataloader, test_cfg, test_evaluator" in message


def write_weights(folder) -> Path:
    torch.save({"state_dict": {}}, folder / "weights.pth")
    return folder / "weights.pth"


def test_what_is_no_checkpoint(capsys, tiny):
    config, data = tiny
    torch.save([torch.zeros(1)], data / "list.pth")
    for run in (commands.test, config), (commands.train, config, "--resume"):
        assert "list.pth holds a list" in fails(capsys, *run, data / "list.pth")
        message = fails(capsys, *run, "https://example.org/weights.pth")
        assert "https://example.org/weights.pth; download it" in message


def test_unregistered_name(capsys, tiny):
    config, _ = tiny
    edit(config, 'type="FocalLoss"', 'type="FocalLos"')
    message = train_fails(capsys, config)
    assert message.startswith("The config cannot be built: KeyError: FocalLos is not in")


def test_annotations_missing(capsys, tiny):
    config, data = tiny
    (data / "annotations.json").unlink()
    message = train_fails(capsys, config)
    assert f"{data}/annotations.json does not exist" in message
    assert "train_dataloader.dataset.ann_file" in message


@pytest.mark.parametrize("content", [b'{"images": [', b"\xff\xfe", b'{"images": []}', b"[]"])
def test_annotations_broken(capsys, tiny, content):
    config, data = tiny
    (data / "annotations.json").write_bytes(content)
    message = train_fails(capsys, config)
    assert "annotations.json" in message
    assert message.startswith(("Expected JSON in", "Expected COCO annotations with"))


def test_image_folder_missing(capsys, tiny):
    config, data = tiny
    (data / "images").rename(data / "pictures")
    assert f"{data}/images" in train_fails(capsys, config)


def test_some_class_names_do_not_match(capsys, tiny):
    config, _ = tiny
    edit(config, 'classes=("disc", "bar")', 'classes=("disc", "rod")')
    message = train_fails(capsys, config)
    assert "1 of 2 are not: rod. The file has disc, bar" in message


def test_no_class_name_matches(capsys, tiny):
    config, _ = tiny
    # Without metainfo the data set expects the 80 classes of COCO.
    edit(config, "metainfo=metainfo, ", "")
    message = train_fails(capsys, config)
    assert "80 of 80 are not: person, bicycle" in message
    assert "metainfo=dict(classes=" in message


@pytest.mark.parametrize(
    ("kind", "key", "advice"),
    [
        ("annotations", "area", "width x height"),
        ("annotations", "image_id", ""),
        ("images", "width", ""),
    ],
)
def test_annotations_lack_a_field(capsys, tiny, kind, key, advice):
    config, data = tiny
    content = json.loads((data / "annotations.json").read_text())
    del content[kind][1][key]
    (data / "annotations.json").write_text(json.dumps(content))
    message = train_fails(capsys, config)
    assert f"in each of the {kind} of {data}/annotations.json" in message
    assert f"entry 1 lacks {key}" in message
    assert advice in message


def test_number_of_classes_differs_from_head(capsys, tiny):
    message = train_fails(capsys, tiny[0], "--cfg-options", "model.bbox_head.num_classes=80")
    assert "set num_classes of the heads" in message


def test_no_image_left(capsys, tiny):
    _, data = tiny
    content = json.loads((data / "annotations.json").read_text())
    content["annotations"] = []
    (data / "annotations.json").write_text(json.dumps(content))
    options = ("--cfg-options", "train_dataloader.dataset.filter_cfg.filter_empty_gt=True")
    assert "none is left" in train_fails(capsys, tiny[0], *options)


def test_auto_scale_lr_without_base(capsys, tiny):
    config, _ = tiny
    edit(config, "auto_scale_lr =", "no_auto_scale_lr =")
    assert "base_batch_size" in train_fails(capsys, config, "--auto-scale-lr")


def test_other_batch_size_warns_unless_scaled(capsys, tiny):
    _, data = tiny
    options = ("--cfg-options", "auto_scale_lr.base_batch_size=8")
    for flags, warned in ((), True), (("--auto-scale-lr",), False):
        # MMEngine shares the logger of runs of one name that start in the same second.
        name = f"warned_{warned}"
        config = tiny_detection.write_config(data.parent, data, epochs=1, name=f"{name}.py")
        work_dir = data.parent / name
        arguments = [str(config), "--work-dir", str(work_dir), *flags, *options]
        assert commands.train(arguments) == 0
        (log,) = work_dir.glob("*/*.log")
        assert ("total batch of 8, but this run has 1" in log.read_text()) == warned


def test_checkpoints(capsys, tiny):
    """Train once, then use the checkpoint rightly and wrongly."""
    config, _ = tiny
    folder = config.parent / "run"
    assert commands.train([str(config), "--work-dir", str(folder)]) == 0
    good = folder / "epoch_1.pth"

    out = folder / "out.pkl"
    arguments = [str(config), str(good), "--work-dir", str(folder / "test"), "--out", str(out)]
    assert commands.test(arguments) == 0
    assert out.stat().st_size > 0
    assert "--out to end in .pkl" in fails(capsys, commands.test, *arguments[:4], "--out", "a.x")

    missing = folder / "epoch_2.pth"
    assert "does not exist" in fails(capsys, commands.test, config, missing)
    assert "does not exist" in train_fails(capsys, config, "--resume", missing)

    cut = folder / "cut.pth"
    cut.write_bytes(good.read_bytes()[:1000])
    assert "not whole (1000 bytes)" in fails(capsys, commands.test, config, cut)

    options = ("--cfg-options", "model.bbox_head.stacked_convs=2", "model.bbox_head.num_classes=4")
    message = fails(capsys, commands.test, config, good, *options)
    assert "4 missing in the checkpoint: bbox_head.cls_convs.1.conv.weight" in message
    assert "2 of another shape: bbox_head.retina_cls.weight: (2, 16, 3, 3), not (4," in message

    weights = folder / "weights.pth"
    torch.save({"state_dict": torch.load(good, weights_only=False)["state_dict"]}, weights)
    assert commands.test([str(config), str(weights), "--work-dir", str(folder / "test")]) == 0
    assert "has weights alone" in train_fails(capsys, config, "--resume", weights)

    code = folder / "code.pth"
    torch.save({"state_dict": {}, "code": PrintsWhenRead()}, code)
    message = fails(capsys, commands.test, config, code)
    assert "would run code" in message
    assert "--trust-checkpoint" in message


class PrintsWhenRead:
    """Stands for whatever a pickle may do."""

    def __reduce__(self):
        return print, ("a pickle ran code",)


def test_weights_are_read_without_running_code(tmp_path, capsys):
    path = tmp_path / "code.pth"
    torch.save({"code": PrintsWhenRead()}, path)
    with pytest.raises(UserError):
        read_checkpoint(str(path))
    assert "a pickle ran code" not in capsys.readouterr().out
    read_checkpoint(str(path), trust=True)
    assert "a pickle ran code" in capsys.readouterr().out


def test_foreign_folder_and_exit_code(tmp_path, tiny):
    """One start as a user's shell does it, from a folder that has nothing to do with either."""
    config, data = tiny
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (data / "annotations.json").unlink()
    done = subprocess.run(
        [sys.executable, REPOSITORY / "tools/train.py", config],
        cwd=elsewhere,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert "annotations.json does not exist" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_config_is_found_by_its_path_or_by_its_name_in_the_package(monkeypatch):
    monkeypatch.chdir(REPOSITORY)
    name = "digits/rs-atss_r18_fpn_digits.py"
    assert find_config(f"configs/{name}") == Path("configs", name)
    assert find_config(f"mmdet_rank::{name}").samefile(REPOSITORY / "configs" / name)
    with pytest.raises(UserError, match=r"digits/none\.py does not exist"):
        find_config("mmdet_rank::digits/none.py")
