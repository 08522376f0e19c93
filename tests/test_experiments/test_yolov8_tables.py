"""Tables of YOLOv8n by each loss, from results of runs."""

import json

import yolov8_tables


def write_run(folder, prefix, seed, shift):
    classes = {
        name: dict(AP=value + shift, recall=value - shift)
        for name, value in (("cell", 0.5), ("disc", 0.25))
    }
    figures = dict.fromkeys(yolov8_tables.MEANS, 0.4 + shift) | dict(per_class=classes, oLRP=None)
    path = folder / f"{prefix}{seed}"
    path.mkdir()
    result = dict(config=f"{prefix}{yolov8_tables.ENDING}", seed=seed, test=dict(boxes=figures))
    (path / "result.json").write_text(json.dumps(result))
    return path


def test_tables(tmp_path, capsys):
    folders = [
        write_run(tmp_path, prefix, seed, shift + 0.02 * seed)
        for prefix, shift in (("rs-", 0.1), ("", 0.0))
        for seed in (0, 1)
    ]
    (tmp_path / "unfinished").mkdir()
    results = tmp_path / "results.json"
    arguments = [*map(str, folders), str(tmp_path / "unfinished"), "--results", str(results)]
    assert yolov8_tables.main(arguments) == 0
    rows = [
        [cell.strip() for cell in line.strip("|").split("|")]
        for line in capsys.readouterr().out.splitlines()
        if line
    ]
    assert rows[0] == ["loss", "runs", *yolov8_tables.MEANS]
    assert rows[2][:3] == ["binary cross entropy", "2", "41.0 \u00b1 1.4"]
    assert rows[3][:3] == ["RS Loss", "2", "51.0 \u00b1 1.4"]
    assert rows[3][-1] == "-"
    assert rows[4] == ["loss", "AP, cell", "recall, cell", "AP, disc", "recall, disc"]
    assert [cell[:4] for cell in rows[6][1:]] == ["51.0", "49.0", "26.0", "24.0"]
    # Again from what was gathered.
    assert yolov8_tables.main(["--results", str(results)]) == 0


def test_no_results(tmp_path, capsys):
    assert yolov8_tables.main(["--results", str(tmp_path / "none.json")]) == 1
    assert "does not exist; name folders of runs" in capsys.readouterr().err
    assert yolov8_tables.main([str(tmp_path), "--results", str(tmp_path / "none.json")]) == 1
    assert "but got none" in capsys.readouterr().err
