"""`mmdet-rank predict` with a stand-in for the detector: pictures, thresholds, and the folder."""

import contextlib
import json

import cv2
import numpy as np
import pytest
import torch
from mmdet.structures import DetDataSample
from mmengine.structures import InstanceData
from torch import nn

from mmdet_rank.cli import demo_image, pictures
from mmdet_rank.cli import predict as tool
from mmdet_rank.cli.main import main


class Detector(nn.Module):
    """Finds one disc in each picture."""

    def __init__(self):
        super().__init__()
        self.dataset_meta = {"classes": ("disc",)}

    def forward(self, picture):
        found = InstanceData(
            bboxes=torch.tensor([[1.0, 2.0, 5.0, 8.0]]),
            labels=torch.tensor([0]),
            scores=torch.tensor([0.5]),
        )
        return [DetDataSample(pred_instances=found)]


@pytest.fixture
def work(tmp_path, monkeypatch):
    """A folder with a checkpoint and three pictures; what a detector is built from is empty."""
    monkeypatch.setattr(tool, "init_detector", lambda *args, **kwargs: Detector())
    monkeypatch.setattr(tool, "inference_detector", lambda model, picture: model(picture)[0])
    torch.save({"state_dict": {}, "meta": {"cfg": "model = dict()"}}, tmp_path / "best.pth")
    (tmp_path / "pictures").mkdir()
    for name in "abc":
        cv2.imwrite(str(tmp_path / f"pictures/{name}.png"), np.full((20, 20, 3), 90, np.uint8))
    return tmp_path


def predict(work, *options, folder="pictures", out="out"):
    arguments = [work / "best.pth", work / folder, "--out", work / out, *options]
    return main(["predict", *map(str, arguments)])


def listed(work, out="out"):
    return [entry["file_name"] for entry in json.loads((work / out / tool.DETECTIONS).read_text())]


def test_an_empty_file_is_left_out_and_said(work, capsys):
    (work / "pictures" / "b.png").write_bytes(b"")
    assert pictures.read_picture(work / "pictures" / "b.png") is None
    assert predict(work) == 0
    printed = capsys.readouterr().out
    assert f"Left out {work}/pictures/b.png, which cannot be read" in printed
    assert "Found 2 objects in 2 pictures" in printed
    assert listed(work) == ["a.png", "c.png"]


def test_demo_image_leaves_an_empty_file_out(work, monkeypatch, capsys):
    def detect(picture, **options):
        return {"visualization": [np.zeros((20, 20, 3), np.uint8)], "predictions": [{}]}

    detect.model = Detector()
    monkeypatch.setattr(demo_image, "DetInferencer", lambda **kwargs: detect)
    (work / "config.py").write_text("model = dict()")
    (work / "pictures" / "b.png").write_bytes(b"")
    out = work / "pictures" / "o"
    arguments = [work / "pictures", work / "config.py", work / "best.pth", "--out-dir", out]
    for drawn in (0, 2):
        assert main(["demo-image", *map(str, arguments)]) == 0
        said = capsys.readouterr().out
        assert f"Left out {work}/pictures/b.png" in said
        assert (f"Left out {drawn} pictures in {out}/vis and" in said) == (drawn > 0)
        assert sorted(path.name for path in (out / "vis").iterdir()) == ["a.png", "c.png"]


@pytest.mark.parametrize(
    ("fault", "code", "message"),
    [
        (RuntimeError("out of memory"), 1, "c.png failed: RuntimeError: out of memory"),
        (KeyboardInterrupt(), 130, "the same command begins anew"),
    ],
)
def test_what_was_detected_before_a_fault_is_kept(work, monkeypatch, capsys, fault, code, message):
    def detect(model, picture):
        if picture.endswith("c.png"):
            raise fault
        return model(picture)[0]

    monkeypatch.setattr(tool, "inference_detector", detect)
    assert predict(work) == code
    error = capsys.readouterr().err
    assert message in error
    assert f"what was detected on 2 pictures before is in {work}/out/detections.json" in error
    assert listed(work) == ["a.png", "b.png"]


@pytest.mark.parametrize(
    ("content", "options", "line"),
    [
        ("{}", [], "thresholds.json has no thresholds: detections from a score of 0.3 on count."),
        ('{"disc": 0.4}', [], "Detections from the thresholds in"),
        (None, [], "There is no"),
        ("{}", ["--score-thr", "0.6"], "Detections from a score of 0.6 on count."),
    ],
)
def test_what_counts_is_said(work, capsys, content, options, line):
    if content is not None:
        (work / "thresholds.json").write_text(content)
    assert predict(work, *options) == 0
    (said,) = [text for text in capsys.readouterr().out.splitlines() if "on count." in text]
    assert line in said
    assert len(listed(work)) == (0 if options else 3)


