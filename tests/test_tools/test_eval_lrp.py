"""tools/eval_lrp.py: reports, pictures, comparisons, and what it says to bad input."""

import importlib.util
import json
import os
import shutil
import subprocess
import sys
import threading
from pathlib import Path

import commands
import pytest
from coco_files import sound_file
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
        (["--categories", "c0"], "Expected several --results and --plots with --categories"),
    ):
        assert call(main, *files_, "--quiet", *mistake) == 1
        assert message in capsys.readouterr().err


def test_categories_whose_names_are_alike_as_files(main, tmp_path):
    truth = sound_file(categories=[{"id": 2, "name": "a/b"}, {"id": 7, "name": "a b"}])
    keys = ("image_id", "category_id", "bbox")
    found = [{key: a[key] for key in keys} | {"score": 0.5} for a in truth["annotations"]]
    paths = [tmp_path / f"{name}.json" for name in ("gt", "all", "first")]
    for path, content in zip(paths, (truth, found, found[:2]), strict=True):
        path.write_text(json.dumps(content))
    options = ["--quiet", "--plots", tmp_path / "plots", "--categories", "a/b", "a b"]
    assert call(main, "--annotations", paths[0], "--results", *paths[1:], *options) == 0
    names = {path.stem for path in (tmp_path / "plots").iterdir()}
    assert {"pr_a_b", "pr_a_b_", "s_lrp_a_b", "s_lrp_a_b_"} <= names


