"""tools/eval_lrp.py: reports, pictures, comparisons, and what it says to bad input."""

import importlib.util
import json
import math
import os
import subprocess
import sys
from pathlib import Path

import commands
import pytest
from matplotlib.image import imread

from mmdet_rank.evaluation.report import F1_FIGURES

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


def test_as_a_command(tmp_path):
    command = [sys.executable, TOOL, *files("synthetic"), "--iou-type", "bbox", "--out"]
    done = subprocess.run(
        [*map(str, command), "report.json"],
        capture_output=True,
        text=True,
        check=False,
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(REPOSITORY)},
    )
    assert done.returncode == 0, done.stderr
    # The progress bar, over images and categories, by pycocotools also over sizes.
    steps = 240 if importlib.util.find_spec("faster_coco_eval") else 960
    assert f"{steps}/{steps}" in done.stderr
    lines = done.stdout.splitlines()
    assert [line.split()[0] for line in lines if line.startswith("c")][1:] == [
        f"c{i}" for i in range(6)
    ]
    assert lines[-1].split()[:4] == ["69.1", "22.0", "29.7", "20.7"]
    report = json.loads((tmp_path / "report.json").read_text())
    expected = json.loads((DATA / "synthetic" / "expected.json").read_text())["bbox"]
    assert report["oLRP"] == pytest.approx(expected["olrp"]["all"], abs=2e-6)
    assert set(report["per_class"]["c0"]) == {
        *("AP", "AP50", "AP75"),
        *("oLRP", "oLRP_Loc", "oLRP_FP", "oLRP_FN"),
        *("threshold", "last_kept", "num_gt", "precision", "recall", "F1"),
    }


@pytest.mark.parametrize(
    ("name", "options", "pictures"),
    [
        ("synthetic", ["--iou-type", "segm"], ["components", "f1", "overview", "pr", "s_lrp"]),
        ("keypoints", ["--iou-type", "keypoints"], ["components", "f1", "overview", "pr", "s_lrp"]),
        ("panoptic", ["--dataset", "panoptic"], ["components", "overview"]),
    ],
)
def test_pictures(main, name, options, pictures, tmp_path, capsys):
    folder = tmp_path / "plots"
    assert call(main, *files(name), *options, "--plots", folder, "--quiet") == 0
    assert sorted(path.stem for path in folder.iterdir()) == pictures
    for path in folder.iterdir():
        picture = imread(path)
        assert min(picture.shape[:2]) > 200
        assert picture[..., :3].std() > 0.05
    assert "matching" not in capsys.readouterr().err


def test_thresholds_reproduce_the_report(main, tmp_path):
    """Filtering the result file by the written thresholds gives the same errors again."""
    first, thresholds = tmp_path / "first.json", tmp_path / "thresholds.json"
    common = ["--annotations", DATA / "synthetic" / "gt.json", "--quiet"]
    options = [*common, "--results", DATA / "synthetic" / "dt.json", "--out", first]
    assert call(main, *options, "--thresholds", thresholds) == 0
    by_name = json.loads(thresholds.read_text())
    categories = json.loads((DATA / "synthetic" / "gt.json").read_text())["categories"]
    names = {category["id"]: category["name"] for category in categories}
    results = json.loads((DATA / "synthetic" / "dt.json").read_text())
    kept = [d for d in results if d["score"] >= by_name[names[d["category_id"]]]]
    assert 0 < len(kept) < len(results)
    (tmp_path / "kept.json").write_text(json.dumps(kept))
    again = tmp_path / "again.json"
    assert call(main, *common, "--results", tmp_path / "kept.json", "--out", again) == 0
    before, after = (json.loads(path.read_text()) for path in (first, again))
    for name, values in before["per_class"].items():
        # Nothing lies below the last detection any more, so the threshold may differ, and what is
        # found at one confidence for all categories; AP counts what lies below.
        own = {key: values[key] for key in ("threshold", "AP", "AP50", "AP75", *F1_FIGURES)}
        assert {**after["per_class"][name], **own} == values
        scores = [d["score"] for d in results if names[d["category_id"]] == name]
        lower = max((s for s in scores if s < values["last_kept"]), default=None)
        if lower is not None:
            assert by_name[name] == values["threshold"]
            # Crowds take detections out, so the next lower one that counts may be lower still.
            assert by_name[name] <= (lower + values["last_kept"]) / 2
        assert values["threshold"] < values["last_kept"]
    assert "midway" in before["threshold_rule"]
    for key in ("oLRP", "oLRP_Loc", "oLRP_FP", "oLRP_FN"):
        assert after[key] == before[key]


