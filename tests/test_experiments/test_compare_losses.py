"""The grid of losses on a made-up folder: resumed, shared between seeds, tables and pictures."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from crack_folder import make_folder
from PIL import Image

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "experiments"))
import compare_losses
from compare_losses_options import AUGMENTATION_NAMES
from crack_losses import LOSSES, PUBLISHED, WITH_MARGIN, select
from mmengine.registry import init_default_scope
from mmseg.registry import MODELS

SMALL = ["--iters", "2", "--batch", "2", "--size", "32", "--channels", "4", "--workers", "0"]


@pytest.fixture(autouse=True)
def scope():
    yield
    init_default_scope("mmdet")


def test_the_help_waits_for_nothing():
    assert tuple(compare_losses.AUGMENTATIONS) == AUGMENTATION_NAMES
    tool = Path(__file__).resolve().parents[2] / "tools" / "compare_losses.py"
    code = (
        "import runpy, sys\n"
        f"sys.argv = [{str(tool)!r}, '--help']\n"
        "try:\n"
        f"    runpy.run_path({str(tool)!r}, run_name='__main__')\n"
        "except SystemExit as end:\n"
        "    assert end.code == 0 and 'torch' not in sys.modules\n"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "--margins-of" in run.stdout


def test_grid(tmp_path, capsys):
    data, out = make_folder(tmp_path / "data", number=8), tmp_path / "out"
    arguments = [str(data), "--out", str(out), *SMALL, "--margins", "0.5", "--losses", "hf", "hfm"]
    assert compare_losses.main([*arguments, "--seeds", "0"]) == 0
    runs = sorted((out / "runs").glob("*.json"))
    assert [path.name for path in runs] == ["hf_0.json", "hfm-0.5_0.json"]
    before = [path.stat().st_mtime_ns for path in runs]
    assert compare_losses.main([*arguments, "--seeds", "0", "1", "--published", "DeepCrack"]) == 0
    assert [path.stat().st_mtime_ns for path in runs] == before  # not repeated
    assert len(list((out / "runs").glob("*.json"))) == 4
    run = json.loads(runs[0].read_text())
    assert run["images"] == [6, 2]
    assert 0 <= run["IoU"] <= run["F1"] <= 1
    assert run["chosen_IoU"] >= 0
    rows = (out / "table.md").read_text().splitlines()
    assert rows[-2].startswith("| Hybrid focal | 2 |")
    assert rows[-2].endswith("| 69.32 |")
    assert rows[-1].startswith("| Hybrid focal margin 0.5 | 2 |")
    assert rows[-1].endswith("| 69.75 |")
    for name in ("losses.png", "pictures.png"):
        with Image.open(out / name) as picture:
            assert min(picture.size) > 100
    capsys.readouterr()
    # Neither trainings nor scaled images of other settings or data are taken for these.
    other = make_folder(tmp_path / "other", number=4)
    for changed in ([*arguments, "--iters", "3"], [str(other), *arguments[1:]]):
        assert compare_losses.main(changed) == 1
        assert "give another --out, or delete that one" in capsys.readouterr().err
    shared = ["--out", str(tmp_path / "new"), "--scaled", str(out)]
    assert compare_losses.main([*arguments, *shared, "--threshold", "0.25"]) == 1
    assert "'threshold': 0.5" in capsys.readouterr().err
    assert compare_losses.main([str(tmp_path / "nowhere"), *arguments[1:]]) == 1
    assert "nowhere" in capsys.readouterr().err
    assert compare_losses.main(["--margins-of", str(out), "--out", str(tmp_path / "m")]) == 0
    assert "out (" in capsys.readouterr().out
    share, gains = json.loads((tmp_path / "m" / "margins.json").read_text())["out"]
    assert share == run["foreground"]
    assert len(gains["0.5"]) == 2
    for run_file in (out / "runs").glob("hf_*.json"):
        run_file.unlink()
    assert compare_losses.main(["--margins-of", str(out), "--out", str(tmp_path / "m")]) == 1
    assert "Expected trainings with hf and hfm of the same seed" in capsys.readouterr().err


def test_the_threshold_is_chosen_on_the_images_of_training(tmp_path, monkeypatch):
    """There all foreground, a quarter of the pixels, scores 0.3, in validation 0.7."""

    def made_up(model, data, split, *_, **__):
        mask = np.zeros((32, 32), dtype=np.uint8)
        mask[:16, :16] = 1
        low, high = {"train": (0.1, 0.3), "val": (0.4, 0.7)}[split]
        for number in range({"train": 6, "val": 2}[split]):
            yield f"{number}.png", mask, np.where(mask, high, low).astype(np.float32)

    monkeypatch.setattr(compare_losses, "predictions", made_up)
    data, out = make_folder(tmp_path / "data", number=8), tmp_path / "out"
    arguments = [str(data), "--out", str(out), *SMALL, "--losses", "hf", "--seeds", "0"]
    assert compare_losses.main(arguments) == 0
    run = json.loads((out / "runs" / "hf_0.json").read_text())
    assert run["images"] == [6, 2]
    # Thresholds are edges of bins, 1 / 128 wide on the scale of logits.
    assert run["chosen_threshold"] == pytest.approx(0.3, abs=0.002)
    assert run["ODS_threshold"] == pytest.approx(0.7, abs=0.002)
    # From 0.3 on every pixel of validation counts as foreground.
    figures = {key: run[f"chosen_{key}"] for key in ("IoU", "F1", "precision", "recall")}
    assert figures == {"IoU": 0.25, "F1": 0.4, "precision": 0.25, "recall": 1}
    assert run["IoU"] == run["F1"] == run["ODS"] == 1


def test_every_loss_of_the_grid_builds():
    init_default_scope("mmseg")
    chosen = select(None, [0.5, 1.0])
    assert len(chosen) == len(LOSSES) + 2 * len(WITH_MARGIN)
    for _, config in chosen.values():
        for part in config if isinstance(config, list) else [config]:
            MODELS.build(part)
    for figures in PUBLISHED.values():
        assert set(figures) <= set(select(None, [0.5, 1.0, 1.5]))
        for iou, f1, recall, precision in figures.values():
            # F1 and IoU follow from one another up to rounding and the mean over ten trainings.
            assert 200 * iou / (100 + iou) == pytest.approx(f1, abs=0.25)
            assert 2 * recall * precision / (recall + precision) == pytest.approx(f1, abs=0.65)


def test_crops_are_from_the_middle(tmp_path):
    make_folder(tmp_path / "data", number=2, size=(40, 60))
    for name in ("images/0.jpg", "masks/0.png"):
        Image.new("L", (60, 40), 255).save(tmp_path / "data" / name)
    mask = np.zeros((40, 60), dtype=np.uint8)
    mask[5:35, 15:45] = 255
    Image.fromarray(mask).save(tmp_path / "data" / "masks" / "0.png")
    arguments = [str(tmp_path / "data"), "--out", str(tmp_path / "out"), "--size", "15"]
    args = compare_losses.make_parser().parse_args([*arguments, "--crop", "30"])
    pairs = compare_losses.find_images(args)
    origin = compare_losses.source(args, pairs)
    scaled = compare_losses.scaled_data(args, pairs, origin)
    assert np.asarray(Image.open(scaled / "masks" / "00000.png")).min() == 255
    assert compare_losses.middle(mask, 100).shape == (40, 60)
    # Other masks in the same places are other data.
    Image.fromarray(mask[::-1]).save(tmp_path / "data" / "masks" / "0.png")
    assert compare_losses.source(args, pairs) == origin
    Image.fromarray(255 - mask).save(tmp_path / "data" / "masks" / "0.png")
    assert compare_losses.source(args, pairs) != origin


def test_mistakes(tmp_path, capsys):
    assert compare_losses.main([str(tmp_path), "--out", str(tmp_path), "--losses", "mse"]) == 1
    assert "Expected losses among bce" in capsys.readouterr().err
    assert compare_losses.main([str(tmp_path), "--out", str(tmp_path)]) == 1
    assert "Expected a folder of images" in capsys.readouterr().err
