"""The training curve: what is read from MMEngine's scalars, and what is drawn."""

from __future__ import annotations

import json

import pytest

from mmdet_rank.visualization.training_curve import (
    draw_training_curve,
    read_scalars,
    still_learning,
)


def entry(step, **more):
    return dict(step=step, loss=2.0 / step, loss_cls=1.0 / step, ranking=0.5 / step, lr=0.1, **more)


def write(folder, name, entries):
    path = folder / name / "vis_data" / "scalars.json"
    path.parent.mkdir(parents=True)
    path.write_text("".join(json.dumps(one) + "\n" for one in entries))


def test_a_resumed_training_is_read_as_one(tmp_path):
    write(tmp_path, "20240101_000001", [entry(1), entry(2), {"coco/bbox_mAP": 0.1, "step": 1}])
    write(tmp_path, "20240101_000002", [entry(2, again=True), entry(3)])
    entries = read_scalars(tmp_path)
    assert sorted(one["step"] for one in entries if "loss" in one) == [1, 2, 3]
    assert next(one for one in entries if one["step"] == 2)["again"]
    assert sum("coco/bbox_mAP" in one for one in entries) == 1


def test_a_line_that_a_killed_run_left_unfinished_is_skipped(tmp_path):
    write(tmp_path, "20240101_000001", [entry(1), entry(2)])
    file = next(tmp_path.glob("*/vis_data/scalars.json"))
    whole = file.read_text()
    file.write_text(whole[:-9])
    write(tmp_path, "20240101_000002", [entry(3)])
    assert [one["step"] for one in read_scalars(tmp_path)] == [1, 3]
    file.write_text(whole[9:])
    with pytest.raises(ValueError, match=r"scalars.json, but line 1 cannot be read: .*; remove it"):
        read_scalars(tmp_path)


def test_losses_are_drawn_over_iterations_and_metrics_over_epochs():
    metrics = {"coco/bbox_mAP": 0.25, "coco/bbox_mAP_50": 0.5, "step": 1}
    figure = draw_training_curve([entry(10), entry(20), metrics], "a detector")
    losses, validation = figure.axes
    lines = {line.get_label(): line for line in losses.get_lines()}
    assert set(lines) == {"loss", "loss_cls", "ranking"}
    assert lines["loss"].get_xdata().tolist() == [10, 20]
    assert lines["loss"].get_ydata().tolist() == [0.2, 0.1]
    drawn = {line.get_label(): line.get_ydata() for line in validation.get_lines()}
    assert {name: list(values) for name, values in drawn.items()} == {"AP": [25], "AP50": [50]}
    assert validation.get_xlabel() == "epoch"
    assert len(draw_training_curve([entry(10)]).axes) == 1


def test_metrics_of_a_training_by_iterations_are_drawn_over_iterations():
    metrics = {"coco/segm_mAP": 0.25, "step": 20}
    _, validation = draw_training_curve([entry(10, iter=10), entry(20, iter=20), metrics]).axes
    assert validation.get_xlabel() == "iteration"
    (line,) = validation.get_lines()
    assert (line.get_label(), line.get_xdata().tolist()) == ("AP, masks", [20])


def test_a_balanced_loss_is_drawn_without_its_balance():
    balanced = entry(10, loss_bbox=0.9, balance_bbox=3.0)
    (axes,) = draw_training_curve([balanced]).axes
    lines = {line.get_label(): line for line in axes.get_lines()}
    assert "loss_bbox" not in lines
    assert lines["loss_bbox / balance_bbox"].get_ydata() == pytest.approx([0.3])


def test_nothing_to_draw_is_an_error(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"scalars\.json, but got none"):
        read_scalars(tmp_path)
    with pytest.raises(ValueError, match="with a loss"):
        draw_training_curve([{"coco/bbox_mAP": 0.1, "step": 1}])


def test_stages_of_a_cascade_are_drawn_and_auxiliary_outputs_are_not():
    more = {"s0.loss_bbox": 0.9, "s0.balance_bbox": 3.0, "s1.loss_cls": 0.4, "d0.loss_cls": 0.5}
    (axes,) = draw_training_curve([entry(10, **more)]).axes
    lines = {line.get_label(): line.get_ydata().tolist() for line in axes.get_lines()}
    assert set(lines) == {
        "loss", "loss_cls", "ranking", "s0.loss_bbox / s0.balance_bbox", "s1.loss_cls"
    }  # fmt: skip
    assert lines["s0.loss_bbox / s0.balance_bbox"] == pytest.approx([0.3])


def test_a_curve_that_still_falls_is_told_by_its_last_two_evaluations():
    def points(*values, key="coco/bbox_oLRP"):
        return [
            entry(1),
            *({"step": 80 * (place + 1), key: value} for place, value in enumerate(values)),
        ]

    said = "oLRP still fell by 3.5 points from iteration 160 to 240"
    assert still_learning(points(0.9, 0.7, 0.665)) == said
    assert still_learning(points(0.9, 0.7, 0.681)) is None
    assert still_learning(points(0.9, 0.7, 0.681), least=0.015) is not None
    assert still_learning(points(0.9, 0.7, 0.8)) is None
    assert still_learning(points(0.9)) is None
    assert still_learning([entry(1)]) is None
    # One that detects nothing has no oLRP.
    assert still_learning(points(float("nan"), 0.9)) is None
    masks = points(0.9, 0.7, 0.665, key="coco/segm_oLRP")
    assert (still_learning(masks), still_learning(masks, "segm")) == (None, said)


def test_a_training_that_was_begun_anew_leaves_nothing_of_the_first(tmp_path):
    def run(name, steps, validated, **more):
        entries = [entry(step, **more) for step in steps]
        write(tmp_path, name, entries + [{"coco/bbox_oLRP": 0.5, "step": s} for s in validated])

    def steps():
        found = read_scalars(tmp_path)
        return [[e["step"] for e in found if ("loss" in e) is kind] for kind in (True, False)]

    run("20260101_000000", [20, 40, 60], [30, 60])
    # It has not validated yet.
    run("20260101_010000", [5, 10, 45], [])
    assert steps() == [[5, 10, 45], []]
    run("20260101_020000", [50, 55], [30, 55])
    # It goes on from iteration 30.
    run("20260101_030000", [35, 40], [])
    assert steps() == [[5, 10, 35, 40], [30]]


def test_a_training_by_epochs_that_goes_on_loses_the_epochs_it_does_again(tmp_path):
    def run(name, epochs):
        entries = [entry(10 * epoch, epoch=epoch, iter=10 * epoch) for epoch in epochs]
        write(tmp_path, name, entries + [{"coco/bbox_mAP": 0.1, "step": e} for e in epochs])

    run("20260101_000000", [1, 2, 3])
    run("20260101_010000", [3])
    found = read_scalars(tmp_path)
    assert [e["step"] for e in found if "loss" in e] == [10, 20, 30]
    assert [e["step"] for e in found if "loss" not in e] == [1, 2, 3]
