"""Data set, network and metric of cracks: built by config, trained by the tool."""

import json
import logging
import re
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import commands
import numpy as np
import pytest
import torch
from crack_folder import make_folder
from mmengine.config import Config
from mmengine.registry import init_default_scope
from mmengine.runner import Runner
from mmengine.structures import PixelData
from mmseg.registry import DATASETS, METRICS, MODELS, TRANSFORMS
from mmseg.structures import SegDataSample
from PIL import Image
from torch.nn.modules.batchnorm import _BatchNorm

import mmdet_rank.segmentation  # noqa: F401
from mmdet_rank.cli.config import move_data
from mmdet_rank.segmentation.augmentation import FIGURE_2

CRACKS = Path(__file__).resolve().parents[2] / "configs" / "cracks"
CONFIGS = sorted(CRACKS.glob("hfm-*.py"))
TINY = dict(
    model=dict(
        backbone=dict(base_channels=4),
        decode_head=dict(in_channels=[4, 8, 16, 32, 64], decoder_channels=[4, 8, 16, 32]),
    ),
    train_cfg=dict(max_iters=4, val_interval=4),
    train_dataloader=dict(batch_size=2, num_workers=0, persistent_workers=False),
    val_dataloader=dict(num_workers=0, persistent_workers=False),
    test_dataloader=dict(num_workers=0, persistent_workers=False),
    default_hooks=dict(checkpoint=dict(interval=2), logger=dict(interval=1)),
)


@pytest.fixture(autouse=True)
def scope():
    init_default_scope("mmseg")
    yield
    init_default_scope("mmdet")


def build_dataset(root, **options):
    return DATASETS.build(dict(type="MaskFolderDataset", data_root=str(root), **options))


def tiny_config(tmp_path, name="hfm-unet-s_1xb16-1k_96x96"):
    cfg = Config.fromfile(CRACKS / f"{name}.py")
    cfg.merge_from_dict(TINY)
    path = tmp_path / f"{name}.py"
    cfg.dump(path)
    return str(path)


def scalars(work_dir):
    """The lines of a run's log file, of all its starts."""
    lines = []
    for path in sorted(Path(work_dir).glob("*/vis_data/scalars.json")):
        lines += [json.loads(line) for line in path.read_text().splitlines()]
    return lines


def test_splits_share_the_images_out(tmp_path):
    root = make_folder(tmp_path / "data", number=10)
    train, val = (
        {info["img_path"] for info in build_dataset(root, split=split)}
        for split in ("train", "val")
    )
    assert len(train) == 8
    assert len(val) == 2
    assert not train & val
    again = {info["img_path"] for info in build_dataset(root, split="train")}
    assert again == train
    other = {info["img_path"] for info in build_dataset(root, split="train", split_seed=1)}
    assert other != train
    assert len(build_dataset(root)) == 10
    for options, message in (
        (dict(split="test"), "split 'train', 'val' or 'all'"),
        (dict(train_share=1.5), "train_share between 0 and 1"),
        (dict(split="val", train_share=0.99), "images for split='val'"),
    ):
        with pytest.raises(ValueError, match=message):
            build_dataset(root, **options)


def test_masks_are_checked_before_training(tmp_path, caplog):
    root = make_folder(tmp_path / "data", number=3)
    Image.new("L", (40, 48), 0).save(root / "masks" / "0.png")  # empty
    Image.new("L", (40, 48), 255).save(root / "masks" / "1.png")  # all foreground
    sample = build_dataset(root, pipeline=[dict(type="LoadMask")])[1]
    assert sample["gt_seg_map"].min() == 1
    Image.new("L", (40, 48), 90).save(root / "masks" / "2.png")
    with caplog.at_level(logging.WARNING, logger="mmengine"):
        build_dataset(root)
    Image.new("L", (48, 40), 0).save(root / "masks" / "2.png")
    with pytest.raises(ValueError, match=r"40 x 48 pixels in .*2\.png"):
        build_dataset(root)
    assert len(build_dataset(root, check_masks=False)) == 3


