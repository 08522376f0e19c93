"""metafile.yml and README of each folder of configs: every config, and what was published of it."""

import re

import pytest
import yaml

import configs

FOLDERS = ["rank_sort", "alrp", "ap_loss", "digits", "lite", "yolov8", "reg", "cracks"]
# Published (box AP, mask AP) of a config, by what its name begins with; the longest one counts.
PUBLISHED = {
    "rs-atss_r50": (39.9, None),
    "rs-paa_r50": (41.0, None),
    "rs-faster-rcnn_r50_fpn_4xb4-1x": (39.6, None),
    "rs-faster-rcnn_r50_fpn-carafe": (40.8, None),
    "rs-faster-rcnn_r50_fpn_samplers": (38.5, None),
    "rs-faster-rcnn_r50_fpn_rcnn-sampler": (39.3, None),
    "rs-faster-rcnn_r50_fpn_4xb8-ssd-500": (41.2, None),
    "rs-faster-rcnn_r101-dcn_fpn_": (47.6, None),
    "rs-faster-rcnn_r101-dcn_fpn-carafe": (47.6, None),
    "rs-cascade-rcnn_r50": (41.3, None),
    "rs-mask-rcnn_r50_fpn_4xb4": (40.0, 36.4),
    "rs-mask-rcnn_r50_fpn-carafe": (41.1, 37.3),
    "rs-mask-rcnn_r50_fpn_sample1e-3": (25.9, 25.2),
    "rs-mask-rcnn_r101_fpn_": (44.7, 40.3),
    "rs-mask-rcnn_r101_fpn-carafe": (46.1, 41.4),
    "rs-mask-rcnn_r101-dcn_fpn-carafe": (48.7, 43.5),
    "rs-mask-rcnn_x101-64x4d-dcn_fpn-carafe": (49.9, 44.4),
    "rs-yolact_r50": (33.8, 29.9),
    "rs-solov2-light_r34": (None, 32.6),
    "rs-solov2_r101": (None, 39.7),
    "alrp-retinanet_r50_fpn_atss-assign_4xb8-ssd-500-100e": (41.3, None),
    "alrp-retinanet_r50_fpn_atss-assign_4xb8-ssd-500-step-60-80": (40.2, None),
    "alrp-retinanet_r50_fpn_iou-assign": (38.9, None),
    "alrp-retinanet_r101_fpn_atss-assign_4xb8-ssd-500": (42.8, None),
    "alrp-retinanet_x101-64x4d_fpn_atss-assign_4xb8-ssd-500": (44.6, None),
    "alrp-retinanet_r101_fpn_atss-assign_4xb4-ssd-800": (45.9, None),
    "alrp-retinanet_x101-64x4d_fpn_atss-assign_4xb4-ssd-800": (47.8, None),
    "alrp-retinanet_x101-64x4d-dcn": (48.9, None),
    "alrp-foveabox": (39.7, None),
    "alrp-faster-rcnn_r50_fpn_4xb8-ssd-500": (40.7, None),
    "alrp-faster-rcnn_r50_fpn_4xb4-1x": (37.4, None),
    "alrp-atss": (37.7, None),
    "alrp-paa": (37.7, None),
    "ap-retinanet": (35.5, None),
    "ap-foveabox": (36.5, None),
    "ap-atss": (38.1, None),
    "ap-paa": (35.3, None),
}

every_folder = pytest.mark.parametrize("folder", FOLDERS)


def metafile(folder):
    return yaml.safe_load((configs.CONFIGS / folder / "metafile.yml").read_text())


def readme(folder):
    return (configs.CONFIGS / folder / "README.md").read_text()


def short_name(config):
    return config.rpartition("/")[2].removesuffix(".py")


@every_folder
def test_every_config_is_listed_and_no_other(folder):
    listed, names = metafile(folder), configs.config_names(folder)
    models = listed["Models"]
    assert sorted(model["Config"] for model in models) == [f"configs/{name}" for name in names]
    assert all(model["Name"] == short_name(model["Config"]) for model in models)
    collections = {collection["Name"] for collection in listed["Collections"]}
    assert {model["In Collection"] for model in models} == collections
    linked = set(re.findall(r"\]\(([^)/]*\.py)\)", readme(folder)))
    assert linked == {name.rpartition("/")[2] for name in names}


@every_folder
def test_learning_rate_is_for_the_batch_of_the_name(folder):
    for name in configs.config_names(folder):
        config = configs.load_config(name)
        batch = re.search(r"_(\d+)xb(\d+)-", name)
        processes, images = map(int, batch.groups()) if batch else (1, 8)
        assert config.train_dataloader.batch_size == images, name
        assert config.auto_scale_lr.base_batch_size == processes * images, name


@pytest.mark.parametrize("folder", FOLDERS[:3])
def test_batch_and_epochs_are_those_of_the_name(folder):
    # That names are true is tested beside the settings of each detector.
    epochs = {"1x": 12, "3x": 36, "12e": 12, "50e": 50, "55e": 55, "100e": 100, "300e": 300}
    for model in metafile(folder)["Models"]:
        gpus, per_gpu, schedule = re.search(
            r"_(\d+)xb(\d+)-(?:.*-)?(\d+[xe])(?:-fast)?_", model["Name"] + "_"
        ).groups()
        assert model["Metadata"]["Batch Size"] == int(gpus) * int(per_gpu)
        assert model["Metadata"]["Epochs"] == epochs[schedule]


@pytest.mark.parametrize("folder", FOLDERS[:3])
def test_figures_are_those_published(folder):
    rows = readme(folder).splitlines()
    for model in metafile(folder)["Models"]:
        name = model["Name"]
        known = max((key for key in PUBLISHED if name.startswith(key)), key=len, default=None)
        box, mask = PUBLISHED.get(known, (None, None))
        metrics = {}
        for result in model.get("Results", []):
            metrics |= result["Metrics"]
        expected = {"box AP": box, "mask AP": mask}
        assert metrics == {key: value for key, value in expected.items() if value is not None}
        # The first table that has the config gives the same figures, each in a cell of its own.
        row = next(row for row in rows if f"]({name}.py)" in row)
        cells = [cell.strip().split(" ")[0] for cell in row.split("|")]
        assert all(str(value) in cells for value in metrics.values()), row
        assert cells[-2] == "not", "figures of ours need a command and a machine"
