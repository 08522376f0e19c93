"""Names, call forms and command lines that others rely on; changing one is a breaking change."""

from __future__ import annotations

import inspect
import re
import runpy
import sys
from pathlib import Path

import pytest
import torch
from mmdet.registry import METRICS, MODELS

from mmdet_rank.ops import average_lrp_loss, average_precision_loss, rank_sort_loss

REPOSITORY = Path(__file__).resolve().parents[2]

HEADS = (
    *("RetinaHead", "ATSSHead", "PAAHead", "FoveaHead", "RPNHead", "Shared2FCBBoxHead"),
    *("StandardRoIHead", "CascadeRoIHead", "FCNMaskHead", "YOLACTHead", "YOLACTProtonet"),
    *("SOLOV2Head", "FCOSHead", "DeformableDETRHead", "DINOHead"),
)
OPTIONS = {
    "tools/train.py": "--work-dir --amp --auto-scale-lr --resume --cfg-options --launcher",
    "tools/test.py": "--work-dir --out --show --show-dir --wait-time --cfg-options --launcher "
    "--tta --thresholds --submission",
    "tools/eval_lrp.py": "--annotations --results --iou-type --out --dataset --tau --plots "
    "--confusion",
    "tools/make_digits.py": "--out --train --val --size --seed --imbalance",
    "benchmarks/ranking_losses.py": "--out --device --preset",
}


def options_of(loss, count):
    """Options by name, after so many positional arguments; all must be keyword-only."""
    positional, keywords = {}, {}
    for name, parameter in inspect.signature(loss).parameters.items():
        keyword = parameter.kind is parameter.KEYWORD_ONLY
        (keywords if keyword else positional)[name] = parameter.default
    assert len(positional) == count
    return keywords


def test_losses_as_functions():
    assert options_of(rank_sort_loss, 2).items() >= dict(delta=0.5, sync=False).items()
    assert options_of(average_lrp_loss, 3).items() >= dict(delta=1.0, sync=False).items()
    expected = dict(delta=1.0, interpolated=True, sync=False)
    assert options_of(average_precision_loss, 2).items() >= expected.items()
    logits, targets = torch.randn(6, requires_grad=True), torch.tensor([0.5, 0, 0, 0.9, -1, 0])
    with pytest.raises(TypeError, match="positional"):
        rank_sort_loss(logits, targets, 0.5)
    ranking, sorting = rank_sort_loss(logits, targets, delta=0.5)
    cls, loc = average_lrp_loss(logits, targets, torch.rand(2, requires_grad=True), delta=1.0)
    loss = average_precision_loss(logits, targets, delta=1.0, interpolated=True)
    for value in (ranking, sorting, cls, loc, loss):
        assert (value.dtype, value.shape, value.requires_grad) == (torch.float32, (), True)
    # Each part carries its own gradient, so that either can be weighed.
    parts = [torch.autograd.grad(part, logits, retain_graph=True)[0] for part in (ranking, sorting)]
    (both,) = torch.autograd.grad(ranking + sorting, logits)
    torch.testing.assert_close(parts[0] + parts[1], both)


@pytest.mark.parametrize(
    ("name", "delta"), [("RankSortLoss", 0.5), ("aLRPLoss", 1.0), ("APLoss", 1.0)]
)
def test_registered_losses(name, delta):
    loss = MODELS.build(dict(type=name))
    assert (loss.delta, loss.loss_weight) == (delta, 1.0)
    assert next(iter(inspect.signature(type(loss)).parameters)) == "delta"
    for other in ("REGLoss", "FocalMarginLoss", "HybridFocalMarginLoss"):
        MODELS.build(dict(type=other))


@pytest.mark.parametrize("stock", HEADS)
def test_registered_heads(stock):
    assert issubclass(MODELS.get(f"Rank{stock}"), MODELS.get(stock))


@pytest.mark.parametrize("metric", ["CocoLRPMetric", "LVISLRPMetric", "PanopticLRPMetric"])
def test_registered_metrics(metric):
    assert inspect.signature(METRICS.get(metric)).parameters["tau"].default == 0.5


@pytest.mark.parametrize("program", OPTIONS)
def test_command_lines(program, monkeypatch, capsys):
    path = REPOSITORY / program
    monkeypatch.syspath_prepend(path.parent)
    monkeypatch.setattr(sys, "argv", [str(path), "--help"])
    with pytest.raises(SystemExit) as ended:
        runpy.run_path(str(path), run_name="__main__")
    assert ended.value.code == 0
    missing = set(OPTIONS[program].split()) - set(re.findall(r"--[a-z-]+", capsys.readouterr().out))
    assert missing == set()


def test_files_and_make_targets():
    for name in ("tools/dist_train.sh", "tools/dist_test.sh", ".ci/run"):
        assert (REPOSITORY / name).stat().st_mode & 0o100, f"{name} cannot be executed"
    for name in ("rank_sort/rs-atss_r50_fpn_4xb4-1x_coco", "digits/rs-atss_r18_fpn_digits"):
        assert (REPOSITORY / "configs" / f"{name}.py").is_file()
    rules = (REPOSITORY / "Makefile").read_text()
    for target in ("setup", "demo", "test"):
        assert re.search(rf"^{target}:", rules, re.M)