def test_pipeline_of_the_config(tmp_path):
    root = make_folder(tmp_path / "data")
    cfg = Config.fromfile(CRACKS / "hfm-unet-s_1xb16-1k_96x96.py")
    move_data(cfg, cfg.data_root, str(root))
    train, val = (DATASETS.build(cfg[f"{name}_dataloader"].dataset) for name in ("train", "val"))
    np.random.seed(3)  # noqa: NPY002
    first = train[0]
    assert first["inputs"].shape == (3, 96, 96)
    mask = first["data_samples"].gt_sem_seg.data
    assert mask.shape == (1, 96, 96)
    assert mask.unique().tolist() == [0, 1]
    np.random.seed(3)  # noqa: NPY002
    again = train[0]
    assert torch.equal(again["inputs"], first["inputs"])
    assert torch.equal(again["data_samples"].gt_sem_seg.data, mask)
    assert not torch.equal(train[0]["inputs"], first["inputs"])
    assert val[0]["data_samples"].gt_sem_seg.data.shape == (1, 48, 40)


def test_augmentation_moves_the_mask_with_the_image():
    geometry = TRANSFORMS.build(dict(type="CrackAugmentation", transforms=FIGURE_2[:2]))
    np.random.seed(0)  # noqa: NPY002
    rng = np.random.default_rng(0)
    image = rng.integers(0, 256, (8, 8, 3)).astype(np.uint8)
    seen = set()
    for _ in range(100):
        out = geometry(dict(img=image.copy(), gt_seg_map=image[..., 0].copy()))
        assert (out["img"][..., 0] == out["gt_seg_map"]).all()
        seen.add(out["gt_seg_map"].tobytes())
    assert len(seen) == 8  # all turns and reflections


def test_sync_bn_of_the_page_reaches_the_whole_network(monkeypatch):
    ((key, value),) = re.findall(
        r"--cfg-options (sync_bn)=(\w+)", (CRACKS.parents[1] / "docs" / "cracks.md").read_text()
    )
    cfg = Config.fromfile(CRACKS / "hfm-unet-s_1xb16-1k_96x96.py")
    cfg.merge_from_dict(dict(model=TINY["model"]) | {key: value})
    # One process stands for several: the model is converted before it is wrapped.
    monkeypatch.setattr(
        "mmengine.runner.runner.MMDistributedDataParallel", lambda module, **_: module
    )
    monkeypatch.setenv("LOCAL_RANK", "0")
    runner = SimpleNamespace(distributed=True, cfg=cfg)
    model = Runner.wrap_model(runner, None, MODELS.build(cfg.model))
    for part in (model.backbone, model.decode_head):
        kinds = {type(module) for module in part.modules() if isinstance(module, _BatchNorm)}
        assert kinds == {torch.nn.SyncBatchNorm}


def test_every_config_builds_its_loss():
    for path in sorted(CRACKS.glob("*.py")):
        head = Config.fromfile(path).model.decode_head
        loss = MODELS.build(head.loss_decode)
        assert loss.loss_name.startswith("loss_")


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.stem)
def test_config_predicts_at_the_size_of_the_image(path):
    model = MODELS.build(Config.fromfile(path).model).eval()
    with torch.no_grad():
        assert model(torch.rand(1, 3, 64, 96)).shape == (1, 1, 64, 96)


def test_decoder_has_levels_for_all_features():
    with pytest.raises(ValueError, match="at least 2 decoder_channels for 3 feature maps"):
        MODELS.build(
            dict(type="ResidualUNetHead", in_channels=[4, 8, 16], decoder_channels=[4],
                 num_classes=2, out_channels=1, threshold=0.5)
        )  # fmt: skip


@pytest.mark.parametrize("foreground", [1, 0])
def test_metric_of_one_and_of_two_channels(foreground):
    gen = torch.Generator().manual_seed(0)
    label = (torch.rand(1, 12, 9, generator=gen) < 0.3).long()
    label[0, 0] = 255
    logits = torch.randn(2, 12, 9, generator=gen)
    difference = logits[1:] - logits[:1]
    figures = []
    for scores in (difference.sigmoid(), logits):
        metric = METRICS.build(dict(type="PixelMetric", foreground=foreground))
        sample = dict(
            gt_sem_seg=dict(data=label),
            pred_sem_seg=dict(data=(difference > 0).long()),
            seg_logits=dict(data=scores),
        )
        metric.process({}, [sample, sample])
        figures.append(metric.evaluate(2))
    assert figures[0] == pytest.approx(figures[1])
    kept = label != 255
    pred, true = (difference > 0)[kept] == foreground, label[kept] == foreground
    iou = (pred & true).sum() / (pred | true).sum()
    assert figures[0]["pixels/IoU"] == pytest.approx(iou.item())


