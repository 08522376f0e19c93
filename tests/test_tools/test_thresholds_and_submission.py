"""tools/test.py --thresholds and --submission, and tools/demo_image.py, on a tiny detector."""

import json
import shutil
import zipfile
from pathlib import Path

import commands
import cv2
import numpy as np
import pytest
import tiny_detection
import torch
from mmdet.registry import MODELS
from mmengine.config import Config
from mmengine.registry import DefaultScope

from mmdet_rank.cli import demo_image
from mmdet_rank.engine import lrp_threshold_hook


@pytest.fixture(scope="module")
def detector(tmp_path_factory):
    """A folder with data, a config, and a checkpoint of random weights."""
    folder = tmp_path_factory.mktemp("tiny")
    data = tiny_detection.write_data(folder)
    path = tiny_detection.write_config(folder, data)
    path.write_text(path.read_text().replace("CocoMetric", "CocoLRPMetric"))
    config = Config.fromfile(path)
    torch.manual_seed(5)
    with DefaultScope.overwrite_default_scope("mmdet"):
        model = MODELS.build(config.model)
    meta = {"dataset_meta": {"classes": tiny_detection.CLASSES}}
    torch.save({"state_dict": model.state_dict(), "meta": meta}, folder / "weights.pth")
    return folder


def run(detector, *options):
    folder = detector / "run"
    arguments = [detector / "tiny.py", detector / "weights.pth", "--work-dir", folder, *options]
    return commands.figures([str(argument) for argument in arguments])


def exit_code(detector, *options):
    folder = detector / "run"
    arguments = [detector / "tiny.py", detector / "weights.pth", "--work-dir", folder, *options]
    return commands.test([str(argument) for argument in arguments])


def report_options(detector, name):
    prefix = detector / name
    return [
        *("--cfg-options", f"test_evaluator.report_prefix={prefix}"),
        f"test_evaluator.outfile_prefix={prefix}",
    ]


def test_thresholds_reproduce_olrp(detector):
    before = run(detector, *report_options(detector, "before"))
    thresholds = detector / "before.bbox.thresholds.json"
    assert json.loads(thresholds.read_text())
    options = report_options(detector, "after")
    after = run(detector, "--thresholds", thresholds, *options)
    for key in ("oLRP", "oLRP_Loc", "oLRP_FP", "oLRP_FN"):
        assert after[f"coco/bbox_{key}"] == before[f"coco/bbox_{key}"]
    names = dict(enumerate(tiny_detection.CLASSES, start=1))
    lowest = json.loads(thresholds.read_text())
    results = json.loads((detector / "after.bbox.json").read_text())
    assert 0 < len(results) < len(json.loads((detector / "before.bbox.json").read_text()))
    assert all(d["score"] >= lowest.get(names[d["category_id"]], 0) for d in results)


def test_thresholds_follow_names_not_positions(detector, tmp_path):
    path = tmp_path / "thresholds.json"
    path.write_text('{"bar": 2.0}')
    run(detector, "--thresholds", path, *report_options(detector, "one"))
    results = json.loads((detector / "one.bbox.json").read_text())
    assert {d["category_id"] for d in results} == {1}


def test_warnings_of_thresholds(detector, tmp_path, monkeypatch):
    logged = []
    monkeypatch.setattr(lrp_threshold_hook, "print_log", lambda text, **_: logged.append(text))
    path = tmp_path / "thresholds.json"
    path.write_text('{"bar": 0.305}')
    run(detector, "--thresholds", path, "--cfg-options", "model.test_cfg.score_thr=0.3")
    assert len(logged) == 2
    assert "1 categories sit at the score floor 0.3" in logged[0]
    assert "no threshold for 1 categories (disc); their detections are all kept" in logged[1]
    # In pictures they are kept from --score-thr on.
    assert draw(detector, tmp_path / "out", "--thresholds", path, "--score-thr", "0.25") == 0
    assert logged[2:] == [logged[1].replace("all kept", "kept from a score of 0.25")]


