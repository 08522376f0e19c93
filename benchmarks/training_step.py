"""Iteration time of rank-trained detectors beside their stock baselines, by part.

Both see the same synthetic images, in turns. ``forward`` is the network (and, in R-CNNs, sampling
and pooling of proposals), ``loss`` what the heads' loss functions take, ``backward`` the gradients;
``classification`` is the part of loss and backward that the classification losses alone take,
measured by running them again on the logits that they had received. For two-stage detectors a third
run keeps the ranking losses and gives the samplers of the baseline back, which tells the cost of
training on all proposals from that of the loss. Seconds are those of the clock on a GPU, and of
the processor (of all threads together) on a CPU.

Example:
    python benchmarks/training_step.py --set digits --out benchmarks/results/training_cpu.json
    python benchmarks/training_step.py --set coco --device cuda --out training_gpu.json
"""

from __future__ import annotations

import argparse
import contextlib
import copy
import sys
import time
from pathlib import Path
from statistics import median

import mmdet_rank.register  # noqa: F401, first: it stands in for operators that mmcv comes without

# isort: split

import numpy as np
import torch
from measure import environment, median_ratio, one_line, summarize, write_json
from mmdet.registry import MODELS
from mmdet.structures import DetDataSample
from mmdet.structures.mask import BitmapMasks
from mmengine.config import Config, ConfigDict
from mmengine.hub import get_config
from mmengine.model import revert_sync_batchnorm
from mmengine.registry import init_default_scope
from mmengine.structures import InstanceData

from mmdet_rank.losses.base import RankingLoss

CONFIGS = Path(__file__).resolve().parents[1] / "configs"

#: Detectors of configs/digits/.
DIGITS = (
    *("atss_r18_fpn", "retinanet_r18_fpn", "paa_r18_fpn", "fcos_r18_fpn", "foveabox_r18_fpn"),
    *("faster-rcnn_r18_fpn", "cascade-rcnn_r18_fpn", "deformable-detr_r18", "dino_r18"),
    *("mask-rcnn_r18_fpn", "yolact_r18_fpn", "solov2_r18_fpn"),
)
#: By set: rank-trained and stock config, and the images: number, height, width.
SETS = {
    "digits": (
        (8, 192, 192),
        [(f"digits/rs-{name}_digits.py", f"digits/{name}_digits.py") for name in DIGITS],
    ),
    "coco": (
        (4, 800, 1344),
        [
            (
                "rank_sort/rs-atss_r50_fpn_4xb4-1x_coco.py",
                "mmdet::atss/atss_r50_fpn_1x_coco.py",
            ),
            (
                "rank_sort/rs-paa_r50_fpn_4xb4-1x_coco.py",
                "mmdet::paa/paa_r50_fpn_1x_coco.py",
            ),
            (
                "ap_loss/ap-retinanet_r50_fpn_4xb8-ssd-500-100e_coco.py",
                "mmdet::retinanet/retinanet_r50_fpn_1x_coco.py",
            ),
            (
                "rank_sort/rs-faster-rcnn_r50_fpn_4xb4-1x_coco.py",
                "mmdet::faster_rcnn/faster-rcnn_r50_fpn_1x_coco.py",
            ),
            (
                "rank_sort/rs-mask-rcnn_r50_fpn_4xb4-1x_coco.py",
                "mmdet::mask_rcnn/mask-rcnn_r50_fpn_1x_coco.py",
            ),
        ],
    ),
    # Beside its own stock detector, and that one beside MMDetection's real-time detector.
    "yolov8": (
        (8, 640, 640),
        [
            ("yolov8/rs-yolov8_n_8xb16-500e_coco.py", "yolov8/yolov8_n_8xb16-500e_coco.py"),
            ("yolov8/yolov8_n_8xb16-500e_coco.py", "mmdet::rtmdet/rtmdet_tiny_8xb32-300e_coco.py"),
        ],
    ),
}

#: Methods of heads that compute losses; those of a head inside another one are not counted twice.
LOSS_METHODS = ("loss_by_feat", "loss_and_target")


def load(name):
    """A config by name relative to configs/, or MMDetection's own."""
    return get_config(name) if name.startswith("mmdet::") else Config.fromfile(CONFIGS / name)


def without_weights(config):
    """The same without pretrained weights, which change no time and need a network."""
    if isinstance(config, (list, tuple)):
        return [without_weights(value) for value in config]
    if not isinstance(config, dict):
        return config
    return {
        key: without_weights(value)
        for key, value in config.items()
        if not (isinstance(value, dict) and value.get("type") == "Pretrained")
    }


def with_samplers_of(config, stock):
    """The rank-trained model with the samplers of its baseline, or None without samplers."""
    if "rcnn" not in (config.model.get("train_cfg") or {}):
        return None
    config = copy.deepcopy(config)
    for stage, baseline in zip(_stages(config), _stages(stock), strict=True):
        stage.sampler = baseline.sampler
    return config


def _stages(config):
    """Training configs of the RPN and of the stages of the R-CNN."""
    train = config.model.train_cfg
    return [train.rpn, *(train.rcnn if isinstance(train.rcnn, list) else [train.rcnn])]


