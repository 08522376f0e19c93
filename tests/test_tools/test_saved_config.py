"""Configs that checkpoints carry: read as values, and never run without --trust-checkpoint."""

import pytest
import torch
from mmengine.config import Config

from mmdet_rank.cli.checkpoints import read_checkpoint
from mmdet_rank.cli.config import find_config
from mmdet_rank.cli.errors import UserError
from mmdet_rank.cli.predict import own_config
from mmdet_rank.cli.saved_config import read_saved_config

PIPELINE = "test_dataloader=dict(dataset=dict(pipeline=[dict(type='LoadImageFromFile'), {}]))"


def without_start(node):
    if isinstance(node, dict):
        return {k: None if k == "init_cfg" else without_start(v) for k, v in node.items()}
    return [without_start(value) for value in node] if isinstance(node, list) else node


def test_code_in_a_checkpoint_runs_only_with_trust(tmp_path):
    """Its file is weights alone, as far as torch can see."""
    path, made = tmp_path / "best.pth", tmp_path / "made"
    text = f"import pathlib\npathlib.Path({str(made)!r}).write_text('x')\nmodel = dict(a=1)\n"
    torch.save({"state_dict": {}, "meta": {"cfg": text}}, path)
    checkpoint = read_checkpoint(str(path))
    with pytest.raises(UserError, match=r"line 1 would run as code: 'import pathlib'.*--trust-ch"):
        own_config(path, checkpoint)
    assert not made.exists()
    assert own_config(path, checkpoint, trust=True).model == {"a": 1}
    assert made.read_text() == "x"


@pytest.mark.parametrize(
    "name",
    ["digits/rs-atss_r18_fpn_digits.py", "yolov8/rs-yolov8-seg_n_8xb16-500e_coco.py"],
)
def test_what_mmengine_writes_is_read_as_it_was(name):
    whole = Config.fromfile(find_config(f"mmdet_rank::{name}"))
    whole.odd = {"a b": [-1, 1e-4, ()], 3: (None, True, "it's"), "deep": [{"x y": {"z": (1,)}}]}
    text = whole.pretty_text
    assert "mmdet_rank.register" in text
    cfg = read_saved_config(text, "it")
    expected = Config.fromstring(text, ".py").to_dict()
    expected["model"] = without_start(expected["model"])
    assert cfg.to_dict() == expected
    assert cfg.odd == whole.odd


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("a = open('f')", "line 1 would run as code: \"a = open('f')\""),
        ("a = 1\nb.c = 2", "line 2 would run as code"),
        ("a = dict(**{'b': 1})", "line 1"),
        ("a = {**{'b': 1}}", "line 1"),
        ("a = [x for x in (1,)]", "line 1"),
        ("with a: pass", "line 1"),
        ("a = dict(b=f'{1}')", "line 1"),
        ("custom_imports = dict(imports=['mmdet_rank.register', 'idlelib.idle'])", "idlelib.idle"),
        ("custom_imports = dict(imports='mmdet_rank.__main__')", "mmdet_rank.__main__"),
        ("default_scope = 'idlelib'", "default_scope='idlelib'"),
        ("model = dict(type='os.system', command='false')", "type='os.system'"),
        ("model = dict(neck=[dict(type='mmdet.DetInferencer')])", "mmdet.DetInferencer"),
        ("model = dict(type='mmengine.fileio.dump')", "mmengine.fileio.dump"),
        ("model = dict(_scope_='idlelib')", "_scope_='idlelib'"),
        ("model = dict(test_cfg=dict(nms=dict(type='print(1)')))", r"type='print(1)'"),
        ("model = dict(warp_mode='print(1)')", r"warp_mode='print(1)'"),
        ("model = dict(teacher_config='a/b.py')", "teacher_config='a/b.py'"),
        ("model = dict(teacher_ckpt='https://a.org/b.pth')", "https://a.org/b.pth"),
        (PIPELINE.format("dict(type='os.system')"), "type='os.system'"),
    ],
)
def test_what_would_run_code_is_refused(text, named):
    with pytest.raises(UserError) as refused:
        read_saved_config(text, "it")
    assert named in str(refused.value)
    assert "--trust-checkpoint" in str(refused.value)


def test_dotted_names_of_what_is_registered_are_read():
    """As MMEngine writes configs that import their classes."""
    model = (
        "type='mmdet.models.RetinaNet', norm=dict(type='torch.nn.modules.batchnorm.BatchNorm2d')"
    )
    start = "init_cfg=dict(type='Pretrained', checkpoint='torchvision://resnet18')"
    text = f"model = dict({model}, neck=dict(type='mmdet.FPN', {start}))\n"
    text += PIPELINE.format("dict(type='mmcv.transforms.LoadImageFromFile')")
    cfg = read_saved_config(text, "it")
    assert cfg.model.type == "mmdet.models.RetinaNet"
    assert cfg.model.neck == {"type": "mmdet.FPN", "init_cfg": None}


def test_a_resumed_checkpoint_brings_no_config_that_mmengine_would_run(tmp_path):
    path = str(tmp_path / "old.pth")
    torch.save({"meta": {"config": "print(1)", "epoch": 1}}, path)
    assert read_checkpoint(path)["meta"] == {"epoch": 1}
