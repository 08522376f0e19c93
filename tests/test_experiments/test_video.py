"""experiments/video.py: three ways of video detection from one detector's results."""

import json
from pathlib import Path

import numpy as np
import pytest
import video
from mmengine.config import Config

from mmdet_rank.cli.errors import UserError
from mmdet_rank.datasets.digits.build import build_digits
from mmdet_rank.datasets.digits.options import DigitsOptions

CONFIG = Path(__file__).parents[2] / "configs" / "digits" / "rs-atss_r18_fpn_digits.py"


def truth_of(folder):
    return json.loads((Path(folder) / "annotations" / "instances_val.json").read_text())


def detections_of(truth, missed=0.2, false=0.2):
    """Objects with scores between 0.3 and 0.6, some missed, and false ones of scores as high."""
    rng = np.random.default_rng(0)
    found = []
    for annotation in truth["annotations"]:
        each = {key: annotation[key] for key in ("image_id", "category_id", "bbox")}
        if rng.random() >= missed:
            found.append(each | {"score": rng.uniform(0.35, 0.6)})
        if rng.random() < false:
            place = [*rng.uniform(0, 40, 2).tolist(), 20.0, 20.0]
            found.append(each | {"bbox": place, "score": rng.uniform(0.2, 0.5)})
    return found


def pretend_to_test(command, log):
    """Leave what mmdet-rank test would: the config with its options, and detections."""
    folder = Path(command[command.index("--work-dir") + 1])
    pairs = dict(text.split("=", 1) for text in command[command.index("--cfg-options") + 1 :])
    cfg = Config.fromfile(command[4])
    cfg.merge_from_dict({key: value for key, value in pairs.items() if key.startswith("test_")})
    folder.mkdir(parents=True)
    cfg.dump(folder / CONFIG.name)
    found = detections_of(json.loads(Path(cfg.test_evaluator.ann_file).read_text()))
    Path(f"{cfg.test_evaluator.outfile_prefix}.bbox.json").write_text(json.dumps(found))


def test_three_ways_end_to_end(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(video, "run_quietly", pretend_to_test)
    build_digits(tmp_path / "stills", DigitsOptions(train=1, val=30, size=96), progress=False)
    (tmp_path / "epoch_1.pth").write_bytes(b"")
    arguments = [str(CONFIG), str(tmp_path / "epoch_1.pth"), "--data", str(tmp_path / "stills"),
                 "--out", str(tmp_path / "out"), "--num-clips", "3", "--frames", "6",
                 "--size", "96"]  # fmt: skip
    assert video.main(arguments) == 0
    text = capsys.readouterr().out
    assert (tmp_path / "out" / "video.md").read_text() in text
    figures = json.loads((tmp_path / "out" / "video.json").read_text())
    ways = figures["ways"]
    assert list(ways) == [
        *("B", "G, not linked", "G", "G, classes alone"),
        *("S, not linked", "S", "S, classes alone"),
    ]
    assert len(figures["thresholds"]) == 10
    assert all(0.2 < threshold < 0.6 for threshold in figures["thresholds"].values())
    # Half of the right scores are below 0.5, few below the class's threshold.
    assert ways["B"]["AP50"] > ways["S"]["AP50"] > ways["G"]["AP50"]
    assert ways["S"]["oLRP_FN"] < ways["G"]["oLRP_FN"]
    # Thresholds take detections away, and the least LRP Error is at one of them or above it.
    assert ways["B"]["AP50"] > ways["S, not linked"]["AP50"] > ways["G, not linked"]["AP50"]
    assert ways["B"]["oLRP"] <= ways["S, not linked"]["oLRP"] < ways["G, not linked"]["oLRP"]
    (row,) = [line for line in text.splitlines() if line.startswith("| S |")]
    assert row.split(" | ")[1:3] == [f"{100 * ways['S'][key]:.1f}" for key in ("AP", "AP50")]
    assert (tmp_path / "out" / "pr.png").read_bytes().startswith(b"\x89PNG")
    # Nothing is detected twice, and other settings do not mix with these.
    monkeypatch.setattr(video, "run_quietly", None)
    assert video.main(arguments) == 0
    assert capsys.readouterr().out.endswith(text[text.index("|  | AP") :])
    assert video.main([*arguments[:-1], "128"]) == 1
    assert "another --work-dir" in capsys.readouterr().err
    (tmp_path / "epoch_1.pth").write_bytes(b"of a training made anew")
    assert video.main(arguments) == 1
    assert "epoch_1.pth, sha256 5df6e0e27613'" in capsys.readouterr().err
    (tmp_path / "epoch_1.pth").write_bytes(b"")
    # A general threshold that no score reaches leaves nothing to find.
    assert video.main([*arguments, "--general", "0.9"]) == 0
    assert "| G | 0.0 | 0.0 | 100.0 | - | - | - |" in capsys.readouterr().out


def test_rescored_are_the_frames_of_a_clip_in_their_order(tmp_path):
    build_digits(tmp_path, DigitsOptions(train=1, val=2, size=96, frames=4), progress=False)
    truth = truth_of(tmp_path)
    perfect = [
        {key: a[key] for key in ("image_id", "category_id", "bbox")} | {"score": 0.75}
        for a in truth["annotations"]
    ]
    rescored = video.rescore(truth, perfect, 0.5, background=True)
    assert [d["bbox"] for d in rescored] == [a["bbox"] for a in truth["annotations"]]
    frames = {image["id"]: image["frame_id"] for image in truth["images"]}
    by_frame = {0: [], 3: []}
    for detection in rescored:
        by_frame.get(frames[detection["image_id"]], []).append(detection["score"])
    # In the first frame of each clip nothing is linked; 3 links make 0.75^4 of 0.75^4 + 0.25^4,
    # less what the tracker leaves to each of 11 classes, 1e-4.
    assert set(by_frame[0]) == {0.75}
    assert max(by_frame[3]) == pytest.approx(81 / 82 - 11e-4, abs=2e-4)
    # The order in the file does not matter.
    shuffled = truth | {"images": truth["images"][::-1]}
    assert video.rescore(shuffled, perfect[::-1], 0.5, background=True)[0]["image_id"] == 1
    assert len(video.rescore(shuffled, perfect[::-1], 0.5, background=True)) == len(rescored)
    assert video.rescore(truth, [], 0.5, background=True) == []


def test_mistakes(tmp_path, capsys):
    assert video.main([str(CONFIG), str(tmp_path / "no.pth"), "--out", str(tmp_path)]) == 1
    assert "no.pth does not exist" in capsys.readouterr().err
    build_digits(tmp_path / "stills", DigitsOptions(train=1, val=1, size=64), progress=False)
    with pytest.raises(UserError, match="Expected frames of clips"):
        video.rescore(truth_of(tmp_path / "stills"), [], 0.5, background=True)
    (tmp_path / "a.pth").write_bytes(b"")
    arguments = [str(CONFIG), str(tmp_path / "a.pth"), "--out", str(tmp_path / "out")]
    assert video.main([*arguments, "--clips", "nowhere"]) == 1
    message = "for --clips, but nowhere/manifest.json does not exist"
    assert message in capsys.readouterr().err
    assert video.main([*arguments, "--frames", "0"]) == 1
    assert "Expected frames to be at least 1, but got 0" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
