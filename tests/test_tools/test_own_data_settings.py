"""Settings that `mmdet-rank train DATA` writes into its config and on its page; no training."""

import json
import math
import re
from dataclasses import replace

import labelled_data
import numpy as np
import pytest
import torch
from mmdet.registry import METRICS, TASK_UTILS
from mmengine.config import Config
from mmengine.registry import init_default_scope
from mmengine.structures import InstanceData
from own_data_config import CELLS, CPU, written_config

from mmdet_rank.annotations.records import DataSet, Labelled, Picture
from mmdet_rank.cli.errors import UserError
from mmdet_rank.cli.main import main
from mmdet_rank.cli.own_data import command, start, training
from mmdet_rank.cli.own_data import report as page
from mmdet_rank.cli.own_data.config import make_model, read_config, rpn_stride
from mmdet_rank.cli.own_data.detectors import find_detector
from mmdet_rank.cli.own_data.facts import DataFacts, Machine, data_facts
from mmdet_rank.cli.own_data.plan import make_plan
from mmdet_rank.visualization.page import Page


def crowded(folder, number=150):
    """One picture of many objects, as the file of a split and as perfect results."""
    boxes = [[10 * (i % 20), 10 * (i // 20), 8, 8] for i in range(number)]
    annotations = [
        dict(id=i, image_id=1, category_id=1, bbox=box, area=64, iscrowd=0)
        for i, box in enumerate(boxes, start=1)
    ]
    names = enumerate(CELLS["classes"], start=1)
    truth = {
        "images": [dict(id=1, file_name="a.png", width=200, height=100)],
        "annotations": annotations,
        "categories": [dict(id=i, name=name) for i, name in names],
    }
    folder.mkdir(parents=True, exist_ok=True)
    for split in ("train", "val"):
        (folder / f"{split}.json").write_text(json.dumps(truth))
    scores = np.linspace(0.9, 0.5, number).tolist()
    results = [
        dict(image_id=1, category_id=1, bbox=box, score=score)
        for box, score in zip(boxes, scores, strict=True)
    ]
    return truth, results


@pytest.mark.filterwarnings("ignore")
def test_figures_count_as_many_detections_as_are_kept(tmp_path):
    _, results = crowded(tmp_path / "annotations")
    facts = DataFacts(**CELLS | dict(most_objects=150))
    plan = make_plan(facts, CPU, smallest_stride=8)
    assert (
        "detections kept",
        "225",
        "a picture has 150 objects; AP and LRP Error count as many, and more go into NMS",
    ) in (plan.reasons)
    cfg = written_config(tmp_path, plan=plan)
    assert cfg.model.test_cfg.max_per_img == 225
    assert cfg.val_evaluator.max_dets == cfg.test_evaluator.max_dets == 225
    metric = METRICS.build(cfg.val_evaluator)
    metric.dataset_meta = dict(classes=CELLS["classes"])
    boxes = torch.tensor([found["bbox"] for found in results], dtype=torch.float)
    boxes[:, 2:] += boxes[:, :2]
    prediction = dict(
        bboxes=boxes,
        scores=torch.tensor([found["score"] for found in results]),
        labels=torch.zeros(len(results), dtype=torch.long),
    )
    sample = dict(img_id=1, ori_shape=(100, 200), pred_instances=prediction)
    metric.process({}, [sample])
    figures = metric.evaluate(size=1)
    assert (figures["coco/bbox_oLRP"], figures["coco/bbox_mAP"]) == (0.0, 1.0)
    # Elsewhere COCO's limit holds.
    assert "max_dets" not in written_config(tmp_path).val_evaluator


@pytest.mark.parametrize(("kept", "missed"), [(225, 0), (None, 50)])
def test_pictures_of_the_page_count_what_its_figures_count(tmp_path, monkeypatch, kept, missed):
    _, results = crowded(tmp_path / "annotations")
    (tmp_path / "evaluation").mkdir()
    (tmp_path / "evaluation/detections.bbox.json").write_text(json.dumps(results))
    limit = "" if kept is None else f", max_dets={kept}"
    (tmp_path / "config.py").write_text(f"val_evaluator = dict(type='CocoLRPMetric'{limit})\n")
    drawn = []
    monkeypatch.setattr(page, "draw_errors", lambda path, errors, names: drawn.append(errors))
    monkeypatch.setattr(Page, "figures", lambda self, *figures: None)
    report = {"per_class": {"Platelets": {"threshold": 0.1}}}
    page._add_pictures(Page("title"), tmp_path, tmp_path, report, "bbox")
    assert [len(errors.missed) for errors in drawn] == [missed]


@pytest.mark.parametrize(
    ("gpu", "wrapper", "scale"),
    [(True, "AmpOptimWrapper", "dynamic"), (False, "mmdet.BFloat16OptimWrapper", None)],
)
def test_mixed_precision_is_in_the_config(tmp_path, monkeypatch, gpu, wrapper, scale):
    """So that training its file again is the same training."""
    monkeypatch.setattr(torch.cuda, "is_available", lambda: gpu)
    plan = make_plan(DataFacts(**CELLS), CPU, smallest_stride=8, amp=True)
    cfg = written_config(tmp_path, plan=plan)
    assert (cfg.optim_wrapper.type, cfg.optim_wrapper.get("loss_scale")) == (wrapper, scale)
    assert cfg.optim_wrapper.optimizer.lr == 0.001
    plan = make_plan(DataFacts(**CELLS), CPU, smallest_stride=8)
    assert written_config(tmp_path, plan=plan).optim_wrapper.type == "OptimWrapper"


def test_mixed_precision_of_a_gpu_goes_on_without_one(tmp_path, monkeypatch):
    def stop(cfg):
        built.append(cfg)
        raise UserError("stop")

    with monkeypatch.context() as patched:
        patched.setattr(torch.cuda, "is_available", lambda: True)
        plan = make_plan(DataFacts(**CELLS), CPU, smallest_stride=8, amp=True)
        assert written_config(tmp_path, plan=plan).optim_wrapper.type == "AmpOptimWrapper"
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(training, "build_runner", stop)
    monkeypatch.setattr(training, "order_classes", lambda cfg: None)
    built = []
    with pytest.raises(UserError, match="stop"):
        training.run(tmp_path / "config.py", resume=None)
    assert built[0].optim_wrapper.type == "mmdet.BFloat16OptimWrapper"
    assert "loss_scale" not in built[0].optim_wrapper


@pytest.mark.parametrize("test", ["without pictures", "without objects", "of an earlier data set"])
def test_what_has_no_objects_is_not_tested_on(tmp_path, monkeypatch, capsys, test):
    data = labelled_data.write_coco(tmp_path / "data")
    work = tmp_path / "work"
    file, names, head = data / "annotations/instances_test2017.json", "", {}
    if test == "of an earlier data set":
        file, names = work / "annotations/test.json", "d"
        head = {"info": {"description": "test, from COCO", "root": "/elsewhere"}}
        file.parent.mkdir(parents=True)
    elif test == "without objects":
        names = "e"
        labelled_data.write_pictures(data / "test2017", names)
    file.write_text(json.dumps(head | labelled_data.coco_data(names)))
    shown = []
    report = {"oLRP": 0.5, "AP": 0.4, "AP50": 0.7, "per_class": {}}
    monkeypatch.setattr(command, "run", lambda *args, **kwargs: report)
    monkeypatch.setattr(command, "class_table", lambda report: "")
    monkeypatch.setattr(command, "write_report", lambda *args, **more: shown.append(more))
    monkeypatch.setattr(command, "training_advice", lambda *args: None)
    assert main(["train", str(data), "--work-dir", str(work), "--base", "none"]) == 0
    said = capsys.readouterr().out
    assert f"Detect on pictures: mmdet-rank predict {work} {data}/val2017 --out" in said
    assert "Evaluate on the validation pictures: mmdet-rank test" in said
    assert list(shown[0]["commands"]) == [
        "Detect on pictures",
        "Evaluate on the validation pictures",
    ]
    cfg = Config.fromfile(work / "config.py")
    assert cfg.test_dataloader.dataset.ann_file == str(work / "annotations/val.json")
    assert cfg.test_evaluator.ann_file == str(work / "annotations/val.json")


def test_a_test_set_is_tested_on(tmp_path):
    cfg = written_config(tmp_path, tested=True)
    assert cfg.test_dataloader.dataset.ann_file == str(tmp_path / "annotations/test.json")
    assert cfg.test_evaluator.ann_file == str(tmp_path / "annotations/test.json")
    assert cfg.val_evaluator.ann_file == str(tmp_path / "annotations/val.json")


def positives(cfg, box):
    """How many anchors an RPN of 1280 x 1280 pixels gives to an object."""
    generator = TASK_UTILS.build(cfg.model.rpn_head.anchor_generator)
    sizes = [(math.ceil(1280 / stride),) * 2 for stride, _ in generator.strides]
    priors = InstanceData(priors=torch.cat(generator.grid_priors(sizes, device="cpu")))
    truth = InstanceData(bboxes=torch.tensor([box]).float(), labels=torch.zeros(1).long())
    assigner = TASK_UTILS.build(cfg.model.train_cfg.rpn.assigner)
    return int((assigner.assign(priors, truth).gt_inds == 1).sum())


@pytest.mark.parametrize("name", ["rs-faster-rcnn", "mask-rcnn"])
def test_an_rpn_has_anchors_for_small_and_large_objects(tmp_path, name):
    init_default_scope("mmdet")
    large = DataFacts(**CELLS | dict(long_side=1280, small_object=16.0, large_object=900.0))
    source = make_model(read_config(find_detector(name).small), 3, "none")
    gpu = Machine("a GPU", 40.0, True, 16)
    options = dict(smallest_stride=4, rpn_stride=rpn_stride(source))
    plan = make_plan(large, gpu, **options)
    assert (plan.image_size, plan.anchor_scale, plan.more_levels) == (1280, 4, 2)
    cfg = written_config(tmp_path, name, plan=plan)
    assert cfg.model.rpn_head.anchor_generator.strides == [4, 8, 16, 32, 64, 128, 256]
    # Side by side: 16, 30, 400, 600 px, and most of the image.
    boxes = [(93, 95, 109, 111), (185, 285, 215, 315), (100, 500, 500, 900)]
    boxes += [(340, 340, 940, 940), (140, 210, 1240, 1010)]
    assert all(positives(cfg, box) > 0 for box in boxes)
    # The levels end where the objects do: those of one's own suffice for smaller ones.
    near = make_plan(replace(large, large_object=300.0), gpu, **options)
    assert near.more_levels == 0
    assert (
        rpn_stride(make_model(read_config(find_detector("rs-retinanet").small), 3, "none")) is None
    )
    # The weights are those of the detector without the levels.
    model = start.build(cfg.model)
    assert list(model.state_dict()) == list(start.build(source).state_dict())
    with torch.no_grad():
        levels = model.extract_feat(torch.zeros(1, 3, 320, 256))
        scores, _ = model.rpn_head(levels)
    assert [tuple(s.shape[1:]) for s in scores[4:]] == [(3, 5, 4), (3, 3, 2), (3, 2, 1)]


def test_one_box_of_a_class_decides_for_no_other(tmp_path):
    def picture(number):
        objects = [Labelled("cell", (4 * i, 40, 40 + i, 40 + i)) for i in range(4)]
        if number == 0:
            objects += [Labelled("dot", (1, 1, 2, 2)), Labelled("sheet", (0, 0, 190, 90))]
        return Picture(tmp_path / f"{number}.png", 200, 100, objects)

    splits = {"train": [picture(i) for i in range(3)], "val": [picture(3)]}
    data = DataSet("COCO", tmp_path, {"cell": 1, "dot": 2, "sheet": 3}, splits)
    found = data_facts(data)
    assert (found.small_object, found.large_object) == (40.0, 43.0)
    assert found.set_aside == ("dot", "sheet")
    # Of twelve pictures' cells and one class more, large and frequent enough.
    for each in splits["train"]:
        each.objects += [Labelled("sheet", (0, 0, 90, 90))] * 4
    found = data_facts(data)
    assert found.set_aside == ("dot",)
    assert (found.small_object, found.large_object) == (40.0, pytest.approx(106.3, abs=0.1))


def test_settings_of_the_user_are_among_those_that_are_told(tmp_path, monkeypatch, capsys):
    data = labelled_data.write_voc(tmp_path / "data")
    work = tmp_path / "work"
    shown = []
    monkeypatch.setattr(command, "run", lambda *args, **kwargs: {})
    monkeypatch.setattr(command, "write_report", lambda *args, **more: shown.append(more))
    monkeypatch.setattr(command, "training_advice", lambda *args: None)
    monkeypatch.setattr(command, "_conclude", lambda *args: None)
    options = ["train_dataloader.batch_size=4", "optim_wrapper.optimizer.betas=(0.9,0.99)"]
    arguments = ["--work-dir", str(work), "--base", "none", "--cfg-options", *options]
    assert main(["train", str(data), *arguments]) == 0
    why = "as asked for by --cfg-options, over what stands above"
    rows = [
        ["train_dataloader.batch_size", "4", why],
        ["optim_wrapper.optimizer.betas", "(0.9, 0.99)", why],
    ]
    assert shown[0]["choices"][-2:] == rows
    said = capsys.readouterr().out
    header = (work / "config.py").read_text().split("\n\n")[0]
    for name, value, _ in rows:
        assert re.search(rf"^{re.escape(name)} +{re.escape(value)} +{why}$", said, re.MULTILINE)
        assert re.search(rf"^# {re.escape(name)} +{re.escape(value)}: {why}$", header, re.MULTILINE)
    assert Config.fromfile(work / "config.py").train_dataloader.batch_size == 4


@pytest.fixture
def prepared(tmp_path, monkeypatch):
    """A function that prepares a training without running it, and the folder of it."""
    data = labelled_data.write_voc(tmp_path / "data")
    for name, value in (("run", {}), ("write_report", None), ("training_advice", None)):
        monkeypatch.setattr(command, name, lambda *args, value=value, **kwargs: value)
    monkeypatch.setattr(command, "_conclude", lambda *args: None)
    work = tmp_path / "work"

    def prepare(*options):
        return main(["train", str(data), "--work-dir", str(work), "--base", "none", *options])

    return prepare, work


def test_a_setting_is_in_effect_wherever_it_is_used(prepared):
    prepare, work = prepared
    options = [
        "train_pipeline.2.scale=(96,96)",
        "test_pipeline.1.scale=(128,128)",
        "train_dataloader.batch_size=1",
        "val_evaluator.tau=0.7",
    ]
    assert prepare("--cfg-options", *options) == 0
    cfg = Config.fromfile(work / "config.py")
    train, *measured = (
        cfg[f"{split}_dataloader"].dataset.pipeline for split in ("train", "val", "test")
    )
    assert train[2].scale == (96, 96)
    assert [pipeline[1].scale for pipeline in measured] == [(128, 128), (128, 128)]
    # The learning rate belongs to the batch.
    assert cfg.optim_wrapper.optimizer.lr == pytest.approx(0.001 / 8)
    assert cfg.auto_scale_lr.base_batch_size == cfg.train_dataloader.batch_size == 1
    # There is no test set: validation stands in.
    assert (cfg.val_evaluator.tau, cfg.test_evaluator.tau) == (0.7, 0.7)


@pytest.mark.parametrize(
    ("option", "message"),
    [
        ("train_cfg.max_iters=9", "which the learning rate would not follow; give --max-iters"),
        ("train_dataloader.batch_size=0", "whole number from 1 on as train_dataloader.batch_size"),
        ("batch_size=4", "but got batch_size, which nothing reads; do you mean train_dataloader."),
        ("trian_cfg.val_interval=4", "nothing reads; the parts are "),
        ("optimizer.lr=0.1", "optimizer= is now optim_wrapper=dict"),
    ],
)
def test_settings_that_others_depend_on_are_refused(prepared, capsys, option, message):
    prepare, work = prepared
    assert prepare("--cfg-options", option) == 1
    assert message in capsys.readouterr().err
    assert not (work / "config.py").exists()


def test_files_of_others_and_edited_configs_are_not_written_over(prepared, capsys):
    prepare, work = prepared
    work.mkdir()
    (work / "config.py").write_text("mine = 1")
    assert prepare() == 1
    assert "has config.py of something else" in capsys.readouterr().err
    assert (work / "config.py").read_text() == "mine = 1"
    (work / "config.py").unlink()
    # A training that stopped before its first checkpoint is begun anew.
    assert [prepare(), prepare("--seed", "1")] == [0, 0]
    edited = (work / "config.py").read_text() + "log_level = 'ERROR'\n"
    (work / "config.py").write_text(edited)
    assert prepare() == 1
    assert "config.py was edited and would be overwritten" in capsys.readouterr().err
    assert (work / "config.py").read_text() == edited


def test_sizes_are_those_at_the_size_of_the_images(tmp_path):
    def picture(number, side):
        objects = [Labelled("cell", (0, 0, side / 10, side / 10))] * 5
        return Picture(tmp_path / f"{number}.png", side, side // 2, objects)

    for sides in ([500] * 8, [8000] * 8, [8000] * 5 + [500] * 4, [8000] * 4 + [500] * 5):
        splits = {"train": [picture(*each) for each in enumerate(sides)], "val": [picture(9, 500)]}
        found = data_facts(DataSet("COCO", tmp_path, {"cell": 1}, splits))
        assert found.small_object == pytest.approx(found.long_side / 10)
        assert found.large_object == pytest.approx(found.long_side / 10)


@pytest.mark.parametrize("name", ["rs-atss", "rs-faster-rcnn", "rs-yolov8n"])
def test_crowded_pictures_reach_no_limit_before_nms(tmp_path, name):
    source = read_config(find_detector(name).small).model
    for number in (60, 1000):
        plan = make_plan(DataFacts(**CELLS | dict(most_objects=number)), CPU, smallest_stride=8)
        model = written_config(tmp_path, name, plan).model
        if number == 60:
            assert model.test_cfg == source.test_cfg
    last = model.test_cfg.get("rcnn", model.test_cfg)
    assert last.max_per_img >= 1500
    stage = model.test_cfg.get("rpn", model.test_cfg)
    assert stage.nms_pre >= 6000
    assert stage.max_per_img >= 1500
    # What is trained on need not hold all objects at once.
    if "rpn" in model.test_cfg:
        assert model.train_cfg.rpn_proposal == source.train_cfg.rpn_proposal


def test_settings_of_parts_and_of_wholes_hold_together(prepared):
    prepare, work = prepared
    options = [
        "test_pipeline.1.scale=(128,128)",
        "val_dataloader.batch_size=1",
    ]
    for more, batch in ([], 1), (["test_dataloader.batch_size=8"], 8):
        assert prepare("--cfg-options", *options, *more) == 0
        cfg = Config.fromfile(work / "config.py")
        for loader in (cfg.val_dataloader, cfg.test_dataloader):
            assert loader.dataset.pipeline[1].scale == (128, 128)
        assert (cfg.val_dataloader.batch_size, cfg.test_dataloader.batch_size) == (1, batch)


def test_images_that_are_evaluated_at_once_are_few(prepared):
    prepare, work = prepared
    assert prepare("--cfg-options", "train_dataloader.batch_size=64") == 0
    cfg = Config.fromfile(work / "config.py")
    assert (cfg.train_dataloader.batch_size, cfg.val_dataloader.batch_size) == (64, 16)
