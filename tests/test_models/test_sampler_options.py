"""What samplers are given: by MMDetection, by its base configs, and by mistake."""

import mmdet_rank.register  # noqa: F401

import pytest
from mmdet.registry import TASK_UTILS

# What a base config has, and RoI heads add.
BASE = dict(num=128, pos_fraction=0.25, neg_pos_ub=-1, add_gt_as_proposals=True, context=None)
SAMPLERS = ("EveryProposalSampler", "GeneratedPositivesSampler", "OnlineForegroundBalancedSampler")


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("GeneratedPositivesSampler", dict(weight="left_skew"), "'weight'; do you mean weights?"),
        ("GeneratedPositivesSampler", dict(num_generate=64), "'num_generate'; do you mean num_gen"),
        (
            "GeneratedPositivesSampler",
            dict(nms_thr=0.5),
            "'nms_thr'; it has num, pos_fraction, con",
        ),
        (
            "EveryProposalSampler",
            dict(add_gt_as_proposal=False),
            "'add_gt_as_proposal'; do you mean add_gt_as_proposals?",
        ),
        (
            "EveryProposalSampler",
            dict(pos_sampler=dict(type="RandomSampler")),
            "'pos_sampler'; it has add_gt_as_proposals, num, pos_fraction, neg_pos_ub, context. "
            "Write _delete_=True",
        ),
        ("OnlineForegroundBalancedSampler", dict(neg_pos_up=3), "'neg_pos_up'; do you mean neg_po"),
    ],
)
def test_misspelt_options_are_refused(name, options, message):
    with pytest.raises(TypeError) as told:
        TASK_UTILS.build(dict(type=name) | BASE | options)
    assert f"Expected options of {name}, but got {message}" in str(told.value)


@pytest.mark.parametrize("name", SAMPLERS)
def test_options_of_base_configs_are_taken(name):
    sampler = TASK_UTILS.build(dict(type=name) | BASE | dict(neg_pos_ub=3))
    if name == "EveryProposalSampler":
        # It takes all there are, and reads this alone.
        assert sampler.add_gt_as_proposals is True
        without = TASK_UTILS.build(dict(type=name) | BASE | dict(add_gt_as_proposals=False))
        assert without.add_gt_as_proposals is False
    else:
        assert (sampler.num, sampler.pos_fraction, sampler.neg_pos_ub) == (128, 0.25, 3)
        # Generated positives are in the place of the objects' boxes.
        expected = name != "GeneratedPositivesSampler"
        assert sampler.add_gt_as_proposals is expected


@pytest.mark.parametrize("name", ["EveryProposalSampler", "OnlineForegroundBalancedSampler"])
def test_half_of_a_combined_sampler_gets_the_options_of_the_whole(name):
    sampler = TASK_UTILS.build(
        dict(type="CombinedSampler", pos_sampler=dict(type=name), neg_sampler=dict(type=name))
        | BASE
    )
    for half in (sampler.pos_sampler, sampler.neg_sampler):
        assert type(half).__name__ == name
        assert half.add_gt_as_proposals is True
