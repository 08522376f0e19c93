"""The registered metrics: drop-in for MMDetection's, LRP Error beside, one process or two."""

import copy
import json
import math
import os
import socket
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.multiprocessing as mp
from leaving import leave_processes
from mmdet.registry import METRICS
from mmdet.structures import DetDataSample
from mmengine.logging import MMLogger
from mmengine.model import BaseModel
from mmengine.runner import Runner
from mmengine.structures import InstanceData
from panoptic_reference import check_panoptic, panoptic_metric, panoptic_samples
from processes import spawn
from pycocotools import mask as mask_utils

from mmdet_rank.evaluation.coco import evaluate_coco
from mmdet_rank.evaluation.metrics import CocoLRPMetric
from mmdet_rank.evaluation.report import F1_FIGURES

DATA = Path(__file__).resolve().parents[1] / "data" / "lrp"
SYNTHETIC = DATA / "synthetic"
ERRORS = ("oLRP", "oLRP_Loc", "oLRP_FP", "oLRP_FN", "oLRP_s", "oLRP_m", "oLRP_l")


@pytest.fixture(scope="module")
def ground_truth():
    return json.loads((SYNTHETIC / "gt.json").read_text())


@pytest.fixture(scope="module")
def samples(ground_truth):
    """Outputs of a detector as a metric gets them, in float64 so that no digit is lost."""
    results = json.loads((SYNTHETIC / "dt.json").read_text())
    ids = [category["id"] for category in ground_truth["categories"]]
    samples = []
    for image in ground_truth["images"]:
        here = [d for d in results if d["image_id"] == image["id"]]
        boxes = torch.tensor([d["bbox"] for d in here], dtype=torch.float64).reshape(-1, 4)
        boxes[:, 2:] += boxes[:, :2]
        masks = [mask_utils.decode(d["segmentation"]) for d in here]
        shape = image["height"], image["width"]
        samples.append(
            {
                "img_id": image["id"],
                "ori_shape": shape,
                "pred_instances": {
                    "bboxes": boxes,
                    "scores": torch.tensor([d["score"] for d in here], dtype=torch.float64),
                    "labels": torch.tensor([ids.index(d["category_id"]) for d in here]).long(),
                    "masks": torch.tensor(np.array(masks).reshape(-1, *shape)).bool(),
                },
            }
        )
    return samples


def classes(ground_truth):
    return tuple(category["name"] for category in ground_truth["categories"])


def run(metric, samples, names):
    metric.dataset_meta = {"classes": names}
    metric.process({}, copy.deepcopy(samples))
    return metric.evaluate(size=len(samples))


def build(kind, **options):
    return METRICS.build({"type": kind, "ann_file": str(SYNTHETIC / "gt.json"), **options})


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"metric": ["bbox", "segm"], "classwise": True},
        {"metric": ["bbox", "proposal"], "proposal_nums": (1, 10, 100)},
        {"metric": ["bbox", "segm"], "metric_items": ["mAP", "AR@100", "AR@300", "AR_s@1000"]},
        {"metric_items": ["mAP_50"], "iou_thrs": np.array([0.5, 0.6]), "prefix": "mine"},
    ],
)
def test_drop_in_for_coco_metric(options, ground_truth, samples):
    names = classes(ground_truth)
    expected = run(build("CocoMetric", **options), samples, names)
    found = run(build("CocoLRPMetric", **options), samples, names)
    for key, value in expected.items():
        assert found[key] == value or (math.isnan(value) and math.isnan(found[key])), key
    prefix = options.get("prefix", "coco")
    added = set(found) - set(expected)
    metrics = options.get("metric", "bbox")
    iou_types = [m for m in ([metrics] if isinstance(metrics, str) else metrics) if m != "proposal"]
    assert added >= {f"{prefix}/{iou}_{key}" for iou in iou_types for key in ERRORS}
    assert all(key.endswith((*F1_FIGURES, "oLRP")) or "_oLRP_" in key for key in added)


def test_published_values(ground_truth, samples, tmp_path):
    prefix = tmp_path / "out" / "run"
    options = {"metric": ["bbox", "segm"], "classwise": True, "report_prefix": str(prefix)}
    found = run(build("CocoLRPMetric", **options), samples, classes(ground_truth))
    expected = json.loads((SYNTHETIC / "expected.json").read_text())
    for iou_type in ("bbox", "segm"):
        values = expected[iou_type]["stats"][12:16]
        for key, value in zip(ERRORS, values, strict=False):
            assert found[f"coco/{iou_type}_{key}"] == pytest.approx(value, abs=2e-6)
        report = json.loads(Path(f"{prefix}.{iou_type}.lrp.json").read_text())
        thresholds = json.loads(Path(f"{prefix}.{iou_type}.thresholds.json").read_text())
        assert thresholds == {n: v["threshold"] for n, v in report["per_class"].items()}
        for name, values in report["per_class"].items():
            for key in ("oLRP", *F1_FIGURES):
                assert found[f"coco/{iou_type}_{name}_{key}"] == values[key]
        for key in F1_FIGURES:
            assert found[f"coco/{iou_type}_{key}"] == report[key]
    results = json.loads((SYNTHETIC / "dt.json").read_text())
    from_files = evaluate_coco(ground_truth, results, "bbox").report()
    report = json.loads(Path(f"{prefix}.bbox.lrp.json").read_text())
    for key in ("tau", *ERRORS, "AP", "AP50", "AP75", *F1_FIGURES, "F1_threshold"):
        assert report[key] == pytest.approx(from_files[key], abs=1e-12)


