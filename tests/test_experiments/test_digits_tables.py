"""The tables of the experiments are made from the files of the runs."""

import json

import digits_tables
import pytest
from benchmark_modules import import_benchmark


@pytest.fixture(scope="module")
def experiments():
    return digits_tables


def test_documents_show_the_figures_of_the_runs(experiments):
    for document, tables in experiments.blocks().items():
        text = document.read_text()
        for name, table in tables.items():
            assert f"<!-- begin {name} -->\n{table}\n<!-- end {name} -->" in text


def test_the_page_of_benchmarks_shows_the_figures_of_its_files():
    report = import_benchmark("cpu_report")
    folder = report.ROOT / report.RESULTS
    results = {name: json.loads((folder / f"{name}.json").read_text()) for name in report.RUNS}
    text = report.DOCUMENT.read_text()
    for name, table in report.blocks_of(results).items():
        assert f"<!-- begin {name} -->\n{table}\n<!-- end {name} -->" in text


def runs(*values):
    figures = ("AP", "AP50", "AP75", "oLRP", "oLRP_Loc", "oLRP_FP", "oLRP_FN", "correlation")
    return [{"boxes": dict.fromkeys(figures, value), "iteration": 1.0} for value in values]


def test_rows_name_detector_loss_and_spread(experiments):
    rows = {"alrp-faster-rcnn_r18_fpn_digits": runs(0.4, 0.5), "fcos_r18_fpn_digits": runs(0.25)}
    _, _, spread, single = experiments.detectors_table(rows).splitlines()
    assert spread.startswith("| Faster R-CNN | aLRP Loss | boxes | 45.0 ± 7.1 | ")
    assert spread.endswith(" | 0.45 ± 0.07 | - |")
    assert single.startswith("| FCOS | MMDetection | boxes | 25.0 | ")
    assert float(single.split(" | ")[-1].rstrip(" |")) > 0


def test_grid_has_a_table_for_each_figure(experiments):
    cells = {
        f"{weight} x {balance}": runs(index / 10 + place / 100)
        for index, weight in enumerate(("none", "centerness"))
        for place, balance in enumerate(("1", "2", "3", "value", "magnitude"))
    }
    first = experiments.grid_tables("8.1", cells).split("\n\n")[0].splitlines()
    assert first[0].startswith("| AP: instance weight | constant 1 | ")
    assert first[3] == "| centerness | 10.0 | 11.0 | 12.0 | 13.0 | 14.0 |"


def test_part_of_a_grid_has_its_own_rows_and_columns(experiments):
    cells = {"score x 1": runs(0.1), "score x value": runs(0.2)}
    first = experiments.grid_tables("8.1", cells).split("\n\n")[0].splitlines()
    assert first[0] == "| AP: instance weight | constant 1 | by value |"
    assert first[2:] == ["| score | 10.0 | 20.0 |"]


def test_a_grid_of_one_dimension_has_a_row_for_each_cell(experiments):
    cells = {"0.25": runs(0.1, 0.3), "1": runs(0.2)}
    header, _, first, second = experiments.grid_tables("P.1", cells).splitlines()
    assert header.startswith("| delta | AP | AP50 |")
    assert header.endswith("| oLRP_FN | rank corr. |")
    assert first.startswith("| 0.25 | 20.0 ± 14.1 |")
    assert first.endswith("| 0.20 ± 0.14 |")
    assert second.startswith("| 1 | 20.0 |")


def test_a_flat_table_has_a_row_for_each_cell_of_two_dimensions(experiments):
    cells = {"left_skew x neither": runs(0.1), "uniform x balanced, OHPM": runs(0.3)}
    header, _, *rows = experiments.grid_tables("4.1", cells).splitlines()
    assert header.startswith("| IoUs of generated positives | AP | AP50 |")
    assert [row.split(" | ")[:2] for row in rows] == [
        ["| left skew", "10.0"],
        ["| uniform, balanced, OHPM", "30.0"],
    ]


def test_a_cell_that_the_thesis_has_not_is_a_dash(experiments):
    cells = {"focal x ATSS": runs(0.1), "focal x PAA": runs(0.2), "AP x ATSS": runs(0.3)}
    first = experiments.grid_tables("8.4", cells).split("\n\n")[0].splitlines()
    assert first[0] == "| AP: loss | ATSS | PAA |"
    assert first[2:] == ["| focal | 10.0 | 20.0 |", "| AP | 30.0 | - |"]


def test_higher_ious_are_measured_where_they_are_trained(experiments):
    def at(value):
        by_iou = [{"tau": tau, "AP": value * tau, "oLRP": 1 - value} for tau in (0.5, 0.6)]
        return [{"boxes": {"AP": value / 2, "by_iou": by_iou}}]

    cells = {"0.5 x RPN": at(0.4), "0.5 x generated": at(0.2), "0.6 x RPN": at(0.6),
             "0.6 x generated": at(0.8)}  # fmt: skip
    header, _, *rows = experiments.grid_tables("4.4", cells).splitlines()
    assert header == (
        "| IoU of a positive | AP, RPN | AP, generated | AP at it, RPN | AP at it, generated "
        "| oLRP at it, RPN | oLRP at it, generated |"
    )
    assert rows == [
        "| 0.5 | 20.0 | 10.0 | 20.0 | 10.0 | 60.0 | 80.0 |",
        "| 0.6 | 30.0 | 40.0 | 36.0 | 48.0 | 40.0 | 20.0 |",
    ]
