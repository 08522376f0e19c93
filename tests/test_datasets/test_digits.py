"""The digits data set: what it promises about its images, its annotations and its folder."""

from __future__ import annotations

import json

import numpy as np
import pytest
from pycocotools.coco import COCO

from mmdet_rank.datasets.digits.build import build_digits, plan_labels
from mmdet_rank.datasets.digits.compose import MIN_VISIBLE, compose
from mmdet_rank.datasets.digits.metainfo import METAINFO
from mmdet_rank.datasets.digits.motion import MAX_SPEED, compose_clip
from mmdet_rank.datasets.digits.options import DigitsOptions
from mmdet_rank.datasets.digits.sources import load_photographs, load_scans

SMALL = DigitsOptions(train=40, val=12, size=96, seed=3)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    out = tmp_path_factory.mktemp("made") / "digits"
    report = build_digits(out, SMALL, progress=False)
    assert report.made
    return out


def load(folder, split):
    return COCO(str(folder / "annotations" / f"instances_{split}.json"))


def test_no_scan_and_no_pixel_of_a_photograph_is_shared(folder):
    train, val = load_scans("train"), load_scans("val")
    assert set(train.indices) | set(val.indices) == set(range(1797))
    assert not set(train.indices) & set(val.indices)
    for scans in (train, val):
        assert set(scans.labels) == set(range(10))
        assert scans.images.min() >= 0
        assert scans.images.max() == 1
    used = [
        {annotation["scan"] for annotation in load(folder, split).anns.values()}
        for split in ("train", "val")
    ]
    assert not used[0] & used[1]
    for left, right in zip(load_photographs("train"), load_photographs("val"), strict=True):
        assert left.shape[1] + right.shape[1] == 640
        assert left.shape[0] == right.shape[0] == 427


def test_scans_carry_the_label_of_their_annotation(folder):
    coco = load(folder, "train")
    labels = load_scans("train").labels
    for annotation in coco.anns.values():
        assert annotation["category_id"] == labels[annotation["scan"]] + 1
    assert tuple(category["name"] for category in coco.cats.values()) == METAINFO["classes"]


@pytest.mark.parametrize("split", ["train", "val"])
def test_boxes_are_tight_around_the_visible_masks(folder, split):
    coco = load(folder, split)
    assert len(coco.imgs) == getattr(SMALL, split)
    assert len(coco.anns) >= 2 * len(coco.imgs)
    covered = {}
    for annotation in coco.anns.values():
        mask = coco.annToMask(annotation).astype(bool)
        assert mask.shape == (SMALL.size, SMALL.size)
        rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
        x, y, width, height = annotation["bbox"]
        assert (x, x + width) == (columns[0], columns[-1] + 1)
        assert (y, y + height) == (rows[0], rows[-1] + 1)
        assert annotation["area"] == mask.sum()
        seen = covered.setdefault(annotation["image_id"], np.zeros_like(mask))
        assert not (seen & mask).any(), "a pixel shows one digit only"
        seen |= mask


def test_later_digits_cover_earlier_ones_and_leave_enough_of_them():
    photographs, scans = load_photographs("train"), load_scans("train")
    crossed = 0
    for seed in range(20):
        labels = np.random.default_rng(seed).integers(10, size=6)
        rng = np.random.default_rng(seed)
        _, alone = compose(photographs, scans, labels[:1], 128, rng)
        rng = np.random.default_rng(seed)
        picture, together = compose(photographs, scans, labels, 128, rng)
        assert picture.dtype == np.uint8
        assert picture.shape == (128, 128, 3)
        whole, visible = alone[0].mask, together[0].mask
        assert alone[0].scan == together[0].scan
        assert not (visible & ~whole).any()
        assert visible.sum() >= MIN_VISIBLE * whole.sum()
        crossed += visible.sum() < whole.sum()
    assert crossed, "digits never overlapped"


def test_a_digit_differs_from_its_background():
    photographs = [np.full((64, 64, 3), 128, dtype=np.uint8)]
    scans = load_scans("val")
    for seed in range(20):
        rng = np.random.default_rng(seed)
        picture, instances = compose(photographs, scans, np.array([seed % 10]), 64, rng)
        mask = instances[0].mask
        inside = picture[mask].astype(float).mean(axis=0)
        assert np.linalg.norm(inside - 128) > 60
        far = np.ones_like(mask)
        x, y, width, height = instances[0].box
        far[max(y - 3, 0) : y + height + 3, max(x - 3, 0) : x + width + 3] = False
        assert (picture[far] == 128).all()


def test_equal_options_give_equal_files_and_another_seed_gives_others(folder, tmp_path):
    build_digits(tmp_path / "again", SMALL, progress=False)
    files = sorted(path.relative_to(folder) for path in folder.rglob("*") if path.is_file())
    assert len(files) == 40 + 12 + 3 + 1
    for path in files:
        assert (folder / path).read_bytes() == (tmp_path / "again" / path).read_bytes(), path
    build_digits(
        tmp_path / "other", DigitsOptions(train=40, val=12, size=96, seed=4), progress=False
    )
    name = "train/000001.jpg"
    assert (folder / name).read_bytes() != (tmp_path / "other" / name).read_bytes()