def test_figures_of_categories_that_are_not_in_the_order_of_their_ids(
    ground_truth, samples, tmp_path
):
    """As converted data has them; MMDetection's own metric gives each the AP of another."""
    truth = {**ground_truth, "categories": ground_truth["categories"][::-1]}
    file = tmp_path / "reversed.json"
    file.write_text(json.dumps(truth))
    turned = copy.deepcopy(samples)
    for sample in turned:
        labels = sample["pred_instances"]["labels"]
        sample["pred_instances"]["labels"] = len(truth["categories"]) - 1 - labels
    options = {"classwise": True, "report_prefix": str(tmp_path / "run")}
    expected = run(build("CocoLRPMetric", classwise=True), samples, classes(ground_truth))
    metric = build("CocoLRPMetric", **options | {"ann_file": str(file)})
    found = run(metric, turned, classes(truth))
    assert found == pytest.approx(expected, abs=1e-12)
    report = json.loads((tmp_path / "run.bbox.lrp.json").read_text())["per_class"]
    for name in classes(truth):
        assert found[f"coco/{name}_precision"] == round(report[name]["AP"], 3)


@pytest.mark.parametrize("tau", [0.5, 0.62, 0.75])
def test_any_tau_and_several_processes(tau, ground_truth, samples):
    results = json.loads((SYNTHETIC / "dt.json").read_text())
    expected = evaluate_coco(ground_truth, results, "bbox", tau=tau).report()
    for options in ({}, {"use_mp_eval": True}) if tau != 0.75 else ({},):
        metric = build("CocoLRPMetric", tau=tau, **options)
        found = run(metric, samples, classes(ground_truth))
        for key in ERRORS:
            assert found[f"coco/bbox_{key}"] == pytest.approx(expected[key], abs=1e-9)


def test_ground_truth_from_samples():
    box = {"bbox": [10, 10, 50, 50], "bbox_label": 1, "ignore_flag": 0}
    sample = {
        "img_id": 3,
        "ori_shape": (64, 64),
        "instances": [box],
        "pred_instances": {
            "bboxes": torch.tensor([[10.0, 10, 50, 50]]),
            "scores": torch.tensor([0.9]),
            "labels": torch.tensor([1]),
        },
    }
    found = run(CocoLRPMetric(), [sample], ("a", "b"))
    assert found["coco/bbox_oLRP"] == 0.0
    assert math.isnan(found["coco/bbox_oLRP_l"])


def without_detections(samples):
    empty = copy.deepcopy(samples)
    for sample in empty:
        sample["pred_instances"] = {k: v[:0] for k, v in sample["pred_instances"].items()}
    return empty


@pytest.mark.parametrize("max_dets", [100, 50])
def test_no_detection_at_all(max_dets, ground_truth, samples):
    """CocoMetric has no figures then; AP is 0 and oLRP 1, so that the best checkpoint is told."""
    empty = without_detections(samples[:5])
    options = {"metric": ["bbox", "segm"]}
    assert run(build("CocoMetric", **options), empty, classes(ground_truth)) == {}
    metric = build("CocoLRPMetric", max_dets=max_dets, **options)
    found = run(metric, empty, classes(ground_truth))
    for iou_type in options["metric"]:
        assert found[f"coco/{iou_type}_mAP"] == found[f"coco/{iou_type}_mAP_50"] == 0.0
        assert found[f"coco/{iou_type}_oLRP"] == 1.0
        assert found[f"coco/{iou_type}_oLRP_FN"] == 1.0
        assert math.isnan(found[f"coco/{iou_type}_oLRP_Loc"])


@pytest.mark.parametrize("max_dets", [100, 50])
def test_neither_objects_nor_detections(max_dets, samples, ground_truth, tmp_path):
    file = tmp_path / "nothing.json"
    file.write_text(json.dumps({**ground_truth, "annotations": []}))
    metric = build("CocoLRPMetric", ann_file=str(file), max_dets=max_dets)
    found = run(metric, without_detections(samples[:5]), classes(ground_truth))
    assert found["coco/bbox_mAP"] == found["coco/bbox_mAP_50"] == -1.0
    assert math.isnan(found["coco/bbox_oLRP"])


