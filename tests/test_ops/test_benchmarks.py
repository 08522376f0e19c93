"""The benchmarks run, their peers compute what they claim, and their figures add up."""

import json
import sys
from pathlib import Path

import pytest
import torch

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"


@pytest.fixture(scope="module")
def benchmarks():
    sys.path.insert(0, str(BENCHMARKS))
    try:
        import gpu_report
        import ranking_losses
    finally:
        sys.path.remove(str(BENCHMARKS))
    return {"gpu_report": gpu_report, "ranking_losses": ranking_losses}


@pytest.fixture(scope="module")
def report(benchmarks, tmp_path_factory):
    out = tmp_path_factory.mktemp("report") / "report.json"
    arguments = ["--device", "cpu", "--preset", "tiny", "--seconds", "0.02", "--size", "3000"]
    assert benchmarks["gpu_report"].main([*arguments, "--no-memory", "--out", str(out)]) == 0
    return json.loads(out.read_text())


def test_exact_losses_agree_and_buckets_do_not(report):
    (result,) = report["results"]
    errors = {name: row["gradient_error"] for name, row in result["rows"].items()}
    assert errors["ours"] < 1e-6
    assert errors["loop"] < 1e-5
    assert errors["dense"] < 1e-5
    assert 1e-3 < errors["bucketed"] < 1
    assert errors["bucketed, filtered"] == pytest.approx(errors["bucketed"], rel=1e-3)
    assert errors["focal"] is None


def test_checks_hold(report):
    assert all(row["ok"] for row in report["correctness"].values())
    assert len(report["correctness"]) >= 10
    assert all(row["deterministic"] for row in report["behaviour"].values())
    assert all(goal["met"] is None for goal in report["goals"])


def test_machine_and_versions_are_named(report):
    assert {"command", "commit", "date", "machine", "versions"} <= set(report)
    assert report["versions"]["torch"]
    assert report["machine"]["cores"] >= 1
    row = report["results"][0]["rows"]["ours"]
    assert row["wall_s"]["min"] <= row["wall_s"]["median"]
    assert row["times_ours"] == 1


def test_peak_memory(benchmarks, capsys):
    arguments = ["--memory-of", "ours", "--preset", "tiny", "--only", "tiny", "mixed"]
    assert benchmarks["ranking_losses"].main(arguments) == 0
    peak = json.loads(capsys.readouterr().out)
    assert peak is None or 0 <= peak < 50e6


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device")
@pytest.mark.parametrize("script", ["gpu_report", "ranking_losses"])
def test_missing_device_is_one_line(benchmarks, script, capsys):
    assert benchmarks[script].main(["--device", "cuda", "--out", "unused.json"]) == 1
    assert capsys.readouterr().err == "No CUDA device is available; use --device cpu.\n"
