"""eval of made files: categories without truth, and one message for each kind of bad input."""

import json
import math
from pathlib import Path

import commands
import pytest

REPOSITORY = Path(__file__).resolve().parents[2]
DATA = REPOSITORY / "tests" / "data" / "lrp"
TOOL = REPOSITORY / "tools" / "eval_lrp.py"


@pytest.fixture(scope="module")
def main():
    return commands.eval_files


def call(main, *arguments):
    return main([str(argument) for argument in arguments])


def files(name):
    return ["--annotations", DATA / name / "gt.json", "--results", DATA / name / "dt.json"]


def evaluate(main, folder, ground_truth, results, *options):
    (folder / "gt.json").write_text(json.dumps(ground_truth))
    (folder / "dt.json").write_text(json.dumps(results))
    out = folder / "report.json"
    assert call(main, *named(folder), "--out", out, "--quiet", *options) == 0
    return json.loads(out.read_text())


def named(folder):
    return ["--annotations", folder / "gt.json", "--results", folder / "dt.json"]


def test_category_without_ground_truth_and_one_that_is_never_right(main, tmp_path):
    ground_truth = {
        "images": [{"id": 1, "width": 50, "height": 50}],
        "categories": [{"id": i, "name": name} for i, name in enumerate(("a", "b", "c"))],
        "annotations": [
            {"id": 1, "image_id": 1, "category_id": 0, "bbox": [0, 0, 10, 10]},
            {"id": 2, "image_id": 1, "category_id": 1, "bbox": [0, 0, 10, 10]},
        ],
    }
    results = [
        {"image_id": 1, "category_id": c, "bbox": [20 * (c == 1), 0, 10, 10], "score": 0.5}
        for c in range(3)
    ]
    report = evaluate(main, tmp_path, ground_truth, results)
    assert report["per_class"] == {
        "a": dict.fromkeys(("AP", "AP50", "AP75"), 1.0)
        | {**dict.fromkeys(("oLRP", "oLRP_Loc", "oLRP_FP", "oLRP_FN"), 0.0)}
        | {"threshold": 0.495, "last_kept": 0.5, "num_gt": 1}
        | {"precision": 1.0, "recall": 1.0, "F1": 1.0},
        "b": dict.fromkeys(("AP", "AP50", "AP75"), 0.0)
        | {"oLRP": 1.0, "oLRP_Loc": None, "oLRP_FP": None, "oLRP_FN": 1.0}
        | {"threshold": None, "last_kept": None, "num_gt": 1}
        | {"precision": 0.0, "recall": 0.0, "F1": 0.0},
    }
    assert report["oLRP"] == 0.5
    assert report["oLRP_Loc"] == 0.0
    assert report["oLRP_FN"] == 0.5
    assert report["oLRP_m"] is None


GROUND_TRUTH = {
    "images": [{"id": 1, "width": 30, "height": 20}],
    "categories": [{"id": 1, "name": "a"}],
    "annotations": [
        {"id": 1, "image_id": 1, "category_id": 1, "bbox": [0, 0, 9, 9], "area": 81}
        | {"segmentation": [[0, 0, 0, 9, 9, 9, 9, 0]]}
    ],
}
BOX = {"image_id": 1, "category_id": 1, "bbox": [0, 0, 9, 9], "score": 0.5}
SEGM = ["--iou-type", "segm"]


def changed(**fields):
    return [BOX, {**BOX, **fields}]


def mask(**fields):
    return changed(segmentation={"size": [20, 30], "counts": [0, 600], **fields})[1:]


