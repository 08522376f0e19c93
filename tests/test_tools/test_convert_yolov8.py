"""YOLOv8's tensors by the names of mmyolo and by numbered layers."""

import sys
import types

import pytest
import torch
from commands import convert as main

from configs import CONFIGS, build_model, load_config
from mmdet_rank.convert import ConversionError, convert_state_dict

DETECTION = "yolov8/yolov8_n_8xb16-500e_coco.py"
SEGMENTATION = "yolov8/yolov8-seg_n_8xb16-500e_coco.py"
# Some tensors of each part, numbered and as here.
PAIRS = {
    "model.0.conv.weight": "backbone.stem.conv.weight",
    "model.4.m.1.cv2.bn.bias": "backbone.stage2.1.blocks.1.conv2.bn.bias",
    "model.7.bn.running_var": "backbone.stage4.0.bn.running_var",
    "model.8.cv2.conv.weight": "backbone.stage4.1.final_conv.conv.weight",
    "model.9.cv1.conv.weight": "backbone.stage4.2.conv1.conv.weight",
    "model.9.cv2.bn.weight": "backbone.stage4.2.conv2.bn.weight",
    "model.12.cv1.conv.weight": "neck.top_down_layers.0.main_conv.conv.weight",
    "model.15.m.0.cv1.conv.weight": "neck.top_down_layers.1.blocks.0.conv1.conv.weight",
    "model.16.conv.weight": "neck.downsample_layers.0.conv.weight",
    "model.21.cv2.bn.weight": "neck.bottom_up_layers.1.final_conv.bn.weight",
    "model.22.cv2.1.2.bias": "bbox_head.head_module.reg_preds.1.2.bias",
    "model.22.cv3.2.0.conv.weight": "bbox_head.head_module.cls_preds.2.0.conv.weight",
    "model.22.cv4.0.2.weight": "bbox_head.coeff_preds.0.2.weight",
    "model.22.proto.cv1.conv.weight": "mask_head.protonet.0.conv.weight",
    "model.22.proto.upsample.bias": "mask_head.protonet.1.bias",
    "model.22.proto.cv3.bn.bias": "mask_head.protonet.3.bn.bias",
}


def conv(name, inp, out, size):
    """A convolution with normalisation."""
    yield f"{name}.conv.weight", (out, inp, size, size)
    for part in ("weight", "bias", "running_mean", "running_var"):
        yield f"{name}.bn.{part}", (out,)
    yield f"{name}.bn.num_batches_tracked", ()


