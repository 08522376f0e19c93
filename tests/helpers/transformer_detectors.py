"""Small transformer detectors for 64-pixel images, by name."""

import mmdet_rank.register  # noqa: F401

import mmdet
import torch
import torch.distributed as dist
from leaving import leave_processes
from mmdet.registry import MODELS
from mmengine.config import ConfigDict
from mmengine.registry import init_default_scope
from mmengine.utils import digit_version
from synthetic import make_batch
from torch.nn.parallel import DistributedDataParallel

LAYERS = 2
DINO_WIDTH = 16 if digit_version(mmdet.__version__) >= digit_version("3.4.0") else 256
MATCHING = dict(
    assigner=dict(
        type="HungarianAssigner",
        match_costs=[
            dict(type="FocalLossCost", weight=2.0),
            dict(type="BBoxL1Cost", weight=5.0, box_format="xywh"),
            dict(type="IoUCost", iou_mode="giou", weight=2.0),
        ],
    )
)


def shared_parts(width):
    """Options that the detectors have in common, with so many channels."""
    attention = dict(embed_dims=width, num_heads=2, num_levels=2, dropout=0.0)
    ffn = dict(embed_dims=width, feedforward_channels=16, ffn_drop=0.0)
    return dict(
        num_queries=20, num_feature_levels=2,
        data_preprocessor=dict(
            type="DetDataPreprocessor", mean=[128.0] * 3, std=[64.0] * 3, pad_size_divisor=1
        ),
        backbone=dict(
            type="ResNet", depth=18, base_channels=4, num_stages=3, strides=(1, 2, 2),
            dilations=(1, 1, 1), out_indices=(1, 2), norm_cfg=dict(type="BN"), norm_eval=True,
        ),
        neck=dict(
            type="ChannelMapper", in_channels=[8, 16], kernel_size=1, out_channels=width,
            act_cfg=None, norm_cfg=dict(type="GN", num_groups=4), num_outs=2,
        ),
        encoder=dict(num_layers=1, layer_cfg=dict(self_attn_cfg=attention, ffn_cfg=ffn)),
        decoder=dict(
            num_layers=LAYERS, return_intermediate=True, post_norm_cfg=None,
            layer_cfg=dict(
                self_attn_cfg=dict(embed_dims=width, num_heads=2, dropout=0.0),
                cross_attn_cfg=attention, ffn_cfg=ffn,
            ),
        ),
        bbox_head=dict(type="RankDeformableDETRHead", embed_dims=width),
        positional_encoding=dict(num_feats=width // 2, normalize=True),
        train_cfg=MATCHING, test_cfg=dict(max_per_img=10),
    )  # fmt: skip


DETECTORS = {
    "deformable_detr": shared_parts(16) | dict(type="DeformableDETR"),
    # MMDetection's two-stage variant works with 256 channels only, and so does DINO before 3.4.
    "deformable_detr_two_stage": shared_parts(256)
    | dict(type="DeformableDETR", with_box_refine=True, as_two_stage=True),
    "dino": shared_parts(DINO_WIDTH)
    | dict(
        type="DINO", with_box_refine=True, as_two_stage=True,
        bbox_head=dict(type="RankDINOHead", embed_dims=DINO_WIDTH),
        dn_cfg=dict(label_noise_scale=0.5, box_noise_scale=1.0,
                    group_cfg=dict(dynamic=True, num_groups=None, num_dn_queries=8)),
    ),
}  # fmt: skip


def build_detector(name, loss="RankSortLoss", num_classes=4, **options):
    """A detector; the epoch balance gets a period of 3."""
    init_default_scope("mmdet")
    config = DETECTORS[name]
    head = config["bbox_head"] | dict(num_classes=num_classes, loss_cls=dict(type=loss))
    if loss == "aLRPLoss":
        head["criterion"] = dict(balance=dict(type="epoch", period=3))
    model = MODELS.build(ConfigDict(config | dict(bbox_head=head | options)))
    model.init_weights()
    return model.train()


class Losses(torch.nn.Module):
    """A detector whose forward is its loss, as data parallel training calls it."""

    def __init__(self, model):
        super().__init__()
        self.model = model

    def forward(self, images, samples):
        losses = self.model.loss(images, samples)
        return losses, self.model.parse_losses(losses)[0]


def train_in_process(rank, store):
    """Two steps of data parallel training in which the second process sees no object."""
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{store}", rank=rank, world_size=2)
    for name, loss in (("deformable_detr", "aLRPLoss"), ("dino", "RankSortLoss")):
        torch.manual_seed(0)
        model = DistributedDataParallel(Losses(build_detector(name, loss)))
        # The second step fails in DDP if a parameter had no gradient in the first.
        for _ in range(2):
            losses, total = model(*make_batch((2, 1) if rank == 0 else (0, 0)))
            total.backward()
        keys = [None, None]
        dist.all_gather_object(keys, sorted(losses))
        assert keys[0] == keys[1]
    for loss in ("RankSortLoss", "aLRPLoss", "APLoss"):
        check_synced_gradients(loss, rank)
    leave_processes()


def check_synced_gradients(loss, rank):
    """With sync, averaged gradients are those of one process on the whole batch, in float64.

    Of Deformable DETR; the queries that DINO denoises are as many as the batch's objects allow.
    """
    # The balance of aLRP Loss has a state, and a test of its own.
    balance = dict(criterion=dict(balance="value")) if loss == "aLRPLoss" else {}
    torch.manual_seed(0)
    synced, single = (
        Losses(
            build_detector("deformable_detr", loss, loss_cls=dict(type=loss, sync=sync), **balance)
        ).double()
        for sync in (True, False)
    )
    single.load_state_dict(synced.state_dict())
    batches = [make_batch((2, 1) if part == 0 else (0, 0), seed=part) for part in range(2)]
    images, samples = batches[rank]
    model = DistributedDataParallel(synced)
    model(images.double(), samples)[1].backward()
    images = torch.cat([images for images, _ in batches]).double()
    single(images, [sample for _, samples in batches for sample in samples])[1].backward()
    for (key, parameter), reference in zip(
        synced.named_parameters(), single.parameters(), strict=True
    ):
        error = (parameter.grad - reference.grad).norm() / reference.grad.norm().clamp(min=1e-6)
        assert error < 1e-5, f"{loss}, {key}: {error:.2e}"