@pytest.mark.parametrize(
    ("results", "options", "message"),
    [
        ("[{", [], "Expected JSON in"),
        (b"\xff\xfe\x00", [], "Expected JSON in"),
        ({"annotations": []}, [], "the list is empty"),
        ({"annotations": [{"id": 1}]}, [], "Expected detections with a score"),
        ({"detections": []}, [], "Expected COCO results"),
        ([], [], "the list is empty"),
        ([3], [], "Expected an object as detection 0"),
        (changed(image_id=5), [], "Expected as image_id one of the ground truth's in detection 1"),
        (changed(category_id=0), [], "Expected as category_id one of the ground truth's"),
        (changed(category_id=None), [], "as category_id in detection 1"),
        (changed(score=math.nan), [], "Expected a finite score in detection 1"),
        (changed(score=math.inf), [], "Expected a finite score"),
        (changed(score="0.5"), [], "Expected a number as score"),
        (changed(bbox=[5, 5, -2, 3]), [], "no negative size as bbox in detection 1"),
        (changed(bbox=["5", "5", "2", "3"]), [], "as bbox in detection 1"),
        (changed(image_id="1"), [], "image_ids of one type"),
        (changed(bbox=[5, 5, 2]), [], "Expected a box"),
        (changed(bbox=[5, 5, 2, math.nan]), [], "of finite numbers"),
        ([{"image_id": 1, "category_id": 1, "score": 0.5}], [], "Expected 'bbox'"),
        ([BOX], SEGM, "Expected 'segmentation'"),
        (mask(size=[30, 20]), SEGM, r"Expected a mask of [height, width] [20, 30]"),
        (mask(counts=[0, 599]), SEGM, "run lengths that add up to 20 x 30"),
        (mask(counts=[-1, 601]), SEGM, "run lengths that add up to 20 x 30"),
        (mask(size=None), SEGM, "Expected [height, width] as the size of the segmentation"),
        (mask(counts="~~~~"), SEGM, "run lengths that add up to 20 x 30"),
        (changed(segmentation=[[1, 2, 3]])[1:], SEGM, "Expected a mask"),
        ([BOX], ["--tau", "1.5"], "Expected tau in [0, 1)"),
        ([BOX], ["--dataset", "panoptic"], "Expected isthing in category 0"),
    ],
)
def test_bad_results(main, results, options, message, tmp_path, capsys):
    (tmp_path / "gt.json").write_text(json.dumps(GROUND_TRUTH))
    if not isinstance(results, (str, bytes)):
        results = json.dumps(results)
    content = results if isinstance(results, bytes) else results.encode()
    (tmp_path / "dt.json").write_bytes(content)
    check_refused(main, tmp_path, options, message, capsys)


def check_refused(main, folder, options, message, capsys):
    out, plots = folder / "out" / "report.json", folder / "plots"
    arguments = [*named(folder), *options, "--out", out, "--plots", plots]
    if "panoptic" not in options:
        arguments += ["--thresholds", folder / "thresholds.json"]
    assert call(main, *arguments) == 1
    error = capsys.readouterr().err
    assert error.startswith("error: ")
    assert error.count("\n") == 1
    assert message in error
    assert sorted(path.name for path in folder.iterdir()) == ["dt.json", "gt.json"]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"annotations": None}, "Expected COCO annotations"),
        ({"images": [{"id": 1}, {"id": 1}]}, "image ids"),
        ({"images": [{"width": 1}]}, "entry 0 lacks id"),
        ({"categories": [{"id": 1, "name": "a"}, {"id": 2, "name": "a"}]}, "distinct names"),
        ({"annotations": [{"image_id": 9, "category_id": 1}]}, "in annotation 0"),
        (
            {"annotations": [{"image_id": 1, "category_id": 1, "bbox": [0, 0, -1, 2]}]},
            "no negative size as bbox in annotation 0",
        ),
        (
            {"annotations": [{**GROUND_TRUTH["annotations"][0], "area": None}]},
            "Expected a number as area in annotation 0",
        ),
        (
            {"annotations": [{**GROUND_TRUTH["annotations"][0], "area": math.inf}]},
            "Expected an area from 0",
        ),
        (
            {"annotations": [{**GROUND_TRUTH["annotations"][0], "iscrowd": None}]},
            "Expected 0 or 1 as iscrowd in annotation 0",
        ),
        (
            {"annotations": [{**GROUND_TRUTH["annotations"][0], "iscrowd": "0"}]},
            "Expected 0 or 1 as iscrowd in annotation 0",
        ),
        ({"images": [{"id": 1}, {"id": "2"}]}, "Expected ids of one type"),
    ],
)
def test_bad_ground_truth(main, change, message, tmp_path, capsys):
    (tmp_path / "gt.json").write_text(json.dumps({**GROUND_TRUTH, **change}))
    (tmp_path / "dt.json").write_text(json.dumps([BOX]))
    check_refused(main, tmp_path, [], message, capsys)


