"""Checkpoints of the published implementations, converted for every detector."""

import io
from pathlib import Path

import old_checkpoints
import pytest
import torch
from commands import convert as main
from mmengine.config import Config
from mmengine.runner import load_checkpoint

from configs import build_model, predict
from mmdet_rank.cli import convert_checkpoint
from mmdet_rank.convert import ConversionError, convert_state_dict

SAME = ["backbone.layer3.0.conv2.weight", "backbone.bn1.num_batches_tracked"]
BOX = "roi_head.bbox_head"
SOLO = "mask_head.mask_feature_head"
FOVEA = [
    (f"bbox_head.fovea_{old}", f"bbox_head.conv_{old}")
    for old in ("cls.weight", "cls.bias", "reg.weight", "reg.bias")
]
# Config, old names and shapes, and pairs of an old name and its new one.
DETECTORS = {
    "rs-atss": (
        "rank_sort/rs-atss_r50_fpn_4xb4-1x_coco.py",
        old_checkpoints.atss,
        [(name, name) for name in ("bbox_head.atss_cls.weight", "bbox_head.scales.4.scale")],
    ),
    "rs-paa": (
        "rank_sort/rs-paa_r50_fpn_4xb4-1x_coco.py",
        old_checkpoints.atss,
        [(name, name) for name in ("bbox_head.atss_reg.bias", "bbox_head.cls_convs.3.gn.weight")],
    ),
    "rs-faster-rcnn": (
        "rank_sort/rs-faster-rcnn_r50_fpn_4xb4-1x_coco.py",
        old_checkpoints.faster_rcnn,
        [(name, name) for name in ("rpn_head.rpn_reg.weight", f"{BOX}.fc_cls.weight")],
    ),
    "rs-faster-rcnn+": (
        "rank_sort/rs-faster-rcnn_r50_fpn-carafe_4xb4-1x_coco.py",
        old_checkpoints.carafe_rcnn,
        [(name, name) for name in ("neck.upsample_modules.2.content_encoder.weight",)],
    ),
    "rs-cascade-rcnn": (
        "rank_sort/rs-cascade-rcnn_r50_fpn_4xb4-1x_coco.py",
        old_checkpoints.cascade_rcnn,
        [(name, name) for name in (f"{BOX}.0.fc_reg.weight", f"{BOX}.2.shared_fcs.1.bias")],
    ),
    "rs-mask-rcnn": (
        "rank_sort/rs-mask-rcnn_r50_fpn_4xb4-1x_coco.py",
        old_checkpoints.mask_rcnn,
        [(name, name) for name in ("roi_head.mask_head.upsample.weight",)],
    ),
    "rs-yolact": (
        "rank_sort/rs-yolact_r50_4xb8-55e_coco.py",
        old_checkpoints.yolact,
        [(name, name) for name in ("bbox_head.conv_coeff.bias", "mask_head.protonet.10.weight")],
    ),
    "rs-solov2": (
        "rank_sort/rs-solov2-light_r34_fpn_4xb8-ms-3x_coco.py",
        old_checkpoints.solov2,
        [
            ("bbox_head.cate_convs.1.gn.weight", "mask_head.cls_convs.1.gn.weight"),
            ("bbox_head.kernel_convs.0.conv.weight", "mask_head.kernel_convs.0.conv.weight"),
            ("bbox_head.solo_cate.bias", "mask_head.conv_cls.bias"),
            ("bbox_head.solo_kernel.weight", "mask_head.conv_kernel.weight"),
            ("mask_feat_head.convs_all_levels.3.conv0.conv.weight",
             f"{SOLO}.convs_all_levels.3.conv0.conv.weight"),
            ("mask_feat_head.conv_pred.0.gn.bias", f"{SOLO}.conv_pred.gn.bias"),
        ],
    ),
    "rs-faster-rcnn+-dcn": (
        "rank_sort/rs-faster-rcnn_r101-dcn_fpn-carafe_4xb4-ms-480-960-3x_coco.py",
        lambda: old_checkpoints.carafe_rcnn(depth=101, dcn=True),
        [(name, name) for name in ("backbone.layer3.22.conv2.conv_offset.bias",)],
    ),
    "alrp-faster-rcnn": (
        "alrp/alrp-faster-rcnn_r50_fpn_4xb8-ssd-500-100e_coco.py",
        old_checkpoints.faster_rcnn,
        [(name, name) for name in ("rpn_head.rpn_cls.bias", f"{BOX}.fc_cls.weight")],
    ),
    "alrp-foveabox": (
        "alrp/alrp-foveabox_r50_fpn_4xb8-ssd-500-100e_coco.py",
        old_checkpoints.fovea,
        FOVEA,
    ),
    "ap-foveabox": (
        "ap_loss/ap-foveabox_r50_fpn_4xb8-ssd-500-100e_coco.py",
        old_checkpoints.fovea,
        FOVEA,
    ),
    "ap-retinanet": (
        "ap_loss/ap-retinanet_r50_fpn_4xb8-ssd-500-100e_coco.py",
        lambda: old_checkpoints.retinanet(anchors=6),
        [(name, name) for name in ("bbox_head.retina_cls.bias",)],
    ),
    "alrp-retinanet": (
        "alrp/alrp-retinanet_r50_fpn_iou-assign_4xb8-ssd-500-100e_coco.py",
        lambda: old_checkpoints.retinanet(anchors=6),
        [(name, name) for name in ("bbox_head.retina_cls.weight",)],
    ),
    "alrp-retinanet-atss": (
        "alrp/alrp-retinanet_r50_fpn_atss-assign_4xb8-ssd-500-100e_coco.py",
        lambda: old_checkpoints.retinanet(anchors=2),
        [(name, name) for name in ("bbox_head.retina_reg.bias",)],
    ),
}  # fmt: skip


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("checkpoints")


