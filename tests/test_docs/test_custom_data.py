"""The config of docs/custom_data.md trains as it stands there, on data of two classes."""

import json
import re
import shutil
from pathlib import Path

import tiny_detection
import torch

from mmdet_rank.cli import train

REPOSITORY = Path(__file__).resolve().parents[2]


def test_the_documented_config_trains(tmp_path, capsys):
    text = (REPOSITORY / "docs" / "custom_data.md").read_text()
    snippet = re.search(r"```python\n(.*?)```", text, re.S)[1]
    data = tiny_detection.write_data(tmp_path)
    names = ("crack", "pothole")
    annotations = json.loads((data / "annotations.json").read_text())
    for category, name in zip(annotations["categories"], names, strict=True):
        category["name"] = name
    for split in ("train", "val"):
        (data / f"{split}.json").write_text(json.dumps(annotations))
    shutil.move(data, tmp_path / "data_root")
    snippet = snippet.replace("'../rank_sort/", f"'{REPOSITORY}/configs/rank_sort/")
    snippet = snippet.replace("'data/my_data/'", f"'{tmp_path}/data_root/'")
    # A small backbone without pretrained weights and two steps: all else is the document's.
    small = [
        "model.backbone.depth=18",
        "model.backbone.init_cfg=None",
        "model.neck.in_channels=[64,128,256,512]",
        "train_dataloader.batch_size=2",
        "train_dataloader.num_workers=0",
        "train_dataloader.persistent_workers=False",
        "train_dataloader.dataset.pipeline.2.scale=(64,64)",
        "train_cfg.max_epochs=1",
        "train_cfg.val_interval=2",
        "default_hooks.logger.interval=1",
    ]
    config = tmp_path / "my_data.py"
    config.write_text(snippet)
    work_dir = tmp_path / "work"
    arguments = [str(config), "--work-dir", str(work_dir), "--cfg-options", *small]
    assert train.main(arguments) == 0
    weights = torch.load(work_dir / "epoch_1.pth", weights_only=False)["state_dict"]
    # Two classes, three anchors per place, and no centerness.
    assert weights["bbox_head.atss_cls.weight"].shape[0] == 2 * 3
    assert not [name for name in weights if "centerness" in name]
    # The documented warning about the learning rate: two images, not sixteen.
    log = next(work_dir.glob("*/*.log")).read_text()
    assert "total batch of 16" in log