def test_missing_file(main, tmp_path, capsys):
    assert call(main, *named(tmp_path)) == 1
    assert "does not exist" in capsys.readouterr().err


def test_bad_arguments(main, capsys):
    for arguments in ([], ["--iou-type", "volume"], ["--annotations", "a"]):
        assert call(main, *arguments) == 1
        assert capsys.readouterr().err.startswith("error: ")


def test_one_folder_of_panoptic_results_for_several_detectors(main, tmp_path, capsys):
    results = tmp_path / "other.json"
    results.write_text((DATA / "panoptic" / "dt.json").read_text())
    options = ["--dataset", "panoptic", "--dt-folder", DATA / "panoptic" / "dt"]
    assert call(main, *files("panoptic"), *options) == 0
    capsys.readouterr()
    assert call(main, *files("panoptic"), results, *options) == 1
    captured = capsys.readouterr()
    assert "Expected one file of --results with --dt-folder, but got several" in captured.err
    assert captured.out == ""


def test_wrong_number_of_keypoints(main, tmp_path, capsys):
    ground_truth = json.loads((DATA / "keypoints" / "gt.json").read_text())
    results = json.loads((DATA / "keypoints" / "dt.json").read_text())
    results[3]["keypoints"] = results[3]["keypoints"][:48]
    (tmp_path / "gt.json").write_text(json.dumps(ground_truth))
    (tmp_path / "dt.json").write_text(json.dumps(results))
    check_refused(main, tmp_path, ["--iou-type", "keypoints"], "Expected 17 keypoints", capsys)


def test_lvis(main, tmp_path, capsys):
    pytest.importorskip("lvis")
    ground_truth = json.loads(json.dumps(GROUND_TRUTH))
    (tmp_path / "gt.json").write_text(json.dumps(ground_truth))
    (tmp_path / "dt.json").write_text(json.dumps([BOX]))
    options = ["--dataset", "lvis"]
    check_refused(main, tmp_path, options, "as neg_category_ids in image 0", capsys)
    ground_truth["images"][0] |= {"neg_category_ids": [], "not_exhaustive_category_ids": []}
    ground_truth["categories"][0]["frequency"] = "r"
    report = evaluate(main, tmp_path, ground_truth, [BOX], *options)
    assert report["oLRP"] == 0.0
    assert report["APr"] == pytest.approx(1.0)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda gt, dt: dt["annotations"].pop(), "has none for 1 of 8"),
        (lambda gt, dt: dt["annotations"][0].update(image_id=99), "images that it does not have"),
        (lambda gt, dt: dt["annotations"][0]["segments_info"].pop(), "are in the PNG alone"),
        (
            lambda gt, dt: dt["annotations"][0]["segments_info"][0].update(category_id=77),
            "Expected a category of the ground truth",
        ),
        (lambda gt, dt: dt["annotations"][0].update(file_name="none.png"), "there is no file"),
        (lambda gt, dt: gt["categories"][0].pop("isthing"), "Expected isthing in category 0"),
        (lambda gt, dt: gt["categories"][0].update(isthing="yes"), "as isthing in category 0"),
        (lambda gt, dt: dt["annotations"].append(dt["annotations"][0]), "is listed twice"),
        (lambda gt, dt: gt["annotations"].append(gt["annotations"][2]), "in annotation 2 and in"),
        (lambda gt, dt: dt["annotations"][1].update(image_id=[1]), "an id as image_id"),
        (
            lambda gt, dt: dt["annotations"][0]["segments_info"][0].update(category_id=[1]),
            "as category_id in segment 0 of annotation 0",
        ),
    ],
)
def test_bad_panoptic(main, change, message, tmp_path, capsys):
    ground_truth = json.loads((DATA / "panoptic" / "gt.json").read_text())
    results = json.loads((DATA / "panoptic" / "dt.json").read_text())
    change(ground_truth, results)
    (tmp_path / "gt.json").write_text(json.dumps(ground_truth))
    (tmp_path / "dt.json").write_text(json.dumps(results))
    folders = ["--gt-folder", DATA / "panoptic" / "gt", "--dt-folder", DATA / "panoptic" / "dt"]
    check_refused(main, tmp_path, ["--dataset", "panoptic", "--quiet", *folders], message, capsys)