def c2f(name, inp, out, blocks):
    yield from conv(f"{name}.cv1", inp, out, 1)
    yield from conv(f"{name}.cv2", (2 + blocks) * out // 2, out, 1)
    for block in range(blocks):
        for part in ("cv1", "cv2"):
            yield from conv(f"{name}.m.{block}.{part}", out // 2, out // 2, 3)


def branch(name, inp, mid, out):
    yield from conv(f"{name}.0", inp, mid, 3)
    yield from conv(f"{name}.1", mid, mid, 3)
    yield f"{name}.2.weight", (out, mid, 1, 1)
    yield f"{name}.2.bias", (out,)


def numbered(masks):
    """Names and shapes of YOLOv8-n for 80 classes, layer by layer."""
    widths = [3, 16, 32, 64, 128, 256]
    for stage in range(5):
        yield from conv(f"model.{max(2 * stage - 1, 0)}", widths[stage], widths[stage + 1], 3)
    for number, width, blocks in ((2, 32, 1), (4, 64, 2), (6, 128, 2), (8, 256, 1)):
        yield from c2f(f"model.{number}", width, width, blocks)
    yield from conv("model.9.cv1", 256, 128, 1)
    yield from conv("model.9.cv2", 512, 256, 1)
    for number, inp, out in ((12, 384, 128), (15, 192, 64), (18, 192, 128), (21, 384, 256)):
        yield from c2f(f"model.{number}", inp, out, 1)
    for number, width in ((16, 64), (19, 128)):
        yield from conv(f"model.{number}", width, width, 3)
    for level, width in enumerate((64, 128, 256)):
        yield from branch(f"model.22.cv2.{level}", width, 64, 64)
        yield from branch(f"model.22.cv3.{level}", width, 80, 80)
        if masks:
            yield from branch(f"model.22.cv4.{level}", width, 32, 32)
    yield "model.22.dfl.conv.weight", (1, 16, 1, 1)
    if masks:
        yield from conv("model.22.proto.cv1", 64, 64, 3)
        yield "model.22.proto.upsample.weight", (64, 64, 2, 2)
        yield "model.22.proto.upsample.bias", (64,)
        yield from conv("model.22.proto.cv2", 64, 64, 3)
        yield from conv("model.22.proto.cv3", 64, 32, 1)


def tensors(masks=False):
    gen = torch.Generator().manual_seed(0)
    return {name: torch.rand(shape, generator=gen) for name, shape in numbered(masks)}


@pytest.mark.parametrize("masks", [False, True])
def test_numbered_layers(masks):
    model = build_model(load_config(SEGMENTATION if masks else DETECTION))
    old = tensors(masks)
    conversion = convert_state_dict(old, model)
    assert dict(conversion.dropped) == {"stored distances of the bins": 1}
    assert not conversion.filled
    assert len(conversion.state_dict) == len(old) - 1
    for old_name, name in PAIRS.items():
        if old_name in old:
            assert torch.equal(conversion.state_dict[name], old[old_name])
    # Every tensor is somewhere, once: the values are all different.
    sums = sorted(value.sum().item() for name, value in old.items() if ".dfl." not in name)
    assert sums == sorted(value.sum().item() for value in conversion.state_dict.values())
    model.load_state_dict(conversion.state_dict, strict=True)


def test_names_of_mmyolo_are_those_of_here():
    model = build_model(load_config(DETECTION))
    old = {name: torch.rand(value.shape) for name, value in model.state_dict().items()}
    old["bbox_head.head_module.proj"] = torch.arange(16.0)
    conversion = convert_state_dict(old, model)
    assert not conversion.renamed
    assert all(torch.equal(old[name], value) for name, value in conversion.state_dict.items())


def test_another_size_and_unknown_names():
    model = build_model(load_config(DETECTION))
    old = tensors()
    old["model.12.cv1.conv.weight"] = torch.zeros(4, 4, 1, 1)
    old["model.23.conv.weight"] = torch.zeros(1)
    with pytest.raises(ConversionError) as error:
        convert_state_dict(old, model)
    assert "neck.top_down_layers.0.main_conv.conv.weight (4, 4, 1, 1)" in str(error.value)
    assert "unknown to the model: model.23.conv.weight" in str(error.value)


def test_a_file_of_tensors(tmp_path, capsys):
    old, new = tmp_path / "tensors.pth", tmp_path / "new.pth"
    weights = tensors()
    torch.save(weights, old)
    assert main([str(CONFIGS / DETECTION), str(old), str(new)]) == 0
    converted = torch.load(new, weights_only=True)["state_dict"]
    assert torch.equal(converted["backbone.stem.conv.weight"], weights["model.0.conv.weight"])
    said = capsys.readouterr().out
    assert "354 tensors, of which 354 have a new name" in said
    assert "left out 1 tensors of stored distances of the bins" in said


def test_a_pickle_of_classes_is_refused(tmp_path, capsys, monkeypatch):
    # A whole model of classes that are not installed here, trusted or not.
    elsewhere = types.ModuleType("elsewhere")
    elsewhere.Model = type("Model", (torch.nn.Linear,), {"__module__": "elsewhere"})
    monkeypatch.setitem(sys.modules, "elsewhere", elsewhere)
    old, new = tmp_path / "model.pt", tmp_path / "new.pth"
    torch.save({"model": elsewhere.Model(2, 2)}, old)
    monkeypatch.delitem(sys.modules, "elsewhere")
    for options in ([], ["--trust-checkpoint"]):
        assert main([str(CONFIGS / DETECTION), str(old), str(new), *options]) == 1
        error = capsys.readouterr().err
        (line,) = [line for line in error.splitlines() if line.startswith("error: ")]
        assert line.startswith("error: Expected weights, but")
        assert "elsewhere" in error
        assert "torch.save(model.state_dict(), 'tensors.pth')" in error
    assert not new.exists()
