import numpy as np
import pytest
import torch
from dense_losses import dense_average_precision
from ranking_cases import assert_close, draw

from mmdet_rank.ops import average_precision_loss

GOLDEN = np.load(__file__.replace("test_ops/test_ap.py", "data/ranking_losses.npz"))
CASES = sorted({key.split("/")[0] for key in GOLDEN if key.startswith("ap_")})


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("case", CASES)
def test_published_values(case, dtype):
    logits = torch.from_numpy(GOLDEN[f"{case}/logits"]).to(dtype).requires_grad_()
    targets = torch.from_numpy(GOLDEN[f"{case}/targets"]).to(dtype)
    loss = average_precision_loss(logits, targets, delta=float(GOLDEN[f"{case}/delta"]))
    loss.backward()
    assert_close(loss, GOLDEN[f"{case}/loss"], dtype)
    assert_close(logits.grad, GOLDEN[f"{case}/grad"], dtype)


@pytest.mark.parametrize("interpolated", [True, False])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_equals_the_definition(dtype, interpolated):
    for seed in range(600):
        logits, targets, _, delta = draw(seed, dtype)
        logits.requires_grad_()
        loss = average_precision_loss(logits, targets, delta=delta, interpolated=interpolated)
        loss.backward()
        expected = dense_average_precision(logits.detach(), targets, delta, interpolated)
        assert_close(loss, expected[0], dtype)
        assert_close(logits.grad, expected[1], dtype)
