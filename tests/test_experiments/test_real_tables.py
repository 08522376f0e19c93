"""The tables of the runs on real data are made from the files of the runs."""

import json

import pytest
import real_tables
from runs import FIGURES


def test_documents_show_the_figures_of_the_runs():
    for document, tables in real_tables.blocks().items():
        text = document.read_text()
        for name, table in tables.items():
            assert f"<!-- begin {name} -->\n{table}\n<!-- end {name} -->" in text


def run(config, seed, value, iterations=160):
    per_class = {"a": {"AP": value, "oLRP": 1 - value}, "b": {"AP": 0.5, "oLRP": None}}
    part = dict.fromkeys((*FIGURES, "correlation"), value) | {"per_class": per_class}
    curve = [{"iteration": 5, "boxes AP": value / 2}, {"iteration": 10, "boxes AP": value}]
    budget = {"iterations": iterations, "curve": curve}
    return {"config": config, "seed": seed, "test": {"boxes": part}} | budget


def test_runs_are_gathered_and_tabled(tmp_path, monkeypatch):
    monkeypatch.setattr(real_tables, "RESULTS", tmp_path)

    def add(name, result):
        (tmp_path / name).mkdir()
        (tmp_path / name / "result.json").write_text(json.dumps(result))

    ranked, stock = "rs-atss_lite0_fpn_bccd", "atss_lite0_fpn_bccd"
    for number, (config, value) in enumerate([(stock, 0.4), (ranked, 0.3)] * 2):
        add(f"run{number}", run(config, number, value + 0.1 * (number > 1)))
    add("stock600", run(stock, 0, 0.6, 600))
    stems = real_tables.gather([*tmp_path.iterdir(), tmp_path / "nothing"])
    assert sorted(stems) == ["real_bccd_160", "real_bccd_600"]
    tables, short = real_tables.blocks().values()
    # A longer budget of fewer detectors does not take the other tables from the one of all.
    assert set(tables) == {
        *(f"real_bccd_160{part}" for part in ("", "_classes", "_curve")),
        *(f"real_bccd_600{part}" for part in ("", "_curve")),
    }
    assert tables["real_bccd_600"].splitlines()[2:] == [
        "| ATSS | MMDetection | boxes" + " | 60.0" * len(FIGURES) + " | 0.60 |"
    ]
    first, second = tables["real_bccd_160"].splitlines()[2:]
    assert first.startswith("| ATSS | RS Loss | boxes | 35.0 ± 7.1 |")
    assert second.startswith("| ATSS | MMDetection | boxes | 45.0 ± 7.1 |")
    assert short["real"].splitlines()[2].startswith("| ATSS | RS Loss | 35.0 ± 7.1 |")
    # Of budgets of as many detectors it is the longest.
    add("ranked600", run(ranked, 0, 0.7, 600))
    real_tables.gather([*tmp_path.iterdir()])
    longest, short = real_tables.blocks().values()
    assert set(longest) == {
        "real_bccd_160",
        *(f"real_bccd_600{part}" for part in ("", "_classes", "_curve")),
    }
    assert short["real"].splitlines()[3] == "| ATSS | MMDetection" + " | 60.0" * 4 + " |"
    (tmp_path / "real_bccd_600.json").unlink()
    tables, short = real_tables.blocks().values()
    assert "| AP, a | oLRP, a | AP, b | oLRP, b |" in tables["real_bccd_160_classes"]
    assert (
        tables["real_bccd_160_classes"]
        .splitlines()[3]
        .endswith("| 45.0 ± 7.1 | 55.0 ± 7.1 | 50.0 ± 0.0 | - |")
    )
    assert "| AP at 5 | AP at 10 |" in tables["real_bccd_160_curve"]
    assert short["real"].splitlines()[2].startswith("| ATSS | RS Loss | 35.0 ± 7.1 |")
    rules = {rule: dict.fromkeys(real_tables.JUDGED, 0.25) for rule in real_tables.RULES}
    table = real_tables.thresholds_table({"alrp-atss_lite0_fpn_bccd": [rules]})
    assert "| ATSS | aLRP Loss | F1-optimal | 25.0 | 25.0 | 25.0 | 25.0 |" in table


def test_curves_are_means_of_the_seeds_with_their_range():
    rows = {
        "atss_lite0_fpn_bccd": [
            run("atss_lite0_fpn_bccd", seed, 0.2 + 0.2 * seed) for seed in (0, 1)
        ],
        "retinanet_lite0_fpn_bccd": [run("retinanet_lite0_fpn_bccd", 0, 0.1)],
        "rs-atss_lite0_fpn_bccd": [run("rs-atss_lite0_fpn_bccd", 0, 0.5)],
    }
    figure = real_tables.draw_curves(rows)
    atss, retinanet = figure.axes
    assert [axes.get_title() for axes in figure.axes] == ["ATSS, boxes", "RetinaNet, boxes"]
    ranked, stock = (line.get_xydata().ravel().tolist() for line in atss.lines)
    assert ranked == pytest.approx([5, 25, 10, 50])
    assert stock == pytest.approx([5, 15, 10, 30])
    band = atss.collections[1].get_paths()[0].vertices
    assert {tuple(corner) for corner in band.round(6).tolist()} >= {
        (5, 10),
        (5, 20),
        (10, 20),
        (10, 40),
    }
    assert len(retinanet.lines) == 1
    (legend,) = figure.legends
    assert [text.get_text() for text in legend.get_texts()] == ["RS Loss", "MMDetection"]


def test_what_is_no_run_is_refused_and_nothing_is_written(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(real_tables, "fill", None)
    with pytest.raises(SystemExit) as ended:
        real_tables.main(["--help"])
    assert ended.value.code == 0
    assert real_tables.main([str(tmp_path / "mistyped")]) == 1
    assert "Expected result.json in" in capsys.readouterr().err
    monkeypatch.setattr(real_tables, "RESULTS", tmp_path)
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "result.json").write_text(json.dumps(run("atss_lite0_fpn_bccd", 3, 0.5)))
    assert real_tables.main([str(tmp_path / "a"), str(tmp_path / "b")]) == 1
    assert (
        "Expected each seed of atss_lite0_fpn_bccd once, but got [3, 3]" in capsys.readouterr().err
    )
    assert not (tmp_path / "real_bccd_160.json").exists()
