"""Names and shapes in checkpoints of the RankSortLoss and aLRPLoss repositories, cut small.

Written down from the modules of those repositories (MMDetection 2.4, and 1.0 for SOLOv2), not
from what the converter does: base width 4 instead of 64, 32 channels instead of 256, 3 classes.
"""

import torch

from configs import load_config

CLASSES = ("disc", "bar", "ring")
WIDTH, CHANNELS, HIDDEN = 4, 32, 16
STAGES = {18: (2, 2, 2, 2), 34: (3, 4, 6, 3), 50: (3, 4, 6, 3), 101: (3, 4, 23, 3)}
DEFORM_GROUPS = 4


def conv(name, out, inp, size, bias=True):
    shapes = {f"{name}.weight": (out, inp, size, size)}
    return shapes | ({f"{name}.bias": (out,)} if bias else {})


def norm(name, channels, batch=True):
    keys = ("weight", "bias", "running_mean", "running_var") if batch else ("weight", "bias")
    shapes = {f"{name}.{key}": (channels,) for key in keys}
    return shapes | ({f"{name}.num_batches_tracked": ()} if batch else {})


def linear(name, out, inp):
    return {f"{name}.weight": (out, inp), f"{name}.bias": (out,)}


def resnet(depth, dcn=False):
    """ResNet; with `dcn` DCNv2 in the stages 2 to 4, two offsets and a mask for each of 9 taps."""
    shapes = conv("backbone.conv1", WIDTH, 3, 7, bias=False) | norm("backbone.bn1", WIDTH)
    inp, expansion = WIDTH, 4 if depth >= 50 else 1
    for stage, blocks in enumerate(STAGES[depth]):
        planes = WIDTH * 2**stage
        for block in range(blocks):
            name = f"backbone.layer{stage + 1}.{block}"
            if expansion == 4:
                sizes = [(planes, inp, 1), (planes, planes, 3), (planes * 4, planes, 1)]
            else:
                sizes = [(planes, inp, 3), (planes, planes, 3)]
            for place, (out, from_, size) in enumerate(sizes, start=1):
                shapes |= conv(f"{name}.conv{place}", out, from_, size, bias=False)
                shapes |= norm(f"{name}.bn{place}", out)
            if dcn and stage > 0:
                shapes |= conv(f"{name}.conv2.conv_offset", DEFORM_GROUPS * 27, planes, 3)
            if block == 0 and (stage > 0 or expansion == 4):
                shapes |= conv(f"{name}.downsample.0", planes * expansion, inp, 1, bias=False)
                shapes |= norm(f"{name}.downsample.1", planes * expansion)
            inp = planes * expansion
    return shapes


def stage_channels(depth):
    return [WIDTH * 2**stage * (4 if depth >= 50 else 1) for stage in range(4)]


def fpn(depth, start, convs, on_input=False):
    channels = stage_channels(depth)
    shapes = {}
    for place, inp in enumerate(channels[start:]):
        shapes |= conv(f"neck.lateral_convs.{place}.conv", CHANNELS, inp, 1)
    for place in range(convs):
        extra = place - len(channels[start:])
        inp = channels[-1] if on_input and extra == 0 else CHANNELS
        shapes |= conv(f"neck.fpn_convs.{place}.conv", CHANNELS, inp, 3)
    return shapes


def towers(prefix, names, stacked, group_norm, first=CHANNELS):
    shapes = {}
    for name in names:
        for place in range(stacked):
            inp = first if place == 0 else CHANNELS
            layer = f"{prefix}.{name}.{place}"
            shapes |= conv(f"{layer}.conv", CHANNELS, inp, 3, bias=not group_norm)
            if group_norm:
                shapes |= norm(f"{layer}.gn", CHANNELS, batch=False)
    return shapes


def atss():
    """RankBasedATSSHead, and RankBasedPAAHead, which inherits its layers."""
    return (
        resnet(50) | fpn(50, 1, 5)
        | towers("bbox_head", ("cls_convs", "reg_convs"), 4, group_norm=True)
        | conv("bbox_head.atss_cls", 9, CHANNELS, 3) | conv("bbox_head.atss_reg", 12, CHANNELS, 3)
        | {f"bbox_head.scales.{level}.scale": () for level in range(5)}
    )  # fmt: skip


def retinanet(anchors):
    """aLRPLossRetinaHead and APLossRetinaHead."""
    return (
        resnet(50) | fpn(50, 1, 5, on_input=True)
        | towers("bbox_head", ("cls_convs", "reg_convs"), 4, group_norm=False)
        | conv("bbox_head.retina_cls", anchors * 3, CHANNELS, 3)
        | conv("bbox_head.retina_reg", anchors * 4, CHANNELS, 3)
    )  # fmt: skip


def fovea():
    """aLRPLossFoveaHead and APLossFoveaHead."""
    return (
        resnet(50) | fpn(50, 1, 5, on_input=True)
        | towers("bbox_head", ("cls_convs", "reg_convs"), 4, group_norm=False)
        | conv("bbox_head.fovea_cls", 3, CHANNELS, 3) | conv("bbox_head.fovea_reg", 4, CHANNELS, 3)
    )  # fmt: skip


def rpn(depth=50, dcn=False):
    """RankBasedRPNHead and aLRPLossRPNHead."""
    return (
        resnet(depth, dcn) | fpn(depth, 0, 4)
        | conv("rpn_head.rpn_conv", CHANNELS, CHANNELS, 3)
        | conv("rpn_head.rpn_cls", 3, CHANNELS, 1) | conv("rpn_head.rpn_reg", 12, CHANNELS, 1)
    )  # fmt: skip


