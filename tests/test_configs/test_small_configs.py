"""The configs of the small data sets train by the very losses of their COCO counterparts."""

import pytest
from mmdet.registry import MODELS
from mmdet.utils import register_all_modules

from configs import config_names, find, load_config


def _pairs():
    """Each config of a small data set with that on COCO of the same detector and loss."""
    coco = {}
    for name in config_names("rank_sort", "alrp", "ap_loss"):
        coco.setdefault(name.split("/")[1].split("_")[0], name)
    for name in config_names("digits", "lite"):
        stem = name.split("/")[1].split("_")[0]
        if stem in coco:
            yield name, coco[stem]


def _built(model, key):
    """Type and plain settings of the losses, defaults among them."""
    register_all_modules()
    losses = [MODELS.build(loss) for loss in find(model, key)]
    plain = (bool, int, float, str)
    return [
        (type(loss), {k: v for k, v in vars(loss).items() if isinstance(v, plain)})
        for loss in losses
    ]


@pytest.mark.parametrize(("small", "coco"), _pairs())
def test_losses(small, coco):
    """Else figures on small data would tell nothing about the detectors of the thesis."""
    one, other = load_config(small).model, load_config(coco).model
    assert find(one, "criterion") == find(other, "criterion")
    for key in ("loss_cls", "loss_bbox", "loss_mask"):
        assert _built(one, key) == _built(other, key)