def merged_views(views, channels):
    """The prediction of one image that the config's tta_model makes of the scores of its views."""
    cfg = Config.fromfile(CRACKS / "hfm-unet-s_1xb16-1k_96x96.py")
    cfg.merge_from_dict(dict(model=TINY["model"]))
    cfg.model.decode_head.out_channels = channels
    model = MODELS.build(dict(**cfg.tta_model, module=cfg.model))
    samples = [
        SegDataSample(
            metainfo=dict(img_path="a.jpg", flip=bool(i)),
            seg_logits=PixelData(data=torch.tensor(view)),
        )
        for i, view in enumerate(views)
    ]
    (merged,) = model.merge_preds([samples])
    assert not merged.flip
    return merged


def test_views_of_one_channel_are_averaged_as_probabilities():
    merged = merged_views([[[[0.1, 0.7], [0.9, 0.2]]], [[[0.3, 0.5], [0.5, 0.7]]]], channels=1)
    mean = torch.tensor([[[0.2, 0.6], [0.7, 0.45]]])
    torch.testing.assert_close(merged.seg_logits.data, mean)
    assert merged.pred_sem_seg.data.tolist() == [[[0, 1], [1, 0]]]


def test_views_of_two_channels_are_averaged_as_probabilities():
    views = [[[[0.0, 0.0]], [[4.0, -1.0]]], [[[0.0, 0.0]], [[-1.0, -1.0]]]]
    merged = merged_views(views, channels=2)
    mean = torch.tensor([[4.0, -1.0], [-1.0, -1.0]]).sigmoid().mean(0)
    torch.testing.assert_close(merged.seg_logits.data.softmax(0)[1, 0], mean)
    assert merged.pred_sem_seg.data.tolist() == [[[1, 0]]]


def test_background_stays_background_with_tta(tmp_path):
    root = make_folder(tmp_path / "data", number=4)
    config = tiny_config(tmp_path)
    cfg = Config.fromfile(config)
    model = MODELS.build(cfg.model)
    torch.nn.init.zeros_(model.decode_head.conv_seg.weight)
    torch.nn.init.constant_(model.decode_head.conv_seg.bias, -4.0)
    weights = str(tmp_path / "weights.pth")
    torch.save(dict(state_dict=model.state_dict()), weights)
    options = ["--tta", "--cfg-options", f"data_root={root}"]
    figures = commands.figures([config, weights, "--work-dir", str(tmp_path / "test"), *options])
    assert figures["pixels/recall"] == 0


@pytest.mark.parametrize("loss", ["hfm", "bce-dice", "alrp"])
def test_mixed_precision(tmp_path, loss):
    root = make_folder(tmp_path / "data")
    config = tiny_config(tmp_path, f"{loss}-unet-s_1xb16-1k_96x96")
    folder = tmp_path / "run"
    move = ["--cfg-options", f"data_root={root}"]
    assert commands.train([config, "--work-dir", str(folder), "--amp", *move]) == 0
    cfg = Config.fromfile(next(folder.glob("*.py")))
    half = "AmpOptimWrapper" if torch.cuda.is_available() else "BFloat16OptimWrapper"
    assert cfg.optim_wrapper.type.endswith(half)
    logged = scalars(folder)
    losses = [line["loss"] for line in logged if "loss" in line]
    assert len(losses) == 4
    assert all(0 < value < 10 for value in losses)
    weights = torch.load(folder / "iter_4.pth", weights_only=False)["state_dict"]
    assert {value.dtype for value in weights.values()} <= {torch.float32, torch.int64}
    assert all(value.isfinite().all() for value in weights.values())


def check_resume(arguments, whole, rest, middle, last):
    """A training that goes on from a checkpoint of another ends with its weights."""
    config, *options = arguments
    assert commands.train([config, "--work-dir", str(whole), *options]) == 0
    resume = ["--resume", str(whole / middle)]
    assert commands.train([config, "--work-dir", str(rest), *resume, *options]) == 0
    models = [
        torch.load(folder / last, weights_only=False)["state_dict"] for folder in (whole, rest)
    ]
    assert all(torch.equal(models[0][key], models[1][key]) for key in models[0])


