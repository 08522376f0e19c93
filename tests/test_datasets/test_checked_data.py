"""Data sets that are built from checked files, against MMDetection's own of the same config."""

import json
from copy import deepcopy

import mmdet_rank.register  # noqa: F401

import pytest
import tiny_detection
from mmdet.datasets import CocoDataset
from mmdet.registry import DATASETS
from mmengine.dataset import Compose
from mmengine.registry import DefaultScope

from mmdet_rank.datasets.checked_data import (
    CheckedCOCO,
    EntryError,
    coco_type,
    dataset_use,
    leaves,
    with_checked_files,
)

LOAD = dict(type="LoadImageFromFile")
BOXES = dict(type="LoadAnnotations", with_bbox=True)


@pytest.fixture
def data(tmp_path):
    folder = tiny_detection.write_data(tmp_path, num_images=3)
    return dict(
        type="CocoDataset",
        data_root=str(folder),
        ann_file="annotations.json",
        data_prefix=dict(img="images/"),
        metainfo=dict(classes=tiny_detection.CLASSES),
        pipeline=[LOAD, BOXES],
    )


def build(config):
    with DefaultScope.overwrite_default_scope("mmdet"):
        return DATASETS.build(with_checked_files(config))


def test_it_holds_what_the_stock_data_set_holds(data):
    before = deepcopy(data)
    ours = build(data)
    assert data == before
    with DefaultScope.overwrite_default_scope("mmdet"):
        stock = DATASETS.build(data)
    assert type(ours) is CocoDataset
    assert ours.COCOAPI.func is CheckedCOCO
    assert len(ours) == len(stock) == 3
    assert [ours.get_data_info(i) for i in range(3)] == [stock.get_data_info(i) for i in range(3)]
    assert ours.cat_img_map == stock.cat_img_map
    assert ours.metainfo == stock.metainfo
    assert [type(step) for step in ours.pipeline.transforms] == [
        type(step) for step in stock.pipeline.transforms
    ]
    assert (ours[1]["img"] == stock[1]["img"]).all()


def test_a_broken_picture_is_named_with_its_entry(data, tmp_path):
    (tmp_path / "data" / "images" / "001.png").write_bytes(b"no picture")
    dataset = build(data)
    with pytest.raises(EntryError) as raised:
        dataset[1]
    message = str(raised.value)
    assert message.startswith("Expected a picture that can be loaded, but ")
    assert "001.png (image 1, entry 1 of the data) failed in the pipeline with " in message
    # PyTorch passes on what a worker raised as the text of its traceback.
    passed_on = (
        f"Caught EntryError in DataLoader worker process 0.\nTrace\nx.EntryError: {message}\n"
    )
    assert str(EntryError(passed_on)) == message


def test_a_pipeline_of_another_kind_is_left_alone(data):
    class OtherCompose(Compose):
        pass

    class OtherDataset(CocoDataset):
        def __init__(self, *args, **kwargs):
            super().__init__(*args, **kwargs)
            self.pipeline = OtherCompose([])

    assert type(build(data | dict(type=OtherDataset)).pipeline) is OtherCompose


def test_inside_of_wrappers(data):
    inner = [data, dict(type="RepeatDataset", times=2, dataset=deepcopy(data))]
    loader = dict(batch_size=2, dataset=dict(type="ConcatDataset", datasets=inner))
    dataset = build(loader["dataset"])
    assert len(dataset) == 3 + 2 * 3
    found = list(leaves(dataset))
    assert [leaf.COCOAPI.func for leaf in found] == [CheckedCOCO, CheckedCOCO]
    assert with_checked_files(loader)["batch_size"] == 2
    assert loader["dataset"]["datasets"][0]["type"] == "CocoDataset"


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (dict(), CocoDataset),
        (dict(type=CocoDataset), CocoDataset),
        (dict(ann_file="s3://bucket/annotations.json"), None),
        (dict(ann_file="annotations.pkl"), None),
        (dict(data_root="https://host", ann_file="annotations.json"), None),
        (dict(type="VOCDataset"), None),
        (dict(type="mmdet.CocoPanopticDataset"), None),
    ],
)
def test_files_that_are_read(data, change, expected):
    with DefaultScope.overwrite_default_scope("mmdet"):
        assert coco_type(data | change) is expected


def test_what_a_file_is_read_for(data):
    masks = dict(type="LoadAnnotations", with_bbox=True, with_mask=True)
    assert dataset_use(data) == ("training", ("bbox",))
    assert dataset_use(data | dict(test_mode=True)) == ("listing", ("bbox",))
    assert dataset_use(data | dict(pipeline=[LOAD, masks])) == ("training", ("bbox", "segm"))
    nested = [LOAD, dict(type="RandomChoice", transforms=[[masks]])]
    assert dataset_use(data | dict(pipeline=nested)) == ("training", ("bbox", "segm"))


def test_it_trains_on_the_objects_that_were_counted(data, tmp_path):
    path = tmp_path / "data" / "annotations.json"
    truth = json.loads(path.read_text())
    truth["annotations"][0]["bbox"] = [5, 5, 0, 10]  # without width: left out, and told
    path.write_text(json.dumps(truth))
    dataset = build(data)
    counted = sum(len(dataset.get_data_info(i)["instances"]) for i in range(len(dataset)))
    index = dataset.COCOAPI(str(path))
    assert counted == len(truth["annotations"]) - 1 == len(index.anns)
    assert sum(map(len, index.img_ann_map.values())) == counted
