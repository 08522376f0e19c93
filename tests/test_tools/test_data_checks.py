"""What users' files and habits did: each is told before the run, with file, entry and field."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from types import SimpleNamespace

import pytest
import tiny_detection
import torch
from mmdet.registry import DATASETS
from mmengine.config import Config
from mmengine.registry import DefaultScope
from PIL import Image

from mmdet_rank.annotations import forget_files, read_coco
from mmdet_rank.annotations.image_files import check_image_files
from mmdet_rank.cli import datasets, launch
from mmdet_rank.cli.checkpoints import warn_of_poor_fit
from mmdet_rank.cli.class_order import order_classes
from mmdet_rank.cli.errors import Interrupted, UserError, run_tool
from mmdet_rank.cli.evaluators import check_save_best, check_truth_of_each_set
from mmdet_rank.cli.running import training
from mmdet_rank.datasets.checked_data import EntryError, with_checked_files
from mmdet_rank.engine.positives_hook import PositivesHook


@pytest.fixture
def tiny(tmp_path):
    """A config, its data folder, and a function that changes its annotation file."""
    data = tiny_detection.write_data(tmp_path)
    path = tiny_detection.write_config(tmp_path, data, epochs=1)

    def change(edit):
        content = json.loads((data / "annotations.json").read_text())
        edit(content)
        (data / "annotations.json").write_text(json.dumps(content))

    forget_files()
    yield Config.fromfile(path), data, change
    forget_files()


@pytest.fixture
def warnings(monkeypatch):
    """Texts that were logged as warnings."""
    texts = []
    for module in ("datasets", "evaluators", "launch", "checkpoints"):
        name = f"mmdet_rank.cli.{module}.print_log"
        monkeypatch.setattr(name, lambda text, **_: texts.append(text))
    return texts


def refused(cfg, splits=("train",)):
    with pytest.raises(UserError) as error:
        datasets.check_files(cfg, list(splits))
    return str(error.value)


def test_sound_data_has_no_word(tiny, warnings):
    datasets.check_files(tiny[0], ["train", "val", "test"])
    assert warnings == []


def test_a_file_that_is_only_measured_by_is_told_of_too(tiny, warnings):
    cfg, data, _ = tiny
    truth = json.loads((data / "annotations.json").read_text())
    some = truth["annotations"][0] | {"bbox": [0.1, 0.2, 0.3, 0.4], "area": 0.12}
    truth["annotations"] = [some | {"id": number} for number in range(1, 30)]
    file = data / "measured_by.json"
    file.write_text(json.dumps(truth))
    cfg.test_evaluator.ann_file = str(file)
    datasets.check_files(cfg, ["train"])
    assert warnings == []
    datasets.check_files(cfg, ["test"])
    # Another one says that images are loaded by another file.
    (text,) = (text for text in warnings if text.startswith(str(file)))
    assert "boxes look like fractions" in text


def test_objects_left_out_are_told_once(tiny, warnings):
    cfg, data, change = tiny
    change(lambda content: content["annotations"][0].update(area=0))
    datasets.check_files(cfg, ["train", "val"])
    (text,) = warnings
    total = len(json.loads((data / "annotations.json").read_text())["annotations"])
    assert text.startswith(f"{data}/annotations.json: 1 of {total} objects are left out: 1 have")
    assert "area of 0 or less (first: annotation 0)" in text


def test_refusals_name_file_entry_field_and_place(tiny):
    cfg, data, change = tiny
    change(lambda content: content["annotations"][1].update(bbox=None))
    message = refused(cfg)
    assert f"bbox in annotation 1 of {data}/annotations.json, but got None" in message
    assert "train_dataloader.dataset.ann_file" in message


def test_objects_of_other_classes_only(tiny):
    cfg, _, change = tiny

    def edit(content):
        content["categories"].append({"id": 9, "name": "rod"})
        for entry in content["annotations"]:
            entry["category_id"] = 9

    change(edit)
    assert "Expected objects of the classes of train_dataloader.dataset" in refused(cfg)


def test_validation_objects_that_are_all_crowds(tiny, warnings):
    cfg, _, change = tiny
    change(lambda content: [entry.update(iscrowd=1) for entry in content["annotations"]])
    datasets.check_files(cfg, ["val"])
    assert ["All objects are crowds" in text for text in warnings] == [True]
    assert "are of other categories or crowds" in refused(cfg)


def test_stated_sizes_are_compared_with_the_pictures(tiny, warnings):
    cfg, _, change = tiny
    change(lambda content: content["images"][2].update(width=640, height=480))
    datasets.check_files(cfg, ["train"])
    (text,) = warnings
    assert "1 of 6 pictures" in text
    assert "another width and height than stated, such as image 2: 64 x 64, not 640 x 480" in text


def test_pictures_that_are_missing_or_broken(tiny):
    cfg, data, _ = tiny
    (data / "images" / "003.png").write_text("<html>404</html>")
    message = refused(cfg)
    assert f"Expected a picture in {data}/images/003.png, the file_name of image 3" in message
    (data / "images" / "003.png").unlink()
    assert "1 of 6 are missing, first that of image 3" in refused(cfg)


def test_turned_pictures_may_be_stated_either_way(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.new("RGB", (40, 30)).save(tmp_path / "a.jpg", exif=exif)
    for size in ((40, 30), (30, 40)):
        images = [{"file_name": "a.jpg", "width": size[0], "height": size[1]}]
        assert check_image_files(images, tmp_path).other_size == []
    images = [{"file_name": "a.jpg", "width": 41, "height": 30}]
    assert check_image_files(images, tmp_path).other_size == [(0, (41, 30), (30, 40))]


def test_file_names_with_backslashes(tiny, warnings):
    cfg, data, change = tiny
    change(
        lambda content: [
            image.update(file_name=f"images\\{image['file_name']}") for image in content["images"]
        ]
    )
    cfg.train_dataloader.dataset.data_prefix.img = ""
    datasets.check_files(cfg, ["train"])
    assert ["backslashes" in text and "6 times" in text for text in warnings] == [True]
    found = read_coco(data / "annotations.json")
    assert found.dataset["images"][0]["file_name"] == "images/000.png"


def test_images_below_the_least_size_are_counted(tiny, warnings):
    cfg, _, _ = tiny
    cfg.train_dataloader.dataset.filter_cfg = dict(min_size=65)
    datasets.check_files(cfg, ["train"])
    assert ["6 of 6 images are left out" in text for text in warnings] == [True]


@pytest.mark.parametrize("classes", ["disc", "no/such/file.txt"])
def test_classes_without_a_comma(tiny, classes):
    cfg, _, _ = tiny
    cfg.train_dataloader.dataset.metainfo = dict(classes=classes)
    assert f"a tuple of one name needs a comma: ('{classes}',)" in refused(cfg)


def test_classes_twice(tiny):
    cfg, _, _ = tiny
    cfg.train_dataloader.dataset.metainfo = dict(classes=("disc", "disc"))
    assert "Expected distinct metainfo.classes" in refused(cfg)


def test_names_that_are_numbers(tiny):
    cfg, _, change = tiny
    change(lambda content: [c.update(name=i + 1) for i, c in enumerate(content["categories"])])
    for split in ("train", "val", "test"):
        cfg[f"{split}_dataloader"].dataset.metainfo = dict(classes=(1, 2))
    order_classes(cfg)
    assert cfg.train_dataloader.dataset.metainfo.classes == ("1", "2")
    datasets.check_files(cfg, ["train", "val"])


def test_two_validation_sets_and_the_file_of_one(tiny, warnings):
    cfg, data, _ = tiny
    one = cfg.val_dataloader.dataset
    shutil.copy(data / "annotations.json", data / "b.json")
    two = {**one, "ann_file": "b.json"}
    cfg.val_dataloader.dataset = dict(type="ConcatDataset", datasets=[one, two])
    message = refused(cfg, ["val"])
    assert f"the predictions on {data}/b.json would be matched with its objects" in message
    assert "MultiDatasetsEvaluator" in message
    metrics = [dict(cfg.val_evaluator), dict(cfg.val_evaluator, ann_file=f"{data}/b.json")]
    cfg.val_evaluator = dict(
        type="MultiDatasetsEvaluator", metrics=metrics, dataset_prefixes=["a", "b"]
    )
    datasets.check_files(cfg, ["val"])
    assert warnings == []
    check_truth_of_each_set(cfg, "val", [data / "other.json"])
    assert len(warnings) == 2


def test_save_best_of_a_name_that_is_no_figure(tiny):
    cfg, _, _ = tiny
    hook = cfg.default_hooks.checkpoint
    for kind, good, bad in (
        ("CocoMetric", "coco/bbox_mAP", "coco/bbox_oLRP"),
        ("CocoLRPMetric", "coco/bbox_oLRP", "bbox_oLRP"),
    ):
        cfg.val_evaluator.type = kind
        for name in (good, "auto", None, [good]):
            hook.save_best = name
            check_save_best(cfg)
        hook.save_best = bad
        with pytest.raises(UserError, match=f"but got '{bad}'; they are .*{good}"):
            check_save_best(cfg)
    cfg.val_evaluator.type = "SomebodysMetric"
    check_save_best(cfg)


@pytest.mark.parametrize(
    ("launcher", "command"), [("pytorch", "torchrun"), ("slurm", "srun"), ("mpi", "mpirun")]
)
def test_launchers_without_what_launches(launcher, command, monkeypatch):
    for variable in ("RANK", "SLURM_PROCID", "OMPI_COMM_WORLD_LOCAL_RANK"):
        monkeypatch.delenv(variable, raising=False)
    with pytest.raises(UserError, match=command):
        launch.prepare_processes(Config(dict(launcher=launcher)), 0)


def test_another_number_of_processes(warnings):
    launch.warn_of_processes({"meta": {"world_size": 1}})
    launch.warn_of_processes({"meta": {}})
    assert warnings == []
    launch.warn_of_processes({"meta": {"world_size": 4}})
    assert "had 4 process(es) and goes on with 1" in warnings[0]


def test_weights_that_fit_hardly_anything(tmp_path, warnings):
    model = torch.nn.Sequential(torch.nn.Linear(2, 3), torch.nn.Linear(3, 2))
    path = tmp_path / "weights.pth"
    torch.save({"state_dict": model.state_dict()}, path)
    warn_of_poor_fit(model, str(path))
    assert warnings == []
    other = torch.nn.Sequential(torch.nn.Linear(2, 3), torch.nn.Linear(3, 4), torch.nn.Linear(4, 4))
    warn_of_poor_fit(other, str(path))
    assert "fits 2 of 6 parameters" in warnings[0]


def test_weights_to_start_from_that_hold_more_are_read_if_trusted(tmp_path, warnings):
    model = torch.nn.Sequential(torch.nn.Linear(2, 3))
    path = tmp_path / "weights.pth"
    torch.save({"state_dict": model.state_dict(), "meta": {"made": Path("somewhere")}}, path)
    with pytest.raises(UserError, match="--trust-checkpoint"):
        warn_of_poor_fit(model, str(path))
    warn_of_poor_fit(model, str(path), trust=True)
    assert ["is unpickled" in text for text in warnings] == [True]


def test_an_epoch_without_positives(monkeypatch):
    texts = []
    name = "mmdet_rank.engine.positives_hook.print_log"
    monkeypatch.setattr(name, lambda text, **_: texts.append(text))
    hook, runner = PositivesHook(), SimpleNamespace(epoch=0)
    for counts in ([0, 0], [0, 3], []):
        hook.before_train_epoch(runner)
        for count in counts:
            hook.after_train_iter(runner, 0, outputs={"loss": 1.0, "num_pos": torch.tensor(count)})
        hook.after_train_epoch(runner)
    assert len(texts) == 1
    assert "whole of epoch 1" in texts[0]


def test_data_sets_take_what_was_checked(tiny):
    cfg, _, change = tiny

    def edit(content):
        for entry in content["annotations"]:
            entry.update(id="x", iscrowd="0", image_id=float(entry["image_id"]))
        content["annotations"][0]["area"] = float("nan")

    change(edit)
    loader = with_checked_files(cfg.train_dataloader)
    assert cfg.train_dataloader.dataset.type == "CocoDataset"
    with DefaultScope.overwrite_default_scope("mmdet"):
        dataset = DATASETS.build(loader["dataset"])
    instances = [i for k in range(len(dataset)) for i in dataset.get_data_info(k)["instances"]]
    total = len(
        read_coco(cfg.train_dataloader.dataset.data_root + "/annotations.json").dataset[
            "annotations"
        ]
    )
    assert len(instances) == total
    assert not any(instance["ignore_flag"] for instance in instances)


def test_an_entry_that_fails_is_named(tiny):
    cfg, data, _ = tiny
    with DefaultScope.overwrite_default_scope("mmdet"):
        dataset = DATASETS.build(with_checked_files(cfg.train_dataloader)["dataset"])
    (data / "images" / "002.png").write_bytes(b"")
    with pytest.raises(EntryError, match=r"002\.png \(image 2, entry 2 of the data\) failed"):
        dataset[2]
    # As a worker process of the data loader passes it on.
    text = (
        f"Caught EntryError in worker.\nOriginal Traceback:\n x.{EntryError.__name__}: Expected y\n"
    )
    assert str(EntryError(text)) == "Expected y"


class Runner(SimpleNamespace):
    """What of a runner the end of a training needs."""

    def save_checkpoint(self, folder, name, by_epoch):
        assert not by_epoch
        Path(folder, name).write_text(str(self.train_loop._iter))


@pytest.fixture
def runner(tmp_path):
    loop = SimpleNamespace(_iter=7)
    return Runner(iter=7, train_loop=loop, work_dir=str(tmp_path), log_dir=str(tmp_path))


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (EntryError("Expected a picture, but a.jpg is none"), "Expected a picture, but a.jpg"),
        (UserError("Expected a file"), "Expected a file"),
        (RuntimeError("out of memory"), "Training stopped: RuntimeError: out of memory"),
    ],
)
def test_a_fault_in_the_run_is_one_message_and_saves_what_was_trained(runner, error, words):
    with pytest.raises(UserError) as caught, training(runner):
        raise error
    path = Path(runner.work_dir, "stopped_iter_7.pth")
    assert str(caught.value).startswith(words)
    assert str(caught.value).endswith(f"add --resume {path} to go on from there")
    assert path.read_text() == "6"
    assert runner.train_loop._iter == 7
    assert Path(runner.work_dir, "traceback.txt").exists() == isinstance(error, RuntimeError)


def test_control_c_ends_in_a_sentence(runner, capsys):
    def train():
        with training(runner):
            raise KeyboardInterrupt

    assert run_tool(train) == 130
    assert capsys.readouterr().err == (
        "\ninterrupted: no checkpoint was written yet, so the same command begins anew.\n"
    )
    torch.save({}, Path(runner.work_dir, "epoch_3.pth"))
    with pytest.raises(Interrupted, match=r"--resume to the same command to go on from .*epoch_3"):
        train()


def test_names_that_a_terminal_cannot_show(monkeypatch, tmp_path):
    path = tmp_path / "out.txt"
    with path.open("w", encoding="cp1252") as stream:
        monkeypatch.setattr("sys.stdout", stream)
        assert run_tool(lambda: print("猫 dog")) == 0
    assert path.read_text() == "\\u732b dog\n"