def test_several_detectors(main, tmp_path, capsys):
    results = json.loads((DATA / "synthetic" / "dt.json").read_text())
    (tmp_path / "half.json").write_text(json.dumps(results[::2]))
    files_ = ["--annotations", DATA / "synthetic" / "gt.json", "--results",
              DATA / "synthetic" / "dt.json", tmp_path / "half.json"]  # fmt: skip
    out, plots = tmp_path / "reports", tmp_path / "plots"
    options = ["--quiet", "--out", out, "--plots", plots, "--categories", "c0"]
    assert call(main, *files_, *options) == 0
    table = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in table] == ["detector", "--------", "dt", "half"]
    reports = {name: json.loads((out / f"{name}.json").read_text()) for name in ("dt", "half")}
    assert reports["dt"]["oLRP"] < reports["half"]["oLRP"]
    assert sorted(path.stem for path in plots.iterdir()) == [
        "comparison", "fp_fn", "interpolation", "pr", "pr_c0", "s_lrp", "s_lrp_c0", "thresholds",
    ]  # fmt: skip
    for mistake, message in (
        (["--thresholds", tmp_path / "t.json"], "Expected one file of --results"),
        (["--out", tmp_path / "one.json"], "Expected a folder as --out"),
        (["--plots", plots, "--categories", "c99"], "Expected categories with ground truth"),
    ):
        assert call(main, *files_, "--quiet", *mistake) == 1
        assert message in capsys.readouterr().err


def test_bounds_and_giou(main, tmp_path, capsys):
    out = tmp_path / "report.json"
    assert call(main, *files("synthetic"), "--quiet", "--out", out, "--bounds") == 0
    bounds = json.loads(out.read_text())["correlation_bounds"]
    assert bounds["lower"]["AP50"] == bounds["found"]["AP50"] == bounds["upper"]["AP50"]
    assert bounds["lower"]["AP"] < bounds["found"]["AP"] < bounds["upper"]["AP"]
    table = capsys.readouterr().out.splitlines()[-3:]
    assert [line.split()[:2] for line in table] == [
        ["lower", "-1"],
        ["found", f"{bounds['correlation']:.2f}"],
        ["upper", "1"],
    ]
    giou = ["--quiet", "--out", out, "--quality", "giou", "--tau", 0.75]
    assert call(main, *files("synthetic"), *giou) == 0
    report = json.loads(out.read_text())
    assert (report["quality"], report["tau"]) == ("giou", 0.75)
    assert call(main, *files("synthetic"), *giou, "--bounds") == 1
    assert "Expected --quality iou with --bounds" in capsys.readouterr().err


def test_confusion(main, tmp_path, capsys):
    picture, out = tmp_path / "confusion.png", tmp_path / "report.json"
    options = ["--quiet", "--confusion", picture]
    assert call(main, *files("synthetic"), *options, "--out", out) == 0
    summary = capsys.readouterr().out
    report = json.loads(out.read_text())
    confusion = report["confusion"]
    assert confusion["classes"] == [*report["per_class"], "background"]
    assert confusion["threshold"] == report["F1_threshold"]
    for name, row in zip(report["per_class"], confusion["counts"], strict=False):
        values = report["per_class"][name]
        assert sum(row) == values["num_gt"]
        right = row[confusion["classes"].index(name)]
        assert right / values["num_gt"] == pytest.approx(values["recall"])
    assert imread(picture)[..., :3].std() > 0.05
    assert "confusion" not in summary
    # Nothing else of the report changes.
    assert call(main, *files("synthetic"), "--quiet", "--out", out) == 0
    assert json.loads(out.read_text()) == {k: v for k, v in report.items() if k != "confusion"}
    capsys.readouterr()
    for arguments, message in (
        ([*files("keypoints"), "--iou-type", "keypoints"], "Expected boxes or masks of COCO files"),
        ([*files("panoptic"), "--dataset", "panoptic"], "Expected boxes or masks of COCO files"),
        ([*files("synthetic"), "--quality", "giou"], "and IoU with --confusion, but got"),
        ([*files("synthetic"), DATA / "synthetic" / "dt.json"], "Expected one file of --results"),
        (["--compare", out, out], "Expected one file of --results with --confusion"),
    ):
        assert call(main, *arguments, *options) == 1
        assert message in capsys.readouterr().err