def make_batch(shape, num_classes, device, seed=0):
    """Noise images and seven random boxes with masks in each."""
    batch, height, width = shape
    rng = np.random.default_rng(seed)
    samples = []
    for _ in range(batch):
        extent = rng.uniform(0.08, 0.4, (7, 2)) * (width, height)
        corner = rng.uniform(0, 1, (7, 2)) * ((width, height) - extent)
        boxes = np.concatenate([corner, corner + extent], axis=1).astype(np.float32)
        masks = np.zeros((7, height, width), np.uint8)
        for mask, (left, top, right, bottom) in zip(masks, boxes.astype(int), strict=True):
            mask[top:bottom, left:right] = 1
        sample = DetDataSample(metainfo={
            "img_shape": (height, width), "ori_shape": (height, width),
            "pad_shape": (height, width), "batch_input_shape": (height, width),
            "scale_factor": (1.0, 1.0), "img_id": 0, "img_path": "",
        })  # fmt: skip
        sample.gt_instances = InstanceData(
            bboxes=torch.from_numpy(boxes),
            labels=torch.from_numpy(rng.integers(num_classes, size=7)),
            masks=BitmapMasks(masks, height, width),
        )
        sample.ignored_instances = InstanceData(
            bboxes=torch.zeros(0, 4), labels=torch.zeros(0, dtype=torch.long)
        )
        samples.append(sample.to(device))
    gen = torch.Generator().manual_seed(seed)
    return torch.randn(batch, 3, height, width, generator=gen).to(device), samples


def num_classes_of(config):
    """Number of classes of the first head that names one."""
    model = config.model
    heads = [model.get("bbox_head"), model.get("roi_head", {}).get("bbox_head")]
    heads = [head[0] if isinstance(head, list) else head for head in heads]
    return next(head["num_classes"] for head in [*heads, model.get("mask_head")] if head)


class Detector:
    """A model whose training step is timed by part.

    Args:
        config: Its config.
        device: Where it runs.
        amp: Whether the forward pass is cast to bfloat16 where autocast does so.
    """

    def __init__(self, config, device, amp=False):
        torch.manual_seed(0)
        model = ConfigDict(without_weights(config.model.to_dict()))
        self.model = MODELS.build(model)
        # As a training begins; some parameters of transformers are not numbers before.
        self.model.init_weights()
        if device.type == "cpu":
            self.model = revert_sync_batchnorm(self.model)
        self.model.to(device).train()
        self.device = device
        self.amp = amp
        self.calls = []
        self.recording = False
        self._in_loss = 0.0
        self._depth = 0
        losses = []
        for module in self.model.modules():
            for name in LOSS_METHODS:
                if hasattr(module, name):
                    setattr(module, name, self._timed(getattr(module, name)))
            loss = getattr(module, "loss_cls", None)
            # A head and its criterion hold the same loss.
            if isinstance(loss, torch.nn.Module) and loss not in losses:
                losses.append(loss)
                name = "rank" if isinstance(loss, RankingLoss) else "forward"
                setattr(loss, name, self._recorded(getattr(loss, name)))

    def _now(self):
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)
            return time.perf_counter()
        # What others do on the machine at the same time does not count.
        return time.process_time()

    def _timed(self, function):
        def wrapped(*args, **kwargs):
            self._depth += 1
            begin = self._now()
            try:
                return function(*args, **kwargs)
            finally:
                self._depth -= 1
                if self._depth == 0:
                    self._in_loss += self._now() - begin

        return wrapped

    def _recorded(self, function):
        def wrapped(*args, **kwargs):
            if self.recording:
                self.calls.append((function, args, kwargs))
            return function(*args, **kwargs)

        return wrapped

    def _losses(self, images, samples):
        with torch.autocast(self.device.type, dtype=torch.bfloat16, enabled=self.amp):
            return self.model.loss(images, samples)

    def step(self, images, samples):
        """Seconds of forward, loss and backward of one step."""
        self.model.zero_grad(set_to_none=True)
        self._in_loss = 0.0
        begin = self._now()
        losses = self._losses(images, samples)
        total, _ = self.model.parse_losses(losses)
        end = self._now()
        total.backward()
        done = self._now()
        loss = self._in_loss
        return {
            "forward": end - begin - loss,
            "loss": loss,
            "backward": done - end,
            "step": done - begin,
        }

    def classification(self, images, samples, runs):
        """Median seconds that the classification losses of one step take, forward and backward."""
        self.recording, self.calls = True, []
        self._losses(images, samples)
        self.recording = False
        calls = [
            (function, [_detached(value) for value in args], kwargs)
            for function, args, kwargs in self.calls
        ]
        self.calls = []
        times = []
        for _ in range(runs + 1):
            begin = self._now()
            for function, (logits, *others), kwargs in calls:
                leaf = logits.requires_grad_()
                result = function(leaf, *others, **kwargs)
                value = getattr(result, "cls", result)
                torch.autograd.grad(value.sum(), leaf)
            times.append(self._now() - begin)
        return median(times[1:])

    def peak_memory(self, images, samples):
        """Bytes at the peak of a step beyond the model, on a GPU; None on a CPU."""
        if self.device.type != "cuda":
            return None
        self.model.zero_grad(set_to_none=True)
        before = torch.cuda.memory_allocated(self.device)
        torch.cuda.reset_peak_memory_stats(self.device)
        self.step(images, samples)
        return torch.cuda.max_memory_allocated(self.device) - before