def box_head(name, boxes):
    """RankBasedShared2FCBBoxHead and aLRPLossShared2FCBBoxHead: no row for background."""
    return (
        linear(f"{name}.shared_fcs.0", HIDDEN, CHANNELS * 49)
        | linear(f"{name}.shared_fcs.1", HIDDEN, HIDDEN)
        | linear(f"{name}.fc_cls", 3, HIDDEN) | linear(f"{name}.fc_reg", 4 * boxes, HIDDEN)
    )  # fmt: skip


def faster_rcnn(depth=50, dcn=False):
    return rpn(depth, dcn) | box_head("roi_head.bbox_head", 3)


def cascade_rcnn():
    shapes = rpn()
    for stage in range(3):
        shapes |= box_head(f"roi_head.bbox_head.{stage}", 1)
    return shapes


def mask_rcnn():
    shapes = faster_rcnn()
    for place in range(4):
        shapes |= conv(f"roi_head.mask_head.convs.{place}.conv", CHANNELS, CHANNELS, 3)
    shapes |= conv("roi_head.mask_head.upsample", CHANNELS, CHANNELS, 2)
    return shapes | conv("roi_head.mask_head.conv_logits", 3, CHANNELS, 1)


def carafe_rcnn(depth=50, dcn=False):
    """RS-Faster R-CNN+: FPN_CARAFE, whose fifth level has convolutions and an upsampler too."""
    shapes = faster_rcnn(depth, dcn)
    shapes |= conv("neck.lateral_convs.4.conv", CHANNELS, stage_channels(50)[-1], 3)
    shapes |= conv("neck.fpn_convs.4.conv", CHANNELS, CHANNELS, 3)
    for place in range(4):
        name = f"neck.upsample_modules.{place}"
        shapes |= conv(f"{name}.channel_compressor", 64, CHANNELS, 1)
        shapes |= conv(f"{name}.content_encoder", 100, 64, 3)
    return shapes


def yolact():
    """RankSortYOLACTHead and RankSortYOLACTProtonet, whose inner width is not in the config."""
    shapes = resnet(50) | fpn(50, 1, 5, on_input=True)
    shapes |= conv("bbox_head.head_convs.0.conv", CHANNELS, CHANNELS, 3)
    for name, out in (("conv_cls", 9), ("conv_reg", 12), ("conv_coeff", 96)):
        shapes |= conv(f"bbox_head.{name}", out, CHANNELS, 3)
    layers = {0: (256, CHANNELS, 3), 2: (256, 256, 3), 4: (256, 256, 3), 8: (256, 256, 3),
              10: (32, 256, 1)}  # fmt: skip
    for place, (out, inp, size) in layers.items():
        shapes |= conv(f"mask_head.protonet.{place}", out, inp, size)
    return shapes


def yolact_with_segmentation():
    """YOLACT of MMDetection 2.4, trained with its semantic branch."""
    return yolact() | conv("segm_head.segm_conv", 3, CHANNELS, 1)


def solov2():
    """RankBasedSOLOv2Head and MaskFeatHead of MMDetection 1.0, light variant."""
    shapes = resnet(34) | fpn(34, 0, 4)
    shapes |= towers("bbox_head", ("cate_convs",), 2, group_norm=True)
    shapes |= towers("bbox_head", ("kernel_convs",), 2, group_norm=True, first=CHANNELS + 2)
    shapes |= conv("bbox_head.solo_cate", 3, CHANNELS, 3)
    shapes |= conv("bbox_head.solo_kernel", CHANNELS, CHANNELS, 3)
    for level in range(4):
        for place in range(max(level, 1)):
            inp = CHANNELS + (2 if level == 3 and place == 0 else 0)
            name = f"mask_feat_head.convs_all_levels.{level}.conv{place}"
            shapes |= conv(f"{name}.conv", CHANNELS, inp, 3, bias=False)
            shapes |= norm(f"{name}.gn", CHANNELS, batch=False)
    shapes |= conv("mask_feat_head.conv_pred.0.conv", CHANNELS, CHANNELS, 1, bias=False)
    return shapes | norm("mask_feat_head.conv_pred.0.gn", CHANNELS, batch=False)


def state_dict(shapes, seed=0):
    """Tensors of the shapes, all different."""
    gen = torch.Generator().manual_seed(seed)
    return {
        name: torch.tensor(7) if name.endswith("tracked") else torch.randn(shape, generator=gen)
        for name, shape in shapes.items()
    }


def checkpoint(shapes):
    """A checkpoint as MMCV 1 saved it."""
    weights = state_dict(shapes)
    meta = dict(
        mmdet_version="2.4.0", epoch=12, iter=87960, CLASSES=CLASSES, config="model = dict(...)",
        env_info="sys.platform: linux", time="Sat May 29 01:02:03 2021", seed=None,
    )  # fmt: skip
    optimizer = dict(state={0: dict(momentum_buffer=torch.zeros(2))}, param_groups=[dict(lr=0.01)])
    return dict(meta=meta, state_dict=weights, optimizer=optimizer)


def small_config(name):
    """A config of this package, cut to the same small sizes."""
    config = load_config(name)
    backbone = config.model.backbone
    neck_channels = stage_channels(backbone.depth)
    config.model = _cut(config.model.to_dict())
    config.model.backbone.update(base_channels=WIDTH, init_cfg=None)
    config.model.neck.in_channels = neck_channels
    return config


def _cut(value):
    if isinstance(value, dict):
        return {
            key: 3 if key == "num_classes" else HIDDEN if key == "fc_out_channels" else _cut(item)
            for key, item in value.items()
        }
    if isinstance(value, list):
        return [_cut(item) for item in value]
    return CHANNELS if type(value) is int and value in (128, 256) else value
