"""aLRP's self-balance in a real training: its period, its state, its end of an epoch."""

from __future__ import annotations

import json

import commands
import pytest
import tiny_detection
import torch

FACTOR = "bbox_head.criterion.tasks.bbox.balance.factor"


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return tiny_detection.write_data(tmp_path_factory.mktemp("tiny"))


def write_config(folder, data, name, **length):
    # MMEngine keeps one visualizer per name in a process, and tests of other runs make theirs.
    stock = tiny_detection.write_config(folder, data, **length)
    config = folder / f"{name}.py"
    config.write_text(
        f"_base_ = '{stock}'\n"
        "model = dict(bbox_head=dict(type='RankRetinaHead', reg_decoded_bbox=True,\n"
        "    loss_cls=dict(_delete_=True, type='aLRPLoss'),\n"
        "    loss_bbox=dict(_delete_=True, type='GIoULoss')))\n"
        f"visualizer = dict(name='{name}', vis_backends=[dict(type='LocalVisBackend')])\n"
        "log_processor = dict(window_size=1)\n"
        "custom_hooks = [dict(type='SelfBalanceHook'),\n"
        "                dict(type='RankingDiagnosticsHook', interval=2)]\n"
    )
    return config


def run(config, work_dir, *arguments):
    return commands.train([str(config), "--work-dir", str(work_dir), *arguments])


def checkpoint(work_dir, name):
    return torch.load(work_dir / name, weights_only=False)["state_dict"]


def scalars(work_dir):
    lines = next(work_dir.glob("*/vis_data/*.json")).read_text().splitlines()
    return [entry for entry in map(json.loads, lines) if "loss_cls" in entry]


def test_period_is_the_length_of_the_loader(tmp_path, data):
    # Six images in batches of two: three iterations an epoch.
    config = write_config(tmp_path, data, "alrp_period", epochs=2)
    assert run(config, tmp_path / "work") == 0
    logged = scalars(tmp_path / "work")
    factors = [entry["balance_bbox"] for entry in logged]
    assert factors[:3] == [50.0] * 3
    raw = [(entry["loss_cls"], entry["loss_bbox"] / 50) for entry in logged[:3]]
    cls, loc = (sum(values) for values in zip(*raw, strict=True))
    assert factors[3:] == pytest.approx([(cls + loc) / loc] * 3, rel=1e-3)
    assert checkpoint(tmp_path / "work", "epoch_1.pth")[FACTOR].item() == pytest.approx(factors[3])
    # aLRP Loss ranks alone, so that its gradients are in balance (Theorem 2).
    ratios = [entry["grad_ratio"] for entry in logged if "grad_ratio" in entry]
    assert len(ratios) >= 2
    assert ratios == pytest.approx([1.0] * len(ratios), abs=1e-4)


def test_resumed_in_mid_epoch(tmp_path, data):
    config = write_config(tmp_path, data, "alrp_resumed", iterations=7)
    assert run(config, tmp_path / "whole") == 0
    middle = tmp_path / "whole" / "iter_4.pth"
    assert run(config, tmp_path / "resumed", "--resume", str(middle)) == 0
    whole, resumed = (checkpoint(tmp_path / name, "iter_7.pth") for name in ("whole", "resumed"))
    assert [key for key in whole if not torch.equal(whole[key], resumed[key])] == []
    assert whole[FACTOR] != 50
