"""The configs of docs/custom_data.md train as they stand there, on data of two classes."""

import json
import re
import shutil
from pathlib import Path

import commands
import pytest
import tiny_detection
import torch
from mmengine.config import Config

REPOSITORY = Path(__file__).resolve().parents[2]


CLASSES = ("crack", "pothole")
# A small backbone without pretrained weights and few steps: all else is the document's.
SMALL = (
    "model.backbone.depth=18",
    "model.backbone.init_cfg=None",
    "model.neck.in_channels=[64,128,256,512]",
    "train_dataloader.batch_size=2",
    "train_dataloader.num_workers=0",
    "train_dataloader.persistent_workers=False",
    "val_dataloader.num_workers=0",
    "val_dataloader.persistent_workers=False",
    "train_dataloader.dataset.pipeline.2.scale=(64,64)",
    "val_dataloader.dataset.pipeline.1.scale=(64,64)",
    "train_cfg.max_epochs=1",
    "default_hooks.logger.interval=1",
)


def snippets():
    """The configs of the document, by what they inherit from."""
    text = (REPOSITORY / "docs" / "custom_data.md").read_text()
    found = re.findall(r"```python\n(.*?)```", text, re.S)
    return {re.search(r"/(rs-[a-z-]+)_", snippet)[1]: snippet for snippet in found}


def train_with(snippet, folder, *options):
    """Train and evaluate; returns the weights and the log."""
    data = tiny_detection.write_data(folder)
    annotations = json.loads((data / "annotations.json").read_text())
    for category, name in zip(annotations["categories"], CLASSES, strict=True):
        category["name"] = name
    for annotation in annotations["annotations"]:
        x, y, w, h = annotation["bbox"]
        annotation["segmentation"] = [[x, y, x + w, y, x + w, y + h, x, y + h]]
    for split in ("train", "val"):
        (data / f"{split}.json").write_text(json.dumps(annotations))
    shutil.move(data, folder / "data_root")
    snippet = snippet.replace("'../rank_sort/", f"'{REPOSITORY}/configs/rank_sort/")
    snippet = snippet.replace("'data/my_data/'", f"'{folder}/data_root/'")
    config = folder / f"{folder.name}.py"
    config.write_text(snippet)
    work_dir = folder / "work"
    arguments = [str(config), "--work-dir", str(work_dir), "--cfg-options", *SMALL, *options]
    assert commands.train(arguments) == 0
    weights = torch.load(work_dir / "epoch_1.pth", weights_only=False)["state_dict"]
    return weights, next(work_dir.glob("*/*.log")).read_text()


@pytest.fixture
def folder(tmp_path):
    # MMEngine keeps one visualizer per name of a run in a process.
    (tmp_path / "documented").mkdir()
    return tmp_path / "documented"


def test_detection(folder):
    weights, log = train_with(snippets()["rs-atss"], folder)
    # Two classes, three anchors per place, and no centerness.
    assert weights["bbox_head.atss_cls.weight"].shape[0] == 2 * 3
    assert not [name for name in weights if "centerness" in name]
    # The documented warning about the learning rate: two images, not sixteen.
    assert "total batch of 16" in log
    assert "coco/bbox_oLRP" in log


def test_instance_segmentation(folder):
    small = (
        "model.train_cfg.rpn_proposal.max_per_img=20",
        "model.test_cfg.rpn.max_per_img=20",
        "model.roi_head.bbox_head.fc_out_channels=64",
    )
    weights, log = train_with(snippets()["rs-mask-rcnn"], folder, *small)
    assert weights["roi_head.bbox_head.fc_cls.weight"].shape[0] == 2
    assert weights["roi_head.mask_head.conv_logits.weight"].shape[0] == 2
    assert "loss_mask" in log
    assert "coco/segm_oLRP" in log


def test_the_documented_list_of_a_cascade(tmp_path):
    text = (REPOSITORY / "docs" / "custom_data.md").read_text()
    (lines,) = re.findall(r"\n    (model = dict\(roi_head.*?\]\)\))\n", text, re.S)
    base = REPOSITORY / "configs/rank_sort/rs-cascade-rcnn_r50_fpn_4xb4-1x_coco.py"
    config = tmp_path / "cascade.py"
    config.write_text(f"_base_ = '{base}'\n{lines}\n")
    heads = Config.fromfile(config).model.roi_head.bbox_head
    stock = Config.fromfile(base).model.roi_head.bbox_head
    assert [head.num_classes for head in heads] == [2] * 3
    assert [dict(head, num_classes=80) for head in heads] == stock