def test_a_file_in_the_place_of_the_folder_is_refused_before_a_model_is_built(
    work, monkeypatch, capsys
):
    monkeypatch.setattr(tool, "init_detector", None)
    (work / "result.jpg").write_bytes(b"mine")
    assert predict(work, out="result.jpg") == 1
    told = f"nothing can be written to {work}/result.jpg: it is a file; give another"
    assert told in capsys.readouterr().err
    assert predict(work, out="result.jpg/deep") == 1
    assert "Not a directory" in capsys.readouterr().err
    assert (work / "result.jpg").read_bytes() == b"mine"


def test_a_folder_on_a_full_disk_is_refused(work, monkeypatch, capsys):
    def full(**options):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(pictures.tempfile, "TemporaryFile", full)
    assert predict(work) == 1
    told = f"nothing can be written to {work}/out: No space left on device; give another"
    assert told in capsys.readouterr().err


def test_a_disk_that_fills_up_meanwhile_ends_by_one_message(work, monkeypatch, capsys):
    def full(path, data):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(tool, "write_json", full)
    assert predict(work) == 1
    error = capsys.readouterr().err
    assert "Traceback" not in error
    assert "error: Expected files that can be read and written, but got: [Errno 28] No" in error


def test_pictures_drawn_before_are_left_out(work, capsys):
    inside = "pictures/found"
    assert predict(work, out=inside) == 0
    assert listed(work, inside) == ["a.png", "b.png", "c.png"]
    before = sorted(path.name for path in (work / inside).iterdir())
    capsys.readouterr()
    assert predict(work, out=inside) == 0
    assert f"Left out 3 pictures in {work}/{inside}, where results go" in capsys.readouterr().out
    assert listed(work, inside) == ["a.png", "b.png", "c.png"]
    assert sorted(path.name for path in (work / inside).iterdir()) == before
    # Without the list of an earlier run they are pictures of the user.
    (work / inside / tool.DETECTIONS).unlink()
    assert predict(work, out=inside) == 1
    assert f"3 of 6 are in {work}/{inside}; give another" in capsys.readouterr().err
    assert predict(work, folder=inside, out=inside) == 1
    assert "would be overwritten" in capsys.readouterr().err


@pytest.mark.parametrize("command", ["predict", "demo-image"])
def test_other_pictures_of_the_same_names_are_not_drawn_over(work, monkeypatch, capsys, command):
    def detect(picture, **options):
        return {"visualization": [np.zeros((20, 20, 3), np.uint8)], "predictions": [{}]}

    detect.model = Detector()
    monkeypatch.setattr(demo_image, "DetInferencer", lambda **kwargs: detect)
    (work / "config.py").write_text("model = dict()")
    mine = work / "mine" / ("vis" if command == "demo-image" else "") / "b.png"
    mine.parent.mkdir(parents=True)
    mine.write_bytes(b"mine")

    def run():
        if command == "predict":
            return predict(work, out="mine")
        arguments = [work / "pictures", work / "config.py", work / "best.pth"]
        return main([command, *map(str, arguments), "--out-dir", str(work / "mine")])

    assert run() == 1
    assert f"{mine} is there, which no earlier run drew" in capsys.readouterr().err
    assert mine.read_bytes() == b"mine"
    mine.unlink()
    # What an earlier run drew is drawn anew.
    assert [run(), run()] == [0, 0]


def test_a_run_that_was_killed_is_known_for_one(work, monkeypatch):
    class Killed(BaseException):
        pass

    def detect(model, picture):
        if picture.endswith("b.png"):
            raise Killed
        return model(picture)[0]

    monkeypatch.setattr(tool, "inference_detector", detect)
    monkeypatch.setattr(tool, "_kept", lambda *args: contextlib.nullcontext())
    with pytest.raises(Killed):
        predict(work)
    assert sorted(path.name for path in (work / "out").iterdir()) == ["a.png", "detections.json"]
    monkeypatch.undo()
    monkeypatch.setattr(tool, "init_detector", lambda *args, **kwargs: Detector())
    monkeypatch.setattr(tool, "inference_detector", lambda model, picture: model(picture)[0])
    assert predict(work) == 0
    assert listed(work) == ["a.png", "b.png", "c.png"]