def prepare(folder, detector):
    """Files of a small config and of a small old checkpoint, and the checkpoint."""
    name, shapes, _ = DETECTORS[detector]
    config, old = folder / f"{detector}.py", folder / f"{detector}.pth"
    old_checkpoints.small_config(name).dump(config)
    checkpoint = old_checkpoints.checkpoint(shapes())
    torch.save(checkpoint, old)
    return config, old, checkpoint["state_dict"]


def fails(capsys, *arguments):
    capsys.readouterr()
    assert main([str(argument) for argument in arguments]) == 1
    error = capsys.readouterr().err
    assert error.startswith("error: ")
    assert "Traceback" not in error
    return error


@pytest.mark.parametrize("detector", DETECTORS)
def test_every_detector(folder, capsys, detector):
    config, old, old_weights = prepare(folder, detector)
    new = folder / "converted" / f"{detector}.pth"
    assert main([str(config), str(old), str(new)]) == 0
    said = capsys.readouterr().out
    converted = torch.load(new, weights_only=True)
    weights = converted["state_dict"]
    balance = [name for name in weights if "balance" in name]
    # One self-balance of three buffers in each head that aLRP Loss trains.
    heads = 2 if "rcnn" in detector else 1
    assert len(balance) == (3 * heads if detector.startswith("alrp") else 0)
    assert ("self-balance factor" in said) == bool(balance)
    assert len(weights) - len(balance) == len(old_weights)
    pairs = [(name, name) for name in SAME] + DETECTORS[detector][2]
    for old_name, new_name in pairs:
        assert torch.equal(weights[new_name], old_weights[old_name])
    # Every old tensor is somewhere, once: the values are all different.
    sums = sorted(float(value.double().sum()) for value in old_weights.values())
    assert sums == sorted(
        float(value.double().sum()) for name, value in weights.items() if name not in balance
    )
    assert converted["meta"]["dataset_meta"] == {"classes": old_checkpoints.CLASSES}
    assert "optimizer" not in converted
    model = build_model(Config.fromfile(config))
    load_checkpoint(model, str(new), strict=True)
    (sample,) = predict(model, size=192)
    assert sample.pred_instances.scores.isfinite().all()


def test_auxiliary_branches_are_left_out_and_named(folder, capsys):
    config, _, _ = prepare(folder, "rs-yolact")
    old = folder / "with_segmentation.pth"
    torch.save(old_checkpoints.checkpoint(old_checkpoints.yolact_with_segmentation()), old)
    assert main([str(config), str(old), str(folder / "without.pth")]) == 0
    said = capsys.readouterr().out
    assert "left out 2 tensors of YOLACT's semantic segmentation branch" in said


def test_names_of_data_parallel_training_and_old_offsets():
    model = torch.nn.Module()
    model.backbone = torch.nn.Module()
    model.backbone.conv2 = torch.nn.Module()
    model.backbone.conv2.conv_offset = torch.nn.Conv2d(2, 3, 1)
    old = {
        "module.backbone.conv2_offset.weight": torch.ones(3, 2, 1, 1),
        "module.backbone.conv2_offset.bias": torch.zeros(3),
    }
    converted = convert_state_dict(old, model)
    assert list(converted.state_dict) == [
        "backbone.conv2.conv_offset.weight",
        "backbone.conv2.conv_offset.bias",
    ]