def test_unknown_names_and_broken_files(detector, tmp_path, capsys):
    path = tmp_path / "thresholds.json"
    path.write_text('{"cat": 0.5}')
    assert exit_code(detector, "--thresholds", path) == 1
    assert "['cat']; it knows ['disc', 'bar']" in capsys.readouterr().err
    path.write_text("{")
    assert exit_code(detector, "--thresholds", path) == 1
    assert "Expected JSON" in capsys.readouterr().err
    assert exit_code(detector, "--thresholds", tmp_path / "none.json") == 1
    capsys.readouterr()
    assert exit_code(detector, "--thresholds", path, "--tta") == 1
    assert "without --tta" in capsys.readouterr().err


def image_list(detector):
    """The image list of a test set: annotations without annotations."""
    data = json.loads((detector / "data" / "annotations.json").read_text())
    del data["annotations"]
    path = detector / "data" / "image_list.json"
    path.write_text(json.dumps(data))
    return path, data


def test_submission(detector, tmp_path):
    path, data = image_list(detector)
    options = ["--cfg-options", f"test_dataloader.dataset.ann_file={path.name}"]
    out = tmp_path / "out"
    assert run(detector, "--submission", out, *options) == {}
    (archive_path,) = out.iterdir()
    assert archive_path.name == "detections_test-dev2017_tiny_results.zip"
    with zipfile.ZipFile(archive_path) as archive:
        (name,) = archive.namelist()
        assert name == "detections_test-dev2017_tiny_results.json"
        results = json.loads(archive.read(name))
    run(detector, *report_options(detector, "plain"))
    assert results == json.loads((detector / "plain.bbox.json").read_text())
    assert {d["image_id"] for d in results} <= {image["id"] for image in data["images"]}


def test_submission_of_annotated_images_is_warned_of(detector, tmp_path, monkeypatch):
    warnings = []
    monkeypatch.setattr(
        "mmdet_rank.cli.submission.print_log", lambda text, **_: warnings.append(text)
    )
    run(detector, "--submission", tmp_path / "out")
    (warning,) = warnings
    assert "annotations.json has annotations, so it is not COCO test-dev's list" in warning


def test_submission_refuses(detector, tmp_path, capsys):
    path, _ = image_list(detector)
    option = f"test_dataloader.dataset.ann_file={path.name}"
    out = tmp_path / "out"
    first = ["--submission", out, "--cfg-options"]
    assert exit_code(detector, *first, option, "test_dataloader.dataset.indices=3") == 1
    assert "did not run on 3 of them" in capsys.readouterr().err
    assert exit_code(detector, *first, "test_dataloader.dataset.ann_file=none.json") == 1
    assert "none.json does not exist" in capsys.readouterr().err
    assert exit_code(detector, *first, option, "test_evaluator.metric=proposal") == 1
    assert "bbox or segm" in capsys.readouterr().err
    assert exit_code(detector, *first, option, "test_evaluator.metric=segm") == 1
    assert "Expected results of segm, but the detector gives none" in capsys.readouterr().err
    assert not out.exists()


def draw(detector, out, *options):
    pictures = detector / "data" / "images"
    arguments = [pictures, detector / "tiny.py", detector / "weights.pth", "--device", "cpu"]
    return commands.demo_image([str(a) for a in [*arguments, "--out-dir", out, *options]])


def predictions(out):
    files = sorted(Path(out, "preds").iterdir())
    return [json.loads(path.read_text()) for path in files]


def test_pictures_with_thresholds(detector, tmp_path):
    run(detector, *report_options(detector, "best"))
    thresholds = detector / "best.bbox.thresholds.json"
    assert draw(detector, tmp_path / "all", "--score-thr", "0") == 0
    assert draw(detector, tmp_path / "best", "--thresholds", thresholds) == 0
    assert len(list((tmp_path / "best" / "vis").iterdir())) == 6
    lowest = json.loads(thresholds.read_text())
    for everything, best in zip(
        predictions(tmp_path / "all"), predictions(tmp_path / "best"), strict=True
    ):
        expected = [
            score
            for score, label in zip(everything["scores"], everything["labels"], strict=True)
            if score >= lowest.get(tiny_detection.CLASSES[label], 0.3) - 1e-6
        ]
        assert best["scores"] == pytest.approx(expected, abs=1e-5)


