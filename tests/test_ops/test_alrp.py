import numpy as np
import pytest
import torch
from dense_losses import dense_average_lrp
from ranking_cases import assert_close, draw

from mmdet_rank.ops import average_lrp_loss

GOLDEN = np.load(__file__.replace("test_ops/test_alrp.py", "data/ranking_losses.npz"))
CASES = sorted({key.split("/")[0] for key in GOLDEN if key.startswith("alrp_")})


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("case", CASES)
def test_published_values(case, dtype):
    logits, targets, loc_errors = (
        torch.from_numpy(GOLDEN[f"{case}/{name}"]).to(dtype)
        for name in ("logits", "targets", "loc_error")
    )
    logits.requires_grad_()
    cls, loc = average_lrp_loss(logits, targets, loc_errors, delta=float(GOLDEN[f"{case}/delta"]))
    cls.backward()
    assert_close(cls, GOLDEN[f"{case}/loss_cls"], dtype)
    assert_close(loc, GOLDEN[f"{case}/loss_loc"], dtype)
    assert_close(logits.grad, GOLDEN[f"{case}/grad"], dtype)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_equals_the_definition(dtype):
    for seed in range(600):
        logits, targets, loc_errors, delta = draw(seed, dtype)
        logits.requires_grad_()
        loc_errors.requires_grad_()
        cls, loc = average_lrp_loss(logits, targets, loc_errors, delta=delta)
        (cls + loc).backward()
        expected = dense_average_lrp(logits.detach(), targets, loc_errors.detach(), delta)
        for actual, value in zip((cls, loc, logits.grad, loc_errors.grad), expected, strict=True):
            assert_close(actual, value, dtype)


def test_well_ranked_positives_get_no_gradient():
    # Appendix L.3: with the target error forgotten, localisation errors alone would push scores
    # of positives that no negative outranks.
    logits = torch.tensor([6.0, 3.0, -3.0], requires_grad=True)
    cls, _ = average_lrp_loss(logits, torch.tensor([1.0, 1.0, 0.0]), torch.tensor([0.9, 0.1]))
    cls.backward()
    assert logits.grad.abs().max() == 0


@pytest.mark.parametrize(
    ("ious", "expected"),
    [
        ((0.95, 0.80, 0.65, 0.50), 0.53),
        ((0.80, 0.65, 0.50, 0.95), 0.69),
        ((0.50, 0.65, 0.80, 0.95), 0.89),
    ],
)
def test_thesis_figure_7_1(ious, expected):
    # Ten anchors, positives at places 1, 3, 6 and 10 of the ranking; AP Loss is 0.36 for each.
    logits = torch.arange(10, 0, -1).float()
    targets = torch.zeros(10)
    targets[[0, 2, 5, 9]] = 1
    loc_errors = (1 - torch.tensor(ious)) / 0.5
    cls, loc = average_lrp_loss(logits, targets, loc_errors, delta=0.0)
    assert cls.item() == pytest.approx((0 + 1 / 3 + 3 / 6 + 6 / 10) / 4)
    assert (cls + loc).item() == pytest.approx(expected, abs=5e-3)


def test_wrong_number_of_errors():
    with pytest.raises(ValueError, match=r"one entry per positive \(2\), but got 1"):
        average_lrp_loss(torch.zeros(3), torch.tensor([1.0, 0.0, 1.0]), torch.zeros(1))


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
def test_errors_that_are_not_finite(value):
    logits, errors = torch.tensor([1.0, 0.0, 2.0]), torch.tensor([0.5, value])
    for roles in (
        dict(targets=torch.tensor([1.0, 0.0, 1.0])),
        dict(positives=torch.tensor([0, 2])),
    ):
        with pytest.raises(ValueError, match="Expected finite loc_errors, but 1 of 2 are NaN or"):
            average_lrp_loss(logits, loc_errors=errors, check_finite=True, **roles)
        # Without the question nobody waits for the device: the value is passed on.
        assert not average_lrp_loss(logits, loc_errors=errors, **roles)[1].isfinite()
        finite = errors[[0, 0]]
        _, loc = average_lrp_loss(logits, loc_errors=finite, check_finite=True, **roles)
        assert loc.item() == pytest.approx(0.5)


def test_errors_on_another_device():
    errors = torch.zeros(1, device="meta")
    with pytest.raises(
        ValueError, match="logits and loc_errors on one device, but got cpu and meta"
    ):
        average_lrp_loss(torch.zeros(2), torch.tensor([1.0, 0.0]), errors)