def _detached(value):
    return value.detach() if isinstance(value, torch.Tensor) else value


def compare(rank_name, stock_name, shape, device, seconds, amp=False):
    """All figures of a detector and its baseline."""
    configs = {"rank": load(rank_name), "stock": load(stock_name)}
    sampled = with_samplers_of(configs["rank"], configs["stock"])
    if sampled is not None:
        configs["rank, sampled"] = sampled
    detectors = {name: Detector(config, device, amp) for name, config in configs.items()}
    batch = make_batch(shape, num_classes_of(configs["rank"]), device)
    model = configs["rank"].model
    if not (model.get("mask_head") or model.get("roi_head", {}).get("mask_head")):
        # Some assigners go by masks where there are any.
        for sample in batch[1]:
            del sample.gt_instances.masks
    times = {name: [] for name in detectors}
    for detector in detectors.values():
        detector.step(*batch)
    begin = time.perf_counter()
    while time.perf_counter() - begin < seconds or len(times["rank"]) < 3:
        for name, detector in detectors.items():
            times[name].append(detector.step(*batch))
    rows = {}
    stock = [run["step"] for run in times["stock"]]
    for name, detector in detectors.items():
        parts = {part: [run[part] for run in times[name]] for part in times[name][0]}
        row = {part + "_s": summarize(values) for part, values in parts.items()}
        row["times_stock"] = median_ratio(parts["step"], stock)
        row["classification_s"] = detector.classification(*batch, runs=5)
        row["classification_share"] = row["classification_s"] / row["step_s"]["median"]
        row["peak_bytes"] = detector.peak_memory(*batch)
        rows[name] = row
    return {"rank": rank_name, "stock": stock_name, "images": list(shape), "rows": rows}


def print_table(result):
    """One pair for the eye."""
    print(f"\n{result['rank']} beside {result['stock']}, images {result['images']}")
    print(
        f"{'':16}{'step ms':>9}{'x stock':>9}{'forward':>9}{'loss':>8}{'backward':>10}"
        f"{'cls. loss':>11}{'share':>8}{'peak MB':>9}"
    )
    for name, row in result["rows"].items():
        values = [1000 * row[f"{part}_s"]["median"] for part in ("forward", "loss", "backward")]
        peak = "" if row["peak_bytes"] is None else f"{row['peak_bytes'] / 1e6:.0f}"
        print(
            f"{name:16}{1000 * row['step_s']['median']:9.1f}{row['times_stock']:9.2f}"
            f"{values[0]:9.1f}{values[1]:8.1f}{values[2]:10.1f}"
            f"{1000 * row['classification_s']:11.2f}{row['classification_share']:8.1%}{peak:>9}"
        )


def main(argv=None):
    """Entry point; returns the exit code."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--out", help="JSON file to write")
    parser.add_argument("--set", default="digits", choices=sorted(SETS))
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--only", nargs="+", help="keep the pairs whose names contain any of these")
    parser.add_argument("--images", type=int, nargs=3, metavar=("NUMBER", "HEIGHT", "WIDTH"))
    parser.add_argument("--seconds", type=float, default=20.0, help="time budget of each pair")
    parser.add_argument("--threads", type=int, help="threads that torch may use on a CPU")
    parser.add_argument("--amp", action="store_true", help="autocast to bfloat16")
    args = parser.parse_args(argv)
    if args.threads:
        torch.set_num_threads(args.threads)
    if args.device.startswith("cuda") and not torch.cuda.is_available():
        print("No CUDA device is available; use --device cpu.", file=sys.stderr)
        return 1
    init_default_scope("mmdet")
    device = torch.device(args.device)
    shape, pairs = SETS[args.set]
    shape = tuple(args.images) if args.images else shape
    report = {**environment(device), "amp": args.amp, "results": [], "failures": {}}
    for pair in pairs:
        if args.only and not any(text in pair[0] for text in args.only):
            continue
        try:
            with contextlib.redirect_stdout(sys.stderr):
                result = compare(*pair, shape, device, args.seconds, args.amp)
        except RuntimeError as error:  # out of memory, for one; the other pairs may fit
            report["failures"][pair[0]] = one_line(error)
            print(f"\n{pair[0]} failed: {one_line(error)}", file=sys.stderr)
        else:
            print_table(result)
            report["results"].append(result)
        if args.out:
            write_json(args.out, report)
    if not report["results"] and not report["failures"]:
        names = [pair[0] for pair in pairs]
        print(f"Expected a part of a name as --only, but got {args.only}; there are {names}")
        return 1
    if args.out:
        print(f"\nwritten to {args.out}")
    return 1 if report["failures"] else 0


if __name__ == "__main__":
    sys.exit(main())
