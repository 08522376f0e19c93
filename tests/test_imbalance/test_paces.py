"""How fast the loss of each task falls, from a log."""

import pytest

from mmdet_rank.imbalance.paces import measure_paces, unbalanced


def test_losses_of_a_task_are_added_without_their_balance():
    first = {"step": 20, "loss": 9.0, "loss_cls": 1.0, "loss_rpn_cls": 3.0, "loss_bbox": 4.0}
    last = first | {"step": 60, "loss_cls": 0.5, "loss_rpn_cls": 0.5, "loss_bbox": 0.5}
    paces = measure_paces([first | {"balance_bbox": 2.0}, last | {"balance_bbox": 0.5}])
    assert paces["iterations"] == [20, 60]
    assert paces["relative"] == {"classification": [1, 0.25], "boxes": [1, 0.5]}
    assert paces["left"] == {"classification": 0.25, "boxes": 0.5}


@pytest.mark.parametrize(
    ("loss", "balance"),
    [
        ("loss_rpn_bbox", "rpn_balance_bbox"),
        ("d0.loss_iou", "d0.balance_bbox"),
        ("enc_loss_bbox", "enc_balance_bbox"),
        ("loss_dfl", "balance_bbox"),
        ("s1.loss_mask", "s1.balance_mask"),
    ],
)
def test_each_loss_has_its_balance(loss, balance):
    assert unbalanced({loss: 0.6, balance: 3.0}, loss) == pytest.approx(0.2)
    assert unbalanced({loss: 0.6, "balance_cls": 3.0}, loss) == 0.6


def test_a_balance_of_zero_changes_nothing():
    """Without a positive in the batch there is nothing to balance."""
    entries = [{"step": i, "loss": 1.0, "loss_bbox": 2.0, "balance_bbox": 0.0} for i in (1, 2)]
    assert measure_paces(entries)["left"] == {"boxes": 1.0}


def test_an_entry_without_a_task_has_none():
    first = {"step": 1, "loss": 2.0, "loss_cls": 1.0, "loss_mask": 1.0}
    middle = {"step": 2, "loss": 1.0, "loss_cls": 0.5}
    last = {"step": 3, "loss": 1.0, "loss_cls": 0.5, "loss_mask": 0.25}
    assert measure_paces([first, middle, last])["relative"]["masks"] == [1, None, 0.25]


def test_losses_that_are_not_finite_are_left_out():
    nan, inf = float("nan"), float("inf")
    first = {"step": 1, "loss": nan, "loss_cls": 2.0, "loss_bbox": nan, "loss_mask": inf}
    second = {"step": 2, "loss": 1.0, "loss_cls": 1.0, "loss_bbox": 1.0, "loss_mask": 1.0}
    last = {"step": 3, "loss": nan, "loss_cls": inf, "loss_bbox": 1.0, "loss_mask": 1.0}
    paces = measure_paces([first, second, last])
    assert paces["relative"] == {"classification": [1.0, 0.5, None]}
    assert paces["left"] == {"classification": 0.5}


@pytest.mark.parametrize(
    "entries",
    [
        [],
        [{"step": 1, "loss": 1.0, "loss_cls": 1.0}],
        [{"step": 1, "coco/bbox_mAP": 0.5}, {"step": 2, "coco/bbox_mAP": 0.5}],
        [{"step": 1, "loss": 0.0, "loss_cls": 0.0}] * 2,
        [{"step": 1, "loss": 1.0}] * 2,
    ],
    ids=["none", "one", "of validation", "zero", "of no task"],
)
def test_too_little_gives_nothing(entries):
    assert measure_paces(entries) == {}