def test_several_taus_and_importance(main, tmp_path, capsys):
    out, plots = tmp_path / "report.json", tmp_path / "plots"
    options = ["--quiet", "--out", out, "--plots", plots]
    assert call(main, *files("synthetic"), *options, "--tau", 0.5, 0.62, 0.75) == 0
    report = json.loads(out.read_text())
    table = capsys.readouterr().out.splitlines()
    assert table[4].split() == ["tau", "oLRP", "oLRP_Loc", "oLRP_FP", "oLRP_FN"]
    assert [line.split()[0] for line in table[6:]] == ["0.5", "0.62", "0.75"]
    assert (plots / "over_tau.png").exists()
    # Each is what it is alone, and so is the rest of the report for the first.
    for place, tau in enumerate((0.5, 0.62, 0.75)):
        alone = tmp_path / f"{tau}.json"
        assert call(main, *files("synthetic"), "--quiet", "--out", alone, "--tau", tau) == 0
        single = json.loads(alone.read_text())
        assert {key: single[key] for key in report["over_tau"][place]} == report["over_tau"][place]
        # Precision, recall and F1 are at IoU 0.5, whatever tau is.
        assert [single[key] for key in ("precision", "recall", "F1", "F1_threshold")] == [
            report[key] for key in ("precision", "recall", "F1", "F1_threshold")
        ]
        if place == 0:
            assert single == {key: report[key] for key in report if key != "over_tau"}
    weighted = ["--quiet", "--out", out, "--importance", 1, 1, 4]
    assert call(main, *files("synthetic"), *weighted) == 0
    dear_misses = json.loads(out.read_text())
    assert dear_misses["importance"] == [1, 1, 4]
    for name, values in dear_misses["per_class"].items():
        assert values["oLRP_FN"] <= report["per_class"][name]["oLRP_FN"]
        assert values["threshold"] <= report["per_class"][name]["threshold"]
    assert dear_misses["oLRP_FN"] < report["oLRP_FN"]
    panoptic = [*files("panoptic"), "--dataset", "panoptic"]
    assert call(main, *panoptic, *weighted) == 0
    weighed = json.loads(out.read_text())
    assert call(main, *panoptic, "--quiet", "--out", out) == 0
    plain = json.loads(out.read_text())
    assert weighed["importance"] == [1, 1, 4]
    assert weighed["all"]["PQ"] == plain["all"]["PQ"]
    assert weighed["all"]["LRP"] > plain["all"]["LRP"]
    capsys.readouterr()
    assert call(main, *panoptic, "--tau", 0.5, 0.6) == 1
    assert "--dataset panoptic takes one --tau" in capsys.readouterr().err
    assert call(main, *files("synthetic"), "--importance", 1, 1, 0) == 1
    assert "three positive importance weights" in capsys.readouterr().err


def test_compare(main, tmp_path, capsys):
    reports = []
    for tau in (0.5, 0.5, 0.75):
        path = tmp_path / f"run{len(reports)}.json"
        options = ["--quiet", "--tau", tau, "--out", path]
        assert call(main, *files("synthetic"), *options) == 0
        reports.append(path)
    capsys.readouterr()
    plots = tmp_path / "plots"
    assert call(main, "--compare", *reports[:2], "--plots", plots) == 0
    table = capsys.readouterr().out.splitlines()
    assert table[0].split()[:5] == ["detector", "AP", "AP50", "AP75", "AR"]
    assert [line.split()[0] for line in table[2:]] == ["run0", "run1"]
    assert (plots / "comparison.png").exists()
    assert call(main, "--compare", *reports) == 1
    assert "one kind and one tau" in capsys.readouterr().err
    empty = tmp_path / "empty.json"
    empty.write_text(json.dumps({**json.loads(reports[0].read_text()), "per_class": {}}))
    assert call(main, "--compare", reports[0], empty, "--plots", plots) == 0
    empty.write_text('{"per_class": {}}')
    assert call(main, "--compare", reports[0], empty) == 1
    assert "one kind and one tau" in capsys.readouterr().err
    panoptic = tmp_path / "panoptic.json"
    assert call(main, *files("panoptic"), "--dataset", "panoptic", "--out", panoptic) == 0
    assert call(main, "--compare", panoptic, panoptic) == 0
    assert call(main, "--compare", panoptic, reports[0]) == 1
    assert call(main, "--compare", DATA / "synthetic" / "gt.json") == 1
    assert "Expected an LRP report" in capsys.readouterr().err


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


def evaluate(main, folder, ground_truth, results, *options):
    (folder / "gt.json").write_text(json.dumps(ground_truth))
    (folder / "dt.json").write_text(json.dumps(results))
    out = folder / "report.json"
    assert call(main, *named(folder), "--out", out, "--quiet", *options) == 0
    return json.loads(out.read_text())


def named(folder):
    return ["--annotations", folder / "gt.json", "--results", folder / "dt.json"]


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