def test_pictures_refused(detector, tmp_path, capsys):
    bad = tmp_path / "thresholds.json"
    bad.write_text('{"cat": 0.5}')
    assert draw(detector, tmp_path / "out", "--thresholds", bad) == 1
    assert "['cat']" in capsys.readouterr().err
    arguments = [tmp_path / "none", detector / "tiny.py", detector / "weights.pth"]
    assert commands.demo_image([str(a) for a in arguments]) == 1
    assert "none gives none" in capsys.readouterr().err
    (tmp_path / "none").mkdir()
    (tmp_path / "none" / "notes.txt").touch()
    assert commands.demo_image([str(a) for a in arguments]) == 1
    assert "none gives none" in capsys.readouterr().err


def test_pictures_of_a_camera(detector, tmp_path):
    (tmp_path / "camera").mkdir()
    picture = sorted((detector / "data" / "images").iterdir())[0]
    shutil.copy(picture, tmp_path / "camera" / "DSC1.PNG")
    arguments = [tmp_path / "camera", detector / "tiny.py", detector / "weights.pth"]
    options = ["--device", "cpu", "--out-dir", tmp_path / "out"]
    assert commands.demo_image([str(a) for a in [*arguments, *options]]) == 0
    assert [path.name for path in (tmp_path / "out" / "vis").iterdir()] == ["DSC1.PNG"]


def test_pictures_of_one_name_are_drawn_one_by_one(detector, tmp_path, capsys):
    images = sorted((detector / "data" / "images").iterdir())
    pictures = tmp_path / "pictures"
    names = ["left/1.png", "left/1.bmp", "right/1.png"]
    for name, image in zip(names, images, strict=False):
        (pictures / name).parent.mkdir(parents=True, exist_ok=True)
        cv2.imwrite(str(pictures / name), cv2.imread(str(image)))
    (pictures / "left/broken.png").write_bytes(b"no picture")
    out = tmp_path / "out"
    arguments = [pictures, detector / "tiny.py", detector / "weights.pth", "--device", "cpu"]
    options = ["--out-dir", out, "--score-thr", "0"]
    assert commands.demo_image([str(a) for a in [*arguments, *options]]) == 0
    assert "Left out" in capsys.readouterr().out
    drawn = {str(path.relative_to(out)) for path in out.rglob("*.*")}
    texts = ["left/1.png.json", "left/1.bmp.json", "right/1.json"]
    assert drawn == {*(f"vis/{name}" for name in names), *(f"preds/{text}" for text in texts)}
    for name, text in zip(names, texts, strict=True):
        found = json.loads((out / "preds" / text).read_text())
        alone = tmp_path / "alone"
        arguments[0] = pictures / name
        options = ["--out-dir", alone, "--score-thr", "0"]
        assert commands.demo_image([str(a) for a in [*arguments, *options]]) == 0
        assert found == json.loads((alone / "preds" / "1.json").read_text())
        assert found["scores"]
        before, after = (cv2.imread(str(f / name)) for f in (pictures, out / "vis"))
        assert (before != after).any()
        assert (after == cv2.imread(str(alone / "vis" / Path(name).name))).all()
    # What is drawn would take the place of a picture.
    arguments[0] = out / "vis"
    assert commands.demo_image([str(a) for a in [*arguments, "--out-dir", out]]) == 1
    assert "would be overwritten" in capsys.readouterr().err


def test_panoptic_results_are_pictures_beside_the_texts(detector, tmp_path, monkeypatch):
    # MMDetection gives such results where panopticapi is installed: ids as red, green and blue.
    ids = np.arange(4 * 5 * 3, dtype=np.uint8).reshape(4, 5, 3)

    class Panoptic(demo_image.DetInferencer):
        def __call__(self, *args, **kwargs):
            found = super().__call__(*args, **kwargs)
            found["predictions"][0]["panoptic_seg"] = ids
            return found

    monkeypatch.setattr(demo_image, "DetInferencer", Panoptic)
    assert draw(detector, tmp_path) == 0
    texts = [json.loads(path.read_text()) for path in (tmp_path / "preds").glob("*.json")]
    assert len(texts) == 6
    for text in texts:
        assert (cv2.imread(text["panoptic_seg_path"])[..., ::-1] == ids).all()


