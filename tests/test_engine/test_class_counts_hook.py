"""Counts of the training set's annotations reach REGLoss."""

import json
from types import SimpleNamespace

import pytest
import torch
from mmdet.registry import DATASETS, HOOKS
from mmdet.utils import register_all_modules

from mmdet_rank.engine.class_counts_hook import class_counts
from mmdet_rank.losses import REGLoss


@pytest.fixture
def dataset(tmp_path):
    """COCO: six rings, two bars and a crowd of bars, and no disc."""
    labels = [7] * 6 + [3] * 3
    annotations = [
        dict(id=i, image_id=i % 2, category_id=label, bbox=[i, i, 20, 20], area=400,
             iscrowd=int(i == 8))
        for i, label in enumerate(labels)
    ]  # fmt: skip
    content = dict(
        images=[dict(id=i, file_name=f"{i}.png", width=64, height=64) for i in range(2)],
        annotations=annotations,
        categories=[dict(id=3, name="bar"), dict(id=5, name="disc"), dict(id=7, name="ring")],
    )
    (tmp_path / "train.json").write_text(json.dumps(content))
    register_all_modules()

    def build(*classes, wrapped=False):
        options = dict(
            type="CocoDataset", data_root=str(tmp_path), ann_file="train.json",
            data_prefix=dict(img=""), metainfo=dict(classes=classes), pipeline=[],
        )  # fmt: skip
        if wrapped:
            options = dict(type="MultiImageMixDataset", dataset=options, pipeline=[])
        return DATASETS.build(options)

    return build


def runner_of(model, dataset):
    lines = []
    return SimpleNamespace(
        model=model,
        train_dataloader=SimpleNamespace(dataset=dataset),
        logger=SimpleNamespace(info=lines.append),
        lines=lines,
    )


@pytest.mark.parametrize("wrapped", [False, True])
def test_counts_in_the_order_of_the_classes(dataset, wrapped):
    assert class_counts(dataset("bar", "ring", wrapped=wrapped)) == {"bar": 2, "ring": 6}
    # Labels go by the annotation file, whatever the order of the classes.
    turned = class_counts(dataset("ring", "bar", wrapped=wrapped))
    assert list(turned.items()) == [("bar", 2), ("ring", 6)]


def test_losses_are_weighed(dataset):
    asking, given = REGLoss(class_counts="auto", per_class=True), REGLoss(alpha=[1.0, 9.0])
    model = torch.nn.ModuleDict(dict(asking=asking, given=given))
    runner = runner_of(model, dataset("bar", "ring"))
    hook = HOOKS.build(dict(type="ClassCountsHook"))
    hook.before_train(runner)
    assert asking.alpha == pytest.approx([8 / 2 / 2, 8 / 6 / 2])
    assert given.alpha == [1.0, 9.0]
    assert len(runner.lines) == 1
    assert "imbalance 3 : 1" in runner.lines[0]
    pred, target = torch.zeros(1, 2), torch.tensor([0])
    expected = REGLoss(class_counts=[2, 6], per_class=True)(pred, target)
    torch.testing.assert_close(asking(pred, target), expected)


def test_a_class_without_annotations(dataset):
    model = torch.nn.ModuleDict(dict(loss=REGLoss(class_counts="auto")))
    runner = runner_of(model, dataset("bar", "disc", "ring"))
    with pytest.raises(ValueError, match="but got none of 'disc'"):
        HOOKS.build(dict(type="ClassCountsHook")).before_train(runner)
    runner = runner_of(model, dataset("ring", "disc", "bar"))
    with pytest.raises(ValueError, match="but got none of 'disc'"):
        HOOKS.build(dict(type="ClassCountsHook")).before_train(runner)


def test_a_data_set_without_objects():
    class Masks(list):
        def get_data_info(self, index):
            return dict(img_path=f"{index}.jpg", seg_map_path=f"{index}.png")

    with pytest.raises(ValueError, match="got Masks, which has none; give class_counts as a list"):
        class_counts(Masks(range(3)))