def test_format_only_writes_and_evaluates_nothing(ground_truth, samples, tmp_path):
    prefix = str(tmp_path / "results")
    metric = build("CocoLRPMetric", format_only=True, outfile_prefix=prefix)
    assert run(metric, samples, classes(ground_truth)) == {}
    assert len(json.loads(Path(f"{prefix}.bbox.json").read_text())) == 378


def test_names_follow_the_annotation_file(ground_truth, samples):
    """MMDetection labels categories in the order of the file, whatever the order of classes."""
    names = classes(ground_truth)
    straight = run(build("CocoLRPMetric", classwise=True), samples, names)
    reverse = run(build("CocoLRPMetric", classwise=True), samples, names[::-1])
    assert reverse == straight


def test_refuses_tau():
    with pytest.raises(ValueError, match=r"tau in \[0, 1\)"):
        CocoLRPMetric(tau=1.0)


def test_a_metric_is_afterwards_as_before(ground_truth, samples):
    metric = build("CocoLRPMetric", metric=["bbox", "proposal"], proposal_nums=(1, 10, 100))
    before = metric.metrics, metric.format_only, metric.outfile_prefix
    run(metric, samples, classes(ground_truth))
    assert (metric.metrics, metric.format_only, metric.outfile_prefix) == before


class Improving(BaseModel):
    """A detector without a box after its first step, and with a better one after each other."""

    def __init__(self):
        super().__init__()
        self.weight = torch.nn.Parameter(torch.zeros(()))

    def forward(self, inputs, data_samples=None, mode="tensor"):
        if mode == "loss":
            return {"loss": (self.weight - 1) ** 2}
        offset = 20 * (1 - self.weight.detach().clamp(0, 1))
        number = int(self.weight > 0.6)
        box = torch.tensor([[10.0, 10, 50, 50]]) + offset
        sample = DetDataSample(
            metainfo={"img_id": 0, "ori_shape": (64, 64)},
            pred_instances=InstanceData(
                bboxes=box[:number],
                scores=torch.tensor([0.9])[:number],
                labels=torch.tensor([0])[:number],
            ),
        )
        return [sample]


class OneImage(torch.utils.data.Dataset):
    def __init__(self):
        self.metainfo = {"classes": ("thing",)}

    def __len__(self):
        return 1

    def __getitem__(self, index):
        return {"inputs": torch.zeros(1)}


@pytest.mark.parametrize(
    ("best", "kept"),
    [
        ({"save_best": "coco/bbox_oLRP", "rule": "less"}, "best_coco_bbox_oLRP_epoch_3.pth"),
        ({"save_best": "coco/bbox_mAP"}, "best_coco_bbox_mAP_epoch_3.pth"),
        ({"save_best": "auto"}, "best_coco_bbox_mAP_epoch_3.pth"),
    ],
)
def test_the_best_checkpoint_is_kept_although_an_epoch_ends_without_detections(
    best, kept, tmp_path
):
    ann_file = tmp_path / "gt.json"
    annotation = {"id": 1, "image_id": 0, "category_id": 1, "bbox": [10, 10, 40, 40]}
    annotation |= {"area": 1600, "iscrowd": 0}
    content = {
        "images": [{"id": 0, "width": 64, "height": 64}],
        "annotations": [annotation],
        "categories": [{"id": 1, "name": "thing"}],
    }
    ann_file.write_text(json.dumps(content))
    loader = {
        "dataset": OneImage(),
        "batch_size": 1,
        "num_workers": 0,
        "sampler": {"type": "DefaultSampler", "shuffle": False},
    }
    config = {
        "default_scope": "mmdet",
        "work_dir": str(tmp_path / "run"),
        "train_dataloader": loader,
        "val_dataloader": copy.deepcopy(loader),
        "train_cfg": {"type": "EpochBasedTrainLoop", "max_epochs": 3},
        "val_cfg": {"type": "ValLoop"},
        "val_evaluator": {"type": "CocoLRPMetric", "ann_file": str(ann_file)},
        "optim_wrapper": {"optimizer": {"type": "SGD", "lr": 0.25}},
        "default_hooks": {"checkpoint": {"type": "CheckpointHook", **best}},
        "log_level": "ERROR",
        "experiment_name": tmp_path.name,  # of one name and second they would share their scores
    }
    Runner(model=Improving(), **config).train()
    assert [path.name for path in (tmp_path / "run").glob("best_*.pth")] == [kept]


