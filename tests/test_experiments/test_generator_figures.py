"""The figures of chapter 4, and the RoIs that they are drawn from."""

import generator_figures
import pytest
import torch
from rpn_rois import map_to_reference, rpn_rois
from torchvision.ops import box_iou

from configs import CONFIGS, build_model, load_config
from mmdet_rank.datasets.digits.build import build_digits
from mmdet_rank.datasets.digits.options import DigitsOptions

CONFIG = CONFIGS / "digits" / "faster-rcnn_r18_fpn_digits.py"


def test_figures_without_a_detector(tmp_path, capsys):
    assert generator_figures.main(["--out", str(tmp_path / "figures")]) == 0
    assert sorted(path.name for path in (tmp_path / "figures").iterdir()) == [
        "generated_box.png", "generated_boxes.png", "ious.png", "regions.png", "sampling.png",
    ]  # fmt: skip
    assert generator_figures.main(["--out", str(tmp_path), "--config", "x.py"]) == 1
    assert "Expected --config and --checkpoint together" in capsys.readouterr().err
    both = ["--config", "x.py", "--checkpoint", "y.pth"]
    assert generator_figures.main(["--out", str(tmp_path), *both]) == 1
    assert "but x.py does not exist" in capsys.readouterr().err


def test_shares_of_the_histogram():
    found = generator_figures.generated_ious(torch.Generator().manual_seed(0), 20_000)
    base = found["generated, base"]
    assert (base >= 0.5).all()
    # Thesis Fig. 4.5: nearly all of what is generated at 0.5 lies below 0.6.
    assert (base < 0.6).double().mean() == pytest.approx(0.899, abs=0.01)
    assert found["generated, right skew"].mean() > found["generated, left skew"].mean() + 0.05


def test_places_keep_their_iou():
    gen = torch.Generator().manual_seed(1)
    corner, size = torch.rand(2, 50, 2, generator=gen, dtype=torch.float64) * 40
    objects = torch.cat([corner, corner + 5 + size], 1)
    rois = objects + torch.randn(50, 4, generator=gen, dtype=torch.float64)
    mapped = map_to_reference(rois, objects)
    expected = box_iou(rois, objects).diagonal()
    torch.testing.assert_close(box_iou(mapped, generator_figures.REFERENCE)[:, 0], expected)


def test_positives_of_the_proposal_network(tmp_path):
    build_digits(tmp_path / "digits", DigitsOptions(train=4, val=1))
    torch.manual_seed(0)
    model = build_model(load_config(f"digits/{CONFIG.name}"))
    torch.save({"state_dict": model.state_dict()}, tmp_path / "weights.pth")
    (tmp_path / "own.py").write_text(
        f"_base_ = {str(CONFIG)!r}\n"
        f"train_dataloader = dict(dataset=dict(data_root={str(tmp_path / 'digits')!r}))\n"
    )
    found = rpn_rois(str(tmp_path / "own.py"), str(tmp_path / "weights.pth"), 3)
    assert len(found.anchor_ious) > 0
    assert (found.anchor_ious >= 0.5).all()
    assert len(found.ious) == len(found.mapped)
    # Each RoI lies about the one box as it lies about its own object.
    ious = box_iou(found.mapped, generator_figures.REFERENCE)[:, 0]
    torch.testing.assert_close(ious.float(), found.ious, rtol=1e-4, atol=1e-5)
