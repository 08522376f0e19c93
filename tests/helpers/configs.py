"""Reading the project's configs, and running their models on synthetic images."""

from pathlib import Path

import mmdet_rank.register  # noqa: F401

import torch
from mmdet.registry import MODELS
from mmengine.config import Config, ConfigDict
from mmengine.registry import init_default_scope
from synthetic import make_batch

CONFIGS = Path(__file__).parents[2] / "configs"


def config_names(*folders):
    """Names of all configs in the folders, relative to configs/."""
    paths = (path for folder in folders for path in sorted((CONFIGS / folder).glob("*.py")))
    return [str(path.relative_to(CONFIGS)) for path in paths]


def load_config(name):
    """A config by its name relative to configs/."""
    return Config.fromfile(CONFIGS / name)


def find(config, key):
    """All values of a key anywhere in a config, depth first."""
    found = []
    if isinstance(config, (dict, ConfigDict)):
        for name, value in config.items():
            if name == key:
                found.append(value)
            found.extend(find(value, key))
    elif isinstance(config, (list, tuple)):
        for value in config:
            found.extend(find(value, key))
    return found


def without_init_cfg(config):
    """The model config without pretrained weights (a checkpoint or a 'Pretrained' init_cfg)."""
    if isinstance(config, (list, tuple)):
        return type(config)(without_init_cfg(value) for value in config)
    if not isinstance(config, dict):
        return config
    return {
        key: without_init_cfg(value)
        for key, value in config.items()
        if not (key == "init_cfg" and isinstance(value, dict) and value.get("type") == "Pretrained")
    }


def build_model(config):
    """The model of a config, with random weights."""
    init_default_scope("mmdet")
    model = MODELS.build(ConfigDict(without_init_cfg(config.model.to_dict())))
    model.init_weights()
    return model


def train_step(model, num_objects=(2, 0), num_classes=4, size=128, masks=False, seed=0):
    """Losses of a synthetic batch, after the backward pass."""
    model.train()
    images, samples = make_batch(num_objects, num_classes, size, masks, seed)
    data = model.data_preprocessor(
        dict(inputs=list((images * 40 + 120).byte()), data_samples=samples), training=True
    )
    losses = model.loss(data["inputs"], data["data_samples"])
    total, _ = model.parse_losses(losses)
    total.backward()
    return losses


@torch.no_grad()
def predict(model, size=128, num_images=1, seed=0):
    """Predictions for synthetic images."""
    model.eval()
    images, samples = make_batch((1,) * num_images, 1, size, seed=seed)
    data = model.data_preprocessor(
        dict(inputs=list((images * 40 + 120).byte()), data_samples=samples), training=False
    )
    return model.predict(data["inputs"], data["data_samples"])