def boxes_by_image(path):
    """Boxes and scores of a result file by image and category, best first."""
    found = {}
    for d in sorted(json.loads(path.read_text()), key=lambda d: -d["score"]):
        found.setdefault((d["image_id"], d["category_id"]), []).append([*d["bbox"], d["score"]])
    return {key: torch.tensor(rows) for key, rows in found.items()}


def test_augmented_detections_of_a_mirror_image_are_mirrored(detector):
    # --tta predicts on an image and on its mirror image, so that it does not matter which is which.
    mirrored = detector / "data" / "mirrored"
    mirrored.mkdir()
    for path in (detector / "data" / "images").iterdir():
        cv2.imwrite(str(mirrored / path.name), cv2.imread(str(path))[:, ::-1])
    run(detector, *report_options(detector, "unaugmented"))
    run(detector, "--tta", *report_options(detector, "augmented"))
    prefix = "test_dataloader.dataset.data_prefix.img=mirrored/"
    run(detector, "--tta", *report_options(detector, "augmented_mirrored"), prefix)
    plain, one, other = (
        boxes_by_image(detector / f"{name}.bbox.json")
        for name in ("unaugmented", "augmented", "augmented_mirrored")
    )
    assert one.keys() == other.keys()
    for key, boxes in other.items():
        boxes[:, 0] = 64 - boxes[:, 0] - boxes[:, 2]
        torch.testing.assert_close(one[key], boxes, rtol=1e-3, atol=1e-2)
    # Of two predictions the better one is kept.
    best = {key: rows[0, 4] for key, rows in plain.items()}
    assert all(one[key][0, 4] >= score - 1e-4 for key, score in best.items())
    assert any(one[key][0, 4] > score + 1e-4 for key, score in best.items())


def test_shown_pictures_have_the_detections_drawn_in(detector):
    before = set((detector / "run").rglob("shown"))
    hook = "default_hooks.visualization"
    options = [f"{hook}.type=DetVisualizationHook", f"{hook}.score_thr=0"]
    run(detector, "--show-dir", "shown", "--cfg-options", *options)
    (folder,) = set((detector / "run").rglob("shown")) - before
    shown = sorted(folder.rglob("*.png"))
    pictures = sorted((detector / "data" / "images").iterdir())
    assert [path.stem.split("_")[0] for path in shown] == [path.stem for path in pictures]
    for path, picture in zip(shown, pictures, strict=True):
        left, right = np.split(cv2.imread(str(path)), 2, axis=1)
        source = cv2.imread(str(picture))
        # Truth on the left, detections on the right.
        assert left.shape == right.shape == source.shape
        assert (left != source).any()
        assert (right != left).any()


def test_pictures_of_one_name_are_shown_in_the_folders_they_come_from(detector, tmp_path):
    images = detector / "data" / "images"
    truth = json.loads((detector / "data" / "annotations.json").read_text())
    for place, image in enumerate(truth["images"]):
        folder = ("left", "right")[place % 2]
        # The last two lie elsewhere and are named by their whole paths.
        above = detector / "data" / "cameras" if place < 4 else tmp_path
        named = above / folder / f"{place // 2}.png"
        named.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(images / image["file_name"], named)
        image["file_name"] = f"{folder}/{named.name}" if place < 4 else str(named)
    file = detector / "data" / "cameras.json"
    file.write_text(json.dumps(truth))
    run(
        detector,
        *("--show-dir", "cameras", "--cfg-options"),
        "default_hooks.visualization.type=DetVisualizationHook",
        "test_dataloader.dataset.ann_file=cameras.json",
        "test_dataloader.dataset.data_prefix.img=cameras/",
        f"test_evaluator.ann_file={file}",
    )
    (shown,) = (detector / "run").rglob("cameras")
    found = sorted(str(path.relative_to(shown)) for path in shown.rglob("*.png"))
    elsewhere = [f"{tmp_path.relative_to('/')}/{folder}/2.png" for folder in ("left", "right")]
    assert found == sorted(["left/0.png", "left/1.png", "right/0.png", "right/1.png", *elsewhere])