def test_two_tensors_of_one_name():
    model = torch.nn.Module()
    model.head = torch.nn.Linear(1, 1)
    old = {"head.weight": torch.ones(1, 1), "module.head.weight": torch.ones(1, 1)}
    with pytest.raises(ConversionError, match="Expected one tensor"):
        convert_state_dict(old, model)


class TestMistakes:
    def test_another_detector(self, folder, capsys):
        config, _, _ = prepare(folder, "rs-atss")
        _, old, _ = prepare(folder, "alrp-retinanet")
        new = folder / "none.pth"
        error = fails(capsys, config, old, new)
        assert "missing in the checkpoint: bbox_head.cls_convs.0.gn.weight" in error
        assert "unknown to the model: bbox_head.cls_convs.0.conv.bias" in error
        assert not new.exists()

    def test_another_number_of_classes(self, folder, capsys):
        config, old, _ = prepare(folder, "rs-atss")
        new = folder / "none.pth"
        error = fails(capsys, config, old, new, "--cfg-options", "model.bbox_head.num_classes=5")
        assert "bbox_head.atss_cls.weight (9, 32, 3, 3) instead of (15, 32, 3, 3)" in error
        assert "num_classes" in error
        assert not new.exists()

    def test_more_than_weights(self, folder, capsys):
        config, old, _ = prepare(folder, "rs-atss")
        checkpoint = torch.load(old, weights_only=True)
        checkpoint["meta"]["hook"] = Path("somewhere")
        for name, new_format in (("more.pth", True), ("old_more.pth", False)):
            more = folder / name
            torch.save(checkpoint, more, _use_new_zipfile_serialization=new_format)
            error = fails(capsys, config, more, folder / "none.pth")
            assert "holds more" in error
            assert "--trust-checkpoint" in error
            new = folder / "trusted.pth"
            assert main([str(config), str(more), str(new), "--trust-checkpoint"]) == 0
            assert torch.load(new, weights_only=True)["meta"]["old_epoch"] == 12

    def test_files_of_torch_before_1_6(self, folder):
        config, old, weights = prepare(folder, "rs-atss")
        torch.save(torch.load(old), folder / "old.pth", _use_new_zipfile_serialization=False)
        new = folder / "from_old.pth"
        assert main([str(config), str(folder / "old.pth"), str(new)]) == 0
        converted = torch.load(new, weights_only=True)["state_dict"]
        assert torch.equal(converted["backbone.conv1.weight"], weights["backbone.conv1.weight"])

    def test_files_that_are_no_checkpoints(self, folder, capsys):
        config, old, _ = prepare(folder, "rs-atss")
        assert "does not exist" in fails(capsys, config, folder / "no.pth", folder / "n.pth")
        assert "does not exist" in fails(capsys, folder / "no.py", old, folder / "n.pth")
        broken = folder / "broken.pth"
        broken.write_bytes(old.read_bytes()[:1000])
        assert "not whole" in fails(capsys, config, broken, folder / "n.pth")
        numbers = folder / "numbers.pth"
        torch.save({"state_dict": {"epoch": 3}}, numbers)
        assert "state_dict" in fails(capsys, config, numbers, folder / "n.pth")
        assert "name a new one" in fails(capsys, config, old, old)
        assert "is a folder" in fails(capsys, config, old, folder)
        assert not (folder / "n.pth").exists()

    def test_nothing_is_left_when_writing_fails(self, folder, capsys, monkeypatch):
        config, old, _ = prepare(folder, "rs-atss")

        def full_disk(content, path):
            buffer = io.BytesIO(b"half of a checkpoint")
            Path(path).write_bytes(buffer.getvalue())
            raise OSError(28, "No space left on device")

        config_bytes, target = config.read_bytes(), folder / "disk" / "new.pth"
        monkeypatch.setattr(torch, "save", full_disk)
        assert "No space left" in fails(capsys, config, old, target)
        assert list(target.parent.iterdir()) == []
        assert config.read_bytes() == config_bytes


@pytest.mark.parametrize(
    "meta",
    [
        {"dataset_meta": {"classes": ["a", "b"]}},
        {"dataset_meta": {"CLASSES": ("a", "b")}},
        {"CLASSES": ("a", "b")},
    ],
)
def test_class_names_of_every_version_are_kept(meta):
    converted = convert_checkpoint._checkpoint(torch.nn.Linear(1, 1), {"meta": meta}, "old.pth")
    assert converted["meta"]["dataset_meta"] == {"classes": ("a", "b")}