def test_outputs_are_refused_before_anything_is_evaluated(main, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr("mmdet_rank.cli.eval.evaluate", None)
    folder, file = tmp_path / "reports", tmp_path / "file"
    folder.mkdir()
    file.write_text("mine")
    several = [*files("synthetic"), DATA / "perfect" / "dt.json"]
    for mistake, message in (
        (["--out", folder], f"Expected a file as --out, but {folder} is a folder; give a file in"),
        (["--thresholds", folder], "Expected a file as --thresholds"),
        (["--plots", file], f"Expected a folder as --plots, but {file} is a file"),
        (["--confusion", tmp_path / "c.foo"], "Expected a picture as --confusion"),
        (["--confusion", tmp_path / "c"], "give a name such as confusion.png"),
        (["--bounds", "--quality", "giou"], "Expected --quality iou with --bounds"),
        (["--categories", "zzz"], "Expected several --results and --plots with --categories"),
    ):
        assert call(main, *files("synthetic"), *mistake) == 1
        assert message in capsys.readouterr().err
    assert call(main, *several, "--out", file) == 1
    assert f"Expected a folder as --out, but {file} is a file" in capsys.readouterr().err
    for option in ("--out", "--thresholds", "--annotations", "--results"):
        assert call(main, "--compare", file, option, tmp_path / "new.json") == 1
        assert f"Expected reports alone with --compare, but got {option}" in capsys.readouterr().err
    assert file.read_text() == "mine"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file", "reports"]


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


@pytest.mark.parametrize("form", ["pictures by name", "a data set"])
def test_confusion_of_results_that_number_the_pictures_otherwise(form, main, tmp_path):
    """Predictions on a folder, whose detections are counted as the report has them."""
    truth = sound_file()
    images = [{"id": 5, "file_name": "a.jpg"}, {"id": 1, "file_name": "b.jpg"}]
    number = {1: images[0], 5: images[1]}
    detections = [
        {"image_id": number[a["image_id"]]["id"], "score": 0.9}
        | {key: a[key] for key in ("category_id", "bbox")}
        for a in truth["annotations"]
    ]
    if form == "a data set":
        categories = [{"id": 7, "name": "cat"}, {"id": 2, "name": "dog"}]
        for detection in detections:
            detection["category_id"] = {2: 7, 7: 2}[detection["category_id"]]
        results = {"images": images, "categories": categories, "annotations": detections}
    else:
        names = {image["id"]: image["file_name"] for image in images}
        results = [d | {"file_name": names[d["image_id"]]} for d in detections]
    paths = tmp_path / "gt.json", tmp_path / "dt.json"
    for path, content in zip(paths, (truth, results), strict=True):
        path.write_text(json.dumps(content))
    out = tmp_path / "report.json"
    options = ["--quiet", "--out", out, "--confusion", tmp_path / "confusion.png"]
    assert call(main, "--annotations", paths[0], "--results", paths[1], *options) == 0
    report = json.loads(out.read_text())
    assert report["oLRP"] == 0.0
    assert report["confusion"]["counts"] == [[2, 0, 0], [0, 2, 0], [0, 0, 0]]


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
    over = ["--tau", 0.6, 0.5, 0.9, "--plots", tmp_path / "over"]
    assert call(main, *panoptic, "--quiet", "--out", out, *over) == 0
    printed = capsys.readouterr().out.splitlines()
    assert printed[-5].split() == ["tau", "LRP", "LRP_Loc", "LRP_FP", "LRP_FN"]
    assert [line.split()[0] for line in printed[-3:]] == ["0.6", "0.5", "0.9"]
    several = json.loads(out.read_text())
    for place, tau in enumerate((0.6, 0.5, 0.9)):
        assert call(main, *panoptic, "--quiet", "--out", out, "--tau", tau) == 0
        single = json.loads(out.read_text())
        errors = {key: single["all"][key] for key in ("LRP", "LRP_Loc", "LRP_FP", "LRP_FN")}
        assert several["over_tau"][place] == {"tau": tau} | errors
        if place == 0:
            assert single == {key: several[key] for key in several if key != "over_tau"}
    assert (tmp_path / "over" / "over_tau.png").exists()
    assert call(main, *panoptic, "--tau", 0.5, 0.4) == 1
    assert "Expected tau in [0.5, 1) for panoptic" in capsys.readouterr().err
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
    first = json.loads(reports[0].read_text())
    assert (first["iou_type"], first["max_dets"]) == ("bbox", 100)
    other = tmp_path / "other.json"
    for options, message in (
        (["--importance", 1, 1, 4], "as importance (1.0, 1.0, 1.0) and (1.0, 1.0, 4.0);"),
        (["--quality", "giou"], "as quality iou and giou;"),
        (["--iou-type", "segm"], "as iou_type bbox and segm;"),
        (["--max-dets", 10], "as max_dets 100 and 10;"),
    ):
        assert call(main, *files("synthetic"), "--quiet", *options, "--out", other) == 0
        assert call(main, "--compare", reports[0], other) == 1
        assert message in capsys.readouterr().err
    # Reports of earlier versions do not say all of it.
    other.write_text(json.dumps({k: v for k, v in first.items() if k != "max_dets"}))
    assert call(main, "--compare", reports[0], other) == 0
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


def test_what_is_read_is_not_written_over(main, tmp_path, capsys):
    for name in ("gt", "dt"):
        shutil.copy(DATA / "synthetic" / f"{name}.json", tmp_path / f"{name}.json")
    shutil.copy(tmp_path / "dt.json", tmp_path / "other.json")
    before = {path: path.read_bytes() for path in tmp_path.iterdir()}
    truth, results = ["--annotations", tmp_path / "gt.json"], tmp_path / "dt.json"
    for options in (
        ["--results", results, "--out", results],
        ["--results", results, "--thresholds", tmp_path / "x" / ".." / "gt.json"],
        ["--results", results, tmp_path / "other.json", "--out", tmp_path],
    ):
        assert call(main, *truth, *options) == 1
        assert "which is read; give a new one" in capsys.readouterr().err
    same = ["--out", tmp_path / "new.json", "--thresholds", tmp_path / "new.json"]
    assert call(main, *truth, "--results", results, *same) == 1
    assert "which is written too" in capsys.readouterr().err
    assert {path: path.read_bytes() for path in tmp_path.iterdir()} == before


@pytest.mark.parametrize("names", ["of categories", "of pictures", "unknown"])
def test_names_of_results_go_before_their_numbers(names, main, tmp_path, capsys):
    """Perfect detections by another numbering; by their numbers they would be wrong."""
    truth = sound_file()
    found = [
        {key: a[key] for key in ("image_id", "category_id", "bbox")} | {"score": 0.9}
        for a in truth["annotations"]
    ]
    results: object = found
    files_of = {1: "data/a.jpg", 5: "data/b.jpg"}
    if names == "of categories":
        labels = {2: "cat", 7: "dog"}
        for entry in found:
            entry |= {"category": labels[entry["category_id"]]}
            entry["category_id"] = {2: 7, 7: 2}[entry["category_id"]]
    else:
        for entry in found:
            entry["image_id"] = {1: 5, 5: 1}[entry["image_id"]]
    if names == "of pictures":
        images = [{"id": 5, "file_name": files_of[1]}, {"id": 1, "file_name": files_of[5]}]
        results = {"images": images, "annotations": found}
    elif names == "unknown":
        for entry in found:
            entry["file_name"] = {5: "a.png", 1: "b.png"}[entry["image_id"]]
    paths = tmp_path / "gt.json", tmp_path / "dt.json"
    for path, content in zip(paths, (truth, results), strict=True):
        path.write_text(json.dumps(content))
    out = tmp_path / "report.json"
    options = ["--quiet", "--out", out]
    assert call(main, "--annotations", paths[0], "--results", paths[1], *options) == 0
    report = json.loads(out.read_text())
    warned = [line for line in capsys.readouterr().err.splitlines() if "warning" in line]
    if names == "unknown":
        assert report["oLRP"] == 1.0
        assert warned == [
            f"warning: {paths[1]}: None of its pictures, such as 'a.png', has the name of one of "
            "the ground truth, such as 'a.jpg'; image_id was taken for the ground truth's id: "
            "check that it is."
        ]
    else:
        assert report["AP"] == pytest.approx(1.0)
        assert report["oLRP"] == 0.0
        assert warned == []


def test_a_report_goes_into_a_pipe_that_stays_one(main, tmp_path):
    pipe, file, got = tmp_path / "pipe", tmp_path / "report.json", []
    os.mkfifo(pipe)
    reader = threading.Thread(target=lambda: got.append(pipe.read_bytes()), daemon=True)
    reader.start()
    assert call(main, *files("synthetic"), "--quiet", "--out", pipe) == 0
    reader.join(timeout=60)
    assert pipe.is_fifo()
    assert call(main, *files("synthetic"), "--quiet", "--out", file) == 0
    assert got == [file.read_bytes()]
    assert json.loads(got[0])["oLRP"] > 0
