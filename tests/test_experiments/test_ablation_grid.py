"""experiments/ablation_grid.py: two cells end to end, the tables of many, and what it refuses."""

import json
from pathlib import Path

import ablation_grid as ablation
import pytest
from mmdet.registry import MODELS
from mmengine.config import Config, DictAction

from configs import load_config
from mmdet_rank.criteria import BALANCES, INSTANCE_WEIGHTS
from mmdet_rank.datasets.digits.build import build_digits
from mmdet_rank.datasets.digits.options import DigitsOptions

ROOT = Path(__file__).parents[2]
CONFIG = f"""
_base_ = {str(ROOT / "configs" / "digits" / "rs-atss_r18_fpn_digits.py")!r}
model = dict(
    backbone=dict(base_channels=8),
    neck=dict(in_channels=[8, 16, 32, 64], out_channels=16),
    bbox_head=dict(
        in_channels=16, feat_channels=16, stacked_convs=1, norm_cfg=dict(type='GN', num_groups=4)),
    test_cfg=dict(max_per_img=20))
default_hooks = dict(logger=dict(interval=1))
train_dataloader = dict(batch_size=4, num_workers=0, persistent_workers=False)
val_dataloader = dict(num_workers=0, persistent_workers=False)
test_dataloader = val_dataloader
"""


@pytest.mark.slow
def test_two_cells_are_trained_once(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    build_digits(Path("data/digits"), DigitsOptions(train=8, val=4))
    Path("tiny.py").write_text(CONFIG)
    arguments = ["--config", "tiny.py", "--weights", "score", "--balances", "2", "value",
                 "--epochs", "1", "--out", "figures.json"]  # fmt: skip
    assert ablation.main(arguments) == 0
    figures = json.loads(Path("figures.json").read_text())
    assert set(figures) == {"score_2", "score_value"}
    out = capsys.readouterr().out
    table = out[out.index("AP (percent)") :].splitlines()
    assert table[1].split() == ["instance", "weight", "constant", "2", "value"]
    assert table[3].split()[0] == "score"
    for cell, constant in (("score_2", True), ("score_value", False)):
        (run,) = Path("work_dirs/ablation", cell).iterdir()
        head = Config.fromfile(run / "training" / "tiny.py").model.bbox_head
        assert head.criterion.instance_weight == "score"
        assert head.criterion.balance == ("constant" if constant else "value")
        assert head.loss_bbox.get("loss_weight", 1) == (2 if constant else 1)
    assert ablation.main(arguments) == 0
    assert capsys.readouterr().out.count("Found") == 2
    assert ablation.main([*arguments, "--epochs", "2"]) == 1
    assert "another --work-dir" in capsys.readouterr().err


@pytest.mark.parametrize("weight", ablation.WEIGHTS)
@pytest.mark.parametrize("balance", ablation.BALANCES)
def test_every_cell_is_an_option_of_the_config(weight, balance):
    config = load_config(ablation.CONFIG.relative_to(ROOT / "configs"))
    options = dict(option.split("=") for option in ablation.cell_options(weight, balance))
    parsed = {key: DictAction._parse_iterable(value) for key, value in options.items()}
    config.merge_from_dict(parsed)
    head = config.model.bbox_head
    assert head.criterion.instance_weight in INSTANCE_WEIGHTS
    assert head.criterion.balance in BALANCES
    criterion = MODELS.build(head | dict(train_cfg=config.model.train_cfg)).criterion
    assert criterion.instance_weight == weight
    expected = balance if balance in BALANCES else "constant"
    assert type(criterion.tasks["bbox"].balance) is BALANCES[expected]
    assert criterion.loss_bbox.loss_weight == (float(balance) if expected == "constant" else 1)


def test_tables():
    run = {"AP": 0.3, "oLRP": 0.7, "oLRP_Loc": 0.2, "correlation": None}
    one, other = {"boxes": run}, {"boxes": run | {"AP": 0.4}}
    cells = {"none_1": [one], "none_value": [one, other]}
    text = ablation.tables(cells, ["none"], ["1", "value"])
    first, *_, last = text.split("\n\n")
    assert first.splitlines()[1].split() == ["instance", "weight", "constant", "1", "value"]
    assert first.splitlines()[3].split() == ["none", "30.0", "35.0", "±", "7.1"]
    assert last.splitlines()[3].split() == ["none", "-", "-"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--config", "nowhere.py"], "nowhere.py does not exist"),
        (["--config", str(ROOT / "configs/digits/atss_r18_fpn_digits.py")], "has 'ATSSHead'"),
    ],
)
def test_mistakes_end_in_one_message(arguments, message, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert ablation.main(arguments) == 1
    error = capsys.readouterr().err
    assert error.startswith("error: ")
    assert message in error


@pytest.mark.parametrize("balance", ["epochs", "-1", "0", "nan"])
def test_unknown_balances_are_refused(balance, capsys):
    with pytest.raises(SystemExit):
        ablation.main(["--balances", balance])
    assert "value, magnitude or a number above 0" in capsys.readouterr().err