def evaluate_part(rank, port, samples, names, queue):
    """Evaluate every second image, as one of two processes."""
    os.environ.update(MASTER_ADDR="127.0.0.1", MASTER_PORT=str(port))
    torch.distributed.init_process_group("gloo", rank=rank, world_size=2)
    metric = build("CocoLRPMetric")
    found = run_part(metric, samples[rank::2], names, len(samples))
    panoptic, meta, _ = panoptic_samples()
    metric = panoptic_metric()
    metric.dataset_meta = meta
    metric.process({}, panoptic[rank::2])
    queue.put((rank, found, metric.evaluate(size=len(panoptic))))
    leave_processes()


def run_part(metric, samples, names, size):
    metric.dataset_meta = {"classes": names}
    metric.process({}, samples)
    return metric.evaluate(size=size)


def test_two_processes(ground_truth, samples):
    names = classes(ground_truth)
    boxes = copy.deepcopy(samples)
    for sample in boxes:
        del sample["pred_instances"]["masks"]
    expected = run(build("CocoLRPMetric"), boxes, names)
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        port = server.getsockname()[1]
    queue = mp.get_context("spawn").SimpleQueue()
    spawn(evaluate_part, (port, boxes, names, queue), 2)
    for _ in range(2):
        _, found, panoptic = queue.get()
        assert found == pytest.approx(expected, abs=1e-12)
        check_panoptic(panoptic)


@pytest.mark.parametrize("first_id", [1, 0])
def test_lvis_metric(first_id, tmp_path):
    pytest.importorskip("lvis")
    from mmdet_rank.evaluation.lvis import evaluate_lvis

    # MMDetection's own LVISMetric stops on np.float here, so its figures are not compared.
    ground_truth = json.loads((SYNTHETIC / "gt.json").read_text())
    rng = np.random.default_rng(0)
    ids = [category["id"] for category in ground_truth["categories"]]
    for image in ground_truth["images"]:
        image["neg_category_ids"] = [i for i in ids if rng.random() < 0.5]
        image["not_exhaustive_category_ids"] = [i for i in ids if rng.random() < 0.2]
    for category in ground_truth["categories"]:
        category["frequency"] = "rcf"[category["id"] // 3 % 3]
    for number, annotation in enumerate(ground_truth["annotations"]):
        annotation["id"] = first_id + number
    ann_file = tmp_path / "lvis.json"
    ann_file.write_text(json.dumps(ground_truth))
    results = json.loads((SYNTHETIC / "dt.json").read_text())
    for detection in results:
        del detection["segmentation"]
    expected = evaluate_lvis(ground_truth, results).report()
    samples = []
    for image in ground_truth["images"]:
        here = [d for d in results if d["image_id"] == image["id"]]
        boxes = torch.tensor([d["bbox"] for d in here], dtype=torch.float64).reshape(-1, 4)
        boxes[:, 2:] += boxes[:, :2]
        samples.append(
            {
                "img_id": image["id"],
                "ori_shape": (image["height"], image["width"]),
                "pred_instances": {
                    "bboxes": boxes,
                    "scores": torch.tensor([d["score"] for d in here], dtype=torch.float64),
                    "labels": torch.tensor([ids.index(d["category_id"]) for d in here]).long(),
                },
            }
        )
    metric = METRICS.build({"type": "LVISLRPMetric", "ann_file": str(ann_file), "classwise": True})
    found = run(metric, samples, classes(ground_truth))
    for key in ERRORS:
        assert found[f"lvis/bbox_{key}"] == pytest.approx(expected[key], abs=1e-9)
    for key in ("AP", "AP50", "APr", "APf"):
        assert found[f"lvis/bbox_{key}"] == pytest.approx(expected[key], abs=5e-4)


@pytest.mark.parametrize("backend", ["auto", "pycocotools"])
def test_scores_that_are_no_numbers_are_left_out_and_told(
    ground_truth, samples, backend, monkeypatch
):
    told = []
    logger = MMLogger.get_current_instance()
    monkeypatch.setattr(logger, "warning", told.append)
    names = classes(ground_truth)
    full, places = copy.deepcopy(samples), ((0, 0), (2, 1))
    without = copy.deepcopy(samples)
    for (image, place), wrong in zip(places, (math.nan, math.inf), strict=True):
        full[image]["pred_instances"]["scores"][place] = wrong
        kept = torch.arange(len(without[image]["pred_instances"]["scores"])) != place
        found = without[image]["pred_instances"]
        without[image]["pred_instances"] = {key: value[kept] for key, value in found.items()}
    figures = run(build("CocoLRPMetric", backend=backend), full, names)
    assert figures == pytest.approx(
        run(build("CocoLRPMetric", backend=backend), without, names), nan_ok=True
    )
    (text,) = told
    assert f"2 of {sum(len(s['pred_instances']['scores']) for s in samples)} detections" in text
    assert f"the first in image {samples[0]['img_id']}" in text
