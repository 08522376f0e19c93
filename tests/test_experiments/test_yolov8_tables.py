"""Tables of YOLOv8n by each loss and of REG on a pretrained backbone, from results of runs."""

import json
from pathlib import Path

import pytest
import yolov8_tables

YOLO = "yolov8_n_1xb16-1500i_bccd"


def test_document_shows_the_figures_of_the_runs():
    text = yolov8_tables.DOCUMENT.read_text()
    tables = yolov8_tables.blocks()
    assert tables
    for name, table in tables.items():
        assert f"<!-- begin {name} -->\n{table}\n<!-- end {name} -->" in text


@pytest.fixture
def folders(tmp_path, monkeypatch):
    """Folders of results of one's own, and a document with room for the tables."""
    results = tmp_path / "results"
    results.mkdir()
    monkeypatch.setattr(yolov8_tables, "RESULTS", results)
    names = [f"{kind}{part}" for kind in ("yolov8_bccd", "reg_lite") for part in PARTS]
    document = tmp_path / "document.md"
    document.write_text("\n".join(f"<!-- begin {n} -->\n<!-- end {n} -->" for n in names))
    monkeypatch.setattr(yolov8_tables, "DOCUMENT", document)
    return tmp_path


PARTS = ("", "_classes", "_curve")


def result(config, seed, shift):
    classes = {
        name: dict(AP=value + shift, recall=value - shift)
        for name, value in (("cell", 0.5), ("disc", 0.25))
    }
    figures = dict.fromkeys(yolov8_tables.MEANS, 0.4 + shift) | dict(per_class=classes, oLRP=None)
    curve = [{"iteration": step, "boxes AP": shift * step} for step in (1, 2)]
    run = dict(config=config, seed=seed, iterations=600)
    return run | dict(test=dict(boxes=figures), curve=curve)


def write_run(folder, config, seed, shift):
    path = folder / f"{config}_seed{seed}"
    path.mkdir()
    (path / "result.json").write_text(json.dumps(result(config, seed, shift)))
    return str(path)


def table(document, name):
    text = document.read_text().split(f"<!-- begin {name} -->\n")[1].split("\n<!-- end")[0]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in text.splitlines()]


def test_yolov8_by_each_loss(folders):
    runs = [
        write_run(folders, f"{prefix}{YOLO}", seed, shift + 0.02 * seed)
        for prefix, shift in (("rs-", 0.1), ("", 0.0))
        for seed in (0, 1)
    ]
    (folders / "unfinished").mkdir()
    assert yolov8_tables.main([*runs, str(folders / "unfinished")]) == 0
    document = folders / "document.md"
    means = table(document, "yolov8_bccd")
    assert means[0] == ["loss", "runs", *yolov8_tables.MEANS]
    assert means[2][:3] == ["binary cross entropy", "2", "41.0 \u00b1 1.4"]
    assert means[3][:3] == ["RS Loss", "2", "51.0 \u00b1 1.4"]
    assert means[3][means[0].index("oLRP")] == "-"
    classes = table(document, "yolov8_bccd_classes")
    assert classes[0] == ["loss", "AP, cell", "recall, cell", "AP, disc", "recall, disc"]
    assert [cell[:4] for cell in classes[3][1:]] == ["61.0", "39.0", "36.0", "14.0"]
    curve = table(document, "yolov8_bccd_curve")
    assert curve[0] == ["loss", "AP at 1", "AP at 2"]
    assert curve[3][1:] == ["11.0 \u00b1 1.4", "22.0 \u00b1 2.8"]
    assert "<!-- begin reg_lite -->\n<!-- end reg_lite -->" in document.read_text()
    # Again from what was gathered.
    before = document.read_text()
    assert yolov8_tables.main([]) == 0
    assert document.read_text() == before


def test_reg_stands_beside_the_stock_detector_alone(folders):
    stock = {
        name: [result(name, 0, shift)]
        for name, shift in (
            ("atss_lite0_fpn_bccd", 0.1),
            ("rs-atss_lite0_fpn_bccd", 0.2),
            ("retinanet_lite0_fpn_bccd", 0.3),
        )
    }
    (folders / "results" / "real_bccd_600.json").write_text(json.dumps(stock))
    assert yolov8_tables.main([write_run(folders, "reg-atss_lite0_fpn_bccd", 3, 0.0)]) == 0
    means = table(folders / "document.md", "reg_lite")
    assert [row[:4] for row in means[2:]] == [
        ["ATSS", "MMDetection", "1", "50.0"],
        ["ATSS", "RS Loss", "1", "60.0"],
        ["ATSS", "REG", "1", "40.0"],
    ]


def test_no_results(folders, capsys):
    assert yolov8_tables.main([]) == 1
    assert "but there are none; give the folders of runs" in capsys.readouterr().err
    assert yolov8_tables.main([str(folders)]) == 1
    assert "but got none" in capsys.readouterr().err


def test_runs_of_other_budgets_are_not_averaged(folders, capsys):
    runs = [write_run(folders, "yolov8_n_1xb16-1500i_bccd", seed, 0.0) for seed in (0, 1)]
    file = Path(runs[1]) / "result.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | {"iterations": 1500}))
    assert yolov8_tables.main(runs) == 1
    assert "Expected runs of one budget" in capsys.readouterr().err