@pytest.mark.parametrize("imbalance", [1.0, 5.0, 50.0])
def test_class_frequencies_fall_geometrically_by_the_ratio_asked_for(imbalance):
    options = DigitsOptions(train=1500, val=1, imbalance=imbalance)
    plan = plan_labels(1500, options, np.random.default_rng(0))
    assert len(plan) == 1500
    assert all(2 <= len(labels) <= 6 for labels in plan)
    counts = np.bincount(np.concatenate(plan), minlength=10)
    expected = np.array(options.class_shares()) * counts.sum()
    np.testing.assert_allclose(counts, expected, atol=1.01)
    assert expected[0] / expected[-1] == pytest.approx(imbalance)
    np.testing.assert_allclose(expected[:-1] / expected[1:], imbalance ** (1 / 9))


def test_imbalance_reaches_the_annotations_of_both_splits(tmp_path):
    options = DigitsOptions(train=120, val=120, size=64, imbalance=8)
    report = build_digits(tmp_path / "digits", options, progress=False)
    for split in ("train", "val"):
        per_class = report.counts[split]["per_class"]
        assert per_class["zero"] / per_class["nine"] == pytest.approx(8, rel=0.15)
        annotations = load(tmp_path / "digits", split).anns.values()
        assert per_class["zero"] == sum(a["category_id"] == 1 for a in annotations)
        assert report.counts[split]["digits"] == len(annotations)


def test_the_test_dev_like_file_has_the_images_but_no_annotations(folder):
    whole = json.loads((folder / "annotations/instances_val.json").read_text())
    info = json.loads((folder / "annotations/image_info_val.json").read_text())
    assert "annotations" not in info
    assert info["images"] == whole["images"]
    assert info["categories"] == whole["categories"]


def test_a_second_run_finds_what_is_there(folder):
    before = (folder / "manifest.json").stat().st_mtime_ns
    report = build_digits(folder, SMALL, progress=False)
    assert not report.made
    assert report.counts["train"]["images"] == 40
    assert (folder / "manifest.json").stat().st_mtime_ns == before


def test_other_options_are_an_error_unless_overwriting_is_asked_for(tmp_path):
    out = tmp_path / "digits"
    build_digits(out, DigitsOptions(train=3, val=2, size=64), progress=False)
    other = DigitsOptions(train=4, val=2, size=64)
    with pytest.raises(FileExistsError, match="--train 3 is there, --train 4 is asked for"):
        build_digits(out, other, progress=False)
    assert len(list((out / "train").iterdir())) == 3
    assert build_digits(out, other, overwrite=True, progress=False).made
    assert len(list((out / "train").iterdir())) == 4
    assert [path.name for path in tmp_path.iterdir()] == ["digits"]


def test_a_damaged_data_set_is_an_error(tmp_path):
    out = tmp_path / "digits"
    options = DigitsOptions(train=3, val=2, size=64)
    build_digits(out, options, progress=False)
    (out / "train" / "000002.jpg").unlink()
    with pytest.raises(FileExistsError, match="changed, added or lost"):
        build_digits(out, options, progress=False)


def test_foreign_files_are_never_touched(tmp_path):
    (tmp_path / "holiday.jpg").write_text("mine")
    with pytest.raises(FileExistsError, match="holds no digits data set"):
        build_digits(tmp_path, SMALL, overwrite=True, progress=False)
    assert [path.name for path in tmp_path.iterdir()] == ["holiday.jpg"]
    with pytest.raises(NotADirectoryError, match="is a file"):
        build_digits(tmp_path / "holiday.jpg", SMALL, progress=False)


def test_an_interrupted_run_leaves_nothing_behind(tmp_path, monkeypatch):
    def interrupt(*args):
        raise KeyboardInterrupt

    monkeypatch.setattr("mmdet_rank.datasets.digits.build.write_manifest", interrupt)
    with pytest.raises(KeyboardInterrupt):
        build_digits(tmp_path / "digits", DigitsOptions(train=2, val=1, size=64), progress=False)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("wrong", "error", "message"),
    [
        (dict(train=0), ValueError, "train to be at least 1, but got 0"),
        (dict(val=-1), ValueError, "val to be at least 1, but got -1"),
        (dict(size=32), ValueError, "size to be from 64 to 1024, but got 32"),
        (dict(size=4096), ValueError, "size to be from 64 to 1024, but got 4096"),
        (dict(seed=-1), ValueError, "seed to be at least 0"),
        (dict(imbalance=0.5), ValueError, "at least 1, but got 0.5"),
        (dict(imbalance=float("nan")), ValueError, "finite"),
        (dict(imbalance=float("inf")), ValueError, "finite"),
        (dict(imbalance="8"), TypeError, "a number"),
        (dict(train=1.5), TypeError, "train to be an integer"),
        (dict(train=True), TypeError, "train to be an integer"),
    ],
)
def test_wrong_options_are_refused(wrong, error, message):
    with pytest.raises(error, match=message):
        DigitsOptions(**wrong)


