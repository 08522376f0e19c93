import pytest
import torch

from mmdet_rank.ops import attach_gradient, identity_update


def test_by_hand():
    # Example 0 has error 0.8 with target 0.2, blamed by 3/4 on 1 and by 1/4 on 2; example 1 has
    # error 0.4, blamed on 2. Primary terms: L01 = 0.45, L02 = 0.15, L12 = 0.4.
    pmf = torch.tensor([[0.0, 0.75, 0.25], [0.0, 0.0, 1.0], [0.0, 0.0, 0.0]])
    loss, grad = identity_update(
        torch.tensor([0.8, 0.4, 0.0]), torch.tensor([0.2, 0.0, 0.0]), pmf, normalizer=2
    )
    assert loss.item() == pytest.approx(0.5)
    assert grad.tolist() == pytest.approx([-0.3, 0.025, 0.275])
    assert loss.dtype == grad.dtype == torch.float64


def test_wrong_shapes():
    with pytest.raises(ValueError, match=r"pmf \(n, n\), but got \(3,\), \(3,\) and \(3,\)"):
        identity_update(torch.zeros(3), torch.zeros(3), torch.zeros(3))


def test_attached_gradient_of_some_entries():
    logits = torch.zeros(4, requires_grad=True)
    loss = attach_gradient(
        logits, torch.tensor(1.0), torch.tensor([2.0, 3.0]), torch.tensor([3, 1])
    )
    (loss * 0.5).backward()
    assert logits.grad.tolist() == [0.0, 1.5, 0.0, 1.0]


def test_scaled_before_it_is_cast():
    # 1e-9 is 0 in float16; a gradient scaler's factor must come first.
    logits = torch.zeros(1, dtype=torch.float16, requires_grad=True)
    loss = attach_gradient(logits, torch.tensor(1.0), torch.tensor([1e-9]))
    (loss * 65536).backward()
    assert logits.grad.item() == pytest.approx(65536e-9, rel=1e-2)
