"""What the package uses of others beyond their documented interfaces, and where.

What is called stands in one module for each package: ``_mmengine.py``, ``_torch.py``,
``evaluation/`` for pycocotools, ``mmcv_ops/`` for torchvision. What MMDetection's own heads ask
their subclasses to override has to stand in these. A newer version may move any of it. Then the
test of its name fails, and says what to look at.
"""

import importlib
import inspect
import operator

import pytest

#: By package: the versions that all of this was seen with.
SEEN = {
    "mmdet": "onedl-mmdetection 3.5.1",
    "mmengine": "onedl-mmengine 0.10.12",
    "pycocotools": "pycocotools 2.0.11",
    "torch": "torch 2.11.0",
    "torchvision": "torchvision 0.26.0",
}
_HEADS = "mmdet.models.dense_heads"
_SINGLE = "cls_score_list bbox_pred_list score_factor_list mlvl_priors img_meta cfg rescale"
_ASSIGNED = "assign_result num_expected"
#: Module, name, what it takes (None: not asked, or no function), and the file that uses it.
NAMES = [
    (_HEADS, "ATSSHead._init_layers", "", "models/dense_heads/rank_atss_head.py"),
    (_HEADS, "FCOSHead._init_layers", "", "models/dense_heads/rank_fcos_head.py"),
    (
        _HEADS,
        "AnchorHead._get_targets_single",
        "flat_anchors valid_flags gt_instances img_meta gt_instances_ignore",
        "models/dense_heads/grid_anchor_head.py",
    ),
    (
        _HEADS,
        "SOLOV2Head._get_targets_single",
        "gt_instances featmap_sizes",
        "models/dense_heads/rank_solov2_head.py",
    ),
    (_HEADS, "PAAHead._predict_by_feat_single", _SINGLE, "models/dense_heads/rank_paa_head.py"),
    (_HEADS, "PAAHead._bbox_post_process", "results", "models/dense_heads/rank_paa_head.py"),
    (_HEADS, "RPNHead._predict_by_feat_single", _SINGLE, "models/dense_heads/rank_rpn_head.py"),
    (
        _HEADS,
        "YOLACTProtonet._predict_by_feat_single",
        "mask_preds bboxes img_meta rescale cfg",
        "models/dense_heads/rank_yolact_protonet.py",
    ),
    (
        f"{_HEADS}.base_dense_head",
        "BaseDenseHead._bbox_post_process",
        "results cfg rescale with_nms img_meta",
        "models/dense_heads/yolov8_head.py",
    ),
    (
        "mmdet.models.task_modules",
        "BaseSampler._sample_pos",
        _ASSIGNED,
        "models/task_modules/every_proposal_sampler.py",
    ),
    (
        "mmdet.models.task_modules",
        "BaseSampler._sample_neg",
        _ASSIGNED,
        "models/task_modules/every_proposal_sampler.py",
    ),
    ("mmengine.config", "Config._get_cfg_path", "cfg_path filename", "_mmengine.py"),
    ("mmengine.config", "Config.fromfile", "filename", "_mmengine.py"),
    ("mmengine.config.utils", "MODULE2PACKAGE", None, "_mmengine.py"),
    (
        "mmengine.runner",
        "CheckpointLoader.register_scheme",
        "prefixes loader force",
        "_mmengine.py",
    ),
    ("pycocotools.cocoeval", "COCOeval._prepare", "", "evaluation/coco.py"),
    ("torch.serialization", "add_safe_globals", "safe_globals", "_torch.py"),
    ("torch.serialization", "MAGIC_NUMBER", None, "_torch.py"),
    ("torch.nn", "Module._apply", "fn recurse", "criteria/balance.py"),
    ("torch.nn", "Module._load_from_state_dict", "state_dict prefix", "criteria/balance.py"),
]
OPERATORS = {
    "_roi_align_backward": "mmcv_ops/roi.py",
    "_deform_conv2d_backward": "mmcv_ops/deform_conv.py",
}


def moved(what, where):
    package = what.split(".")[0]
    return (
        f"{what}, which mmdet_rank/{where} uses, has moved or takes other arguments: look at what "
        f"{package} does now. It was seen with {SEEN[package]}."
    )


@pytest.mark.parametrize(("module", "name", "parameters", "where"), NAMES)
def test_name_is_where_it_was(module, name, parameters, where):
    message = moved(f"{module}.{name}", where)
    try:
        found = operator.attrgetter(name)(importlib.import_module(module))
    except (ImportError, AttributeError):
        pytest.fail(message)
    if parameters is None:
        return
    taken = [key for key in inspect.signature(found).parameters if key not in ("self", "cls")]
    expected = parameters.split()
    assert taken[: len(expected)] == expected, message


@pytest.mark.parametrize("loop", ["EpochBasedTrainLoop", "IterBasedTrainLoop"])
def test_a_training_loop_counts_its_iterations(loop):
    import mmengine.runner

    found = getattr(mmengine.runner, loop).__init__.__code__.co_names
    assert "_iter" in found, moved(f"mmengine.runner.{loop}._iter", "_mmengine.py")


@pytest.mark.parametrize("name", OPERATORS)
def test_operator_of_torchvision_is_there(name):
    import torch
    import torchvision.ops  # noqa: F401

    assert hasattr(torch.ops.torchvision, name), moved(f"torchvision.{name}", OPERATORS[name])


def test_evaluation_keeps_its_objects_by_image_and_category():
    from mmdet_rank.evaluation.coco import COCO, COCOeval

    truth = COCO()
    box = {"image_id": 1, "category_id": 1, "bbox": [0, 0, 4, 4], "area": 16}
    truth.dataset = {
        "images": [{"id": 1, "height": 8, "width": 8}],
        "categories": [{"id": 1, "name": "a"}],
        "annotations": [box | {"id": 5, "iscrowd": 0}],
    }
    truth.createIndex()
    results = truth.loadRes([box | {"score": 0.5}])
    evaluation = COCOeval(truth, results, "bbox")
    evaluation.evaluate()
    message = moved("pycocotools.cocoeval.COCOeval._gts and .ious", "evaluation/coco.py")
    assert [gt["id"] for gt in evaluation._gts[1, 1]] == [5], message
    assert evaluation.ious[1, 1].tolist() == [[1.0]], message