def test_an_unknown_split_is_refused():
    for load_part in (load_scans, load_photographs):
        with pytest.raises(ValueError, match="but got 'test'"):
            load_part("test")


def test_mmdetection_loads_boxes_and_masks(folder):
    from mmdet.datasets import CocoDataset
    from mmdet.datasets.transforms import LoadAnnotations, PackDetInputs
    from mmdet.structures import DetDataSample
    from mmdet.utils import register_all_modules

    register_all_modules()
    dataset = CocoDataset(
        data_root=str(folder),
        ann_file="annotations/instances_train.json",
        data_prefix=dict(img="train/"),
        metainfo=METAINFO,
        filter_cfg=dict(filter_empty_gt=True, min_size=32),
        pipeline=[
            dict(type="LoadImageFromFile"),
            dict(type=LoadAnnotations, with_bbox=True, with_mask=True),
            dict(type=PackDetInputs),
        ],
    )
    assert len(dataset) == SMALL.train
    coco = load(folder, "train")
    sample = dataset[0]
    assert sample["inputs"].shape == (3, SMALL.size, SMALL.size)
    assert isinstance(sample["data_samples"], DetDataSample)
    truth = sample["data_samples"].gt_instances
    annotations = coco.imgToAnns[sample["data_samples"].img_id]
    assert truth.labels.tolist() == [a["category_id"] - 1 for a in annotations]
    masks = np.stack([coco.annToMask(a) for a in annotations])
    np.testing.assert_array_equal(truth.masks.masks, masks)
    boxes = np.array([a["bbox"] for a in annotations])
    boxes[:, 2:] += boxes[:, :2]
    np.testing.assert_array_equal(truth.bboxes.tensor.numpy(), boxes)


CLIPS = DigitsOptions(train=1, val=3, size=96, seed=3, frames=9)


@pytest.fixture(scope="module")
def clips(tmp_path_factory):
    out = tmp_path_factory.mktemp("clips") / "digits"
    report = build_digits(out, CLIPS, progress=False)
    assert (report.counts["train"]["images"], report.counts["val"]["images"]) == (9, 27)
    return out


def test_frames_of_a_clip_are_numbered(clips):
    content = json.loads((clips / "annotations" / "instances_val.json").read_text())
    assert [video["id"] for video in content["videos"]] == [1, 2, 3]
    assert [(i["video_id"], i["frame_id"]) for i in content["images"]] == [
        (video, frame) for video in (1, 2, 3) for frame in range(9)
    ]
    assert [image["id"] for image in content["images"]] == list(range(1, 28))


def test_digits_of_a_clip_keep_what_they_are_and_move_a_little(clips):
    coco = load(clips, "val")
    tracks = {}
    for annotation in coco.anns.values():
        image = coco.imgs[annotation["image_id"]]
        track = tracks.setdefault((image["video_id"], annotation["instance_id"]), {})
        track[image["frame_id"]] = annotation
    assert len(tracks) >= 6
    moved = []
    for track in tracks.values():
        assert len({(a["category_id"], a["scan"]) for a in track.values()}) == 1
        for frame in sorted(track)[1:]:
            if frame - 1 in track:
                before, now = (np.array(track[f]["bbox"]) for f in (frame - 1, frame))
                # Where another digit covers one, its box changes by more.
                if (before[2:] == now[2:]).all():
                    moved.append(np.abs(before[:2] - now[:2]).max())
    assert max(moved) <= np.ceil(MAX_SPEED * 96)
    assert np.mean(moved) > 0.3


def test_hidden_digits_are_no_objects_of_their_frame():
    rng = np.random.default_rng(0)
    photographs, scans = load_photographs("val"), load_scans("val")
    labels = np.arange(40) % 10
    ((_, seen),) = compose_clip(photographs, scans, labels, 96, 1, rng)
    assert 0 < len(seen) < 40
    assert all(instance.mask.any() for instance in seen)
    # The last one pasted is whole.
    assert seen[-1].track == 39


def test_a_set_of_stills_that_is_older_than_clips_is_found(tmp_path):
    options = DigitsOptions(train=2, val=1, size=64)
    build_digits(tmp_path / "digits", options, progress=False)
    file = tmp_path / "digits" / "manifest.json"
    manifest = json.loads(file.read_text())
    del manifest["options"]["frames"]
    file.write_text(json.dumps(manifest))
    assert not build_digits(tmp_path / "digits", options, progress=False).made
    with pytest.raises(FileExistsError, match="--frames 1 is there, --frames 2 is asked for"):
        build_digits(tmp_path / "digits", DigitsOptions(train=2, val=1, size=64, frames=2))