def test_training_resumes_exactly_and_tests(tmp_path):
    root = make_folder(tmp_path / "data")
    config = tiny_config(tmp_path, "rs-unet-s_1xb16-1k_96x96")
    move = ["--cfg-options", f"data_root={root}"]
    whole = tmp_path / "whole"
    check_resume([config, *move], whole, tmp_path / "rest", "iter_2.pth", "iter_4.pth")
    validated = [line for line in scalars(whole) if "pixels/IoU" in line][-1]
    test = tmp_path / "test"
    figures = commands.figures(
        [config, str(whole / "iter_4.pth"), "--work-dir", str(test), "--show-dir", "shown", *move]
    )
    assert len(list((test / "shown").rglob("*.png"))) == 2
    assert figures["pixels/AP"] == pytest.approx(validated["pixels/AP"], abs=1e-6)


def test_checkpoints_and_figures_go_by_the_loop():
    for path in sorted(CRACKS.glob("*.py")):
        cfg = Config.fromfile(path)
        by_epoch = cfg.train_cfg.type == "EpochBasedTrainLoop"
        hooks = cfg.default_hooks
        assert by_epoch == ("100e" in path.stem)
        assert hooks.checkpoint.by_epoch is cfg.log_processor.by_epoch is by_epoch
        assert hooks.logger.log_metric_by_epoch is by_epoch
        assert hooks.checkpoint.interval == cfg.train_cfg.val_interval
        assert hooks.checkpoint.save_best == "pixels/ODS"


def test_training_by_epochs_resumes_exactly(tmp_path):
    root = make_folder(tmp_path / "data")
    cfg = Config.fromfile(CRACKS / "hfm-unet-vgg_1xb16-100e_96x96.py")
    cfg.merge_from_dict({key: TINY[key] for key in TINY if key not in ("model", "train_cfg")})
    cfg.model.backbone.base_channels = 2
    cfg.model.decode_head.update(in_channels=[2, 4, 8, 16], decoder_channels=[2, 4, 8])
    cfg.train_cfg.update(max_epochs=2, val_interval=2)
    cfg.default_hooks.checkpoint.interval = 1
    config = str(tmp_path / "vgg.py")
    cfg.dump(config)
    move = ["--cfg-options", f"data_root={root}"]
    whole = tmp_path / "whole"
    check_resume([config, *move], whole, tmp_path / "rest", "epoch_1.pth", "epoch_2.pth")
    (validated,) = [line for line in scalars(whole) if "pixels/IoU" in line]
    assert validated["step"] == 2


def test_data_without_foreground_trains_to_zeros(tmp_path):
    root = make_folder(tmp_path / "data", number=4, width=0)
    config = tiny_config(tmp_path)
    work_dir = tmp_path / "run"
    arguments = ["--work-dir", str(work_dir), "--amp", "--cfg-options", f"data_root={root}"]
    assert commands.train([config, *arguments]) == 0
    lines = scalars(work_dir)
    losses = [line["loss"] for line in lines if "loss" in line]
    assert len(losses) == 4
    assert np.isfinite(losses).all()
    assert losses[-1] < losses[0]
    figures = [line for line in lines if "pixels/IoU" in line]
    assert figures[-1]["pixels/IoU"] == 0


def test_a_mistake_is_one_sentence(tmp_path, capsys):
    root = make_folder(tmp_path / "data")
    (root / "masks" / "3.png").unlink()
    config = tiny_config(tmp_path)
    arguments = ["--work-dir", str(tmp_path / "run"), "--cfg-options", f"data_root={root}"]
    assert commands.train([config, *arguments]) == 1
    message = capsys.readouterr().err
    assert "Expected a mask in" in message
    assert "3.jpg" in message
    assert "Traceback" not in message


def test_without_mmseg_one_sentence_says_what_to_install():
    code = (
        "import sys; sys.modules['mmseg'] = None\n"
        "import mmdet_rank.register\n"
        "import mmdet_rank.segmentation\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    last = done.stderr.strip().splitlines()[-1]
    assert done.returncode == 1
    assert last.startswith("ImportError: Expected MMSegmentation for mmdet_rank.segmentation")
