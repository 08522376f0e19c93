"""The kernels compile for GPUs that are not there, and keep float64 off the N logits."""

import pytest
import torch

triton = pytest.importorskip("triton", minversion="3.3")
from triton.backends.compiler import GPUTarget  # noqa: E402
from triton.runtime import driver  # noqa: E402
from triton.runtime.jit import JITFunction  # noqa: E402

from mmdet_rank.ops import (  # noqa: E402
    average_lrp_loss,
    average_precision_loss,
    rank_sort_loss,
    ranking_weights,
)
from mmdet_rank.ops import kernels as package  # noqa: E402

DTYPES = [torch.float16, torch.bfloat16, torch.float32]


class AbsentDriver:
    """Tells Triton of a GPU that nobody has."""

    def __init__(self, capability):
        self.capability = capability

    def get_current_target(self):
        return GPUTarget("cuda", self.capability, 32)

    def get_current_device(self):
        return 0

    def get_current_stream(self, device=0):
        return 0


@pytest.fixture(params=[90])
def launched(monkeypatch, request):
    """Kernels that the losses would launch, compiled for that GPU with the arguments they get."""
    if torch.cuda.is_available():
        pytest.skip("there is a CUDA device, on which they are launched")
    kernels = []
    run = JITFunction.run

    def compile_only(self, *args, warmup, **options):
        kernels.append(run(self, *args, warmup=True, **options))

    monkeypatch.setattr(JITFunction, "run", compile_only)
    monkeypatch.setattr("mmdet_rank.ops.ranking.use_kernels", lambda device, number: True)
    driver.set_active(AbsentDriver(request.param))
    yield kernels
    driver.set_active(None)  # Triton looks again when it is asked


def step(logits, targets=None, **places):
    """All losses, forward and backward."""
    num_positives = int((targets > 0).sum()) if targets is not None else len(places["positives"])
    unlabelled = {key: value for key, value in places.items() if key != "labels"}
    losses = [
        *rank_sort_loss(logits, targets, **places),
        average_lrp_loss(logits, targets, torch.rand(num_positives), **unlabelled)[0],
        average_precision_loss(logits, targets, delta=0.0, **unlabelled),
        average_precision_loss(logits, targets, interpolated=False, **unlabelled),
    ]
    torch.autograd.grad(sum(losses), logits)
    ranking_weights(logits, targets, **unlabelled)


def ptx_of(launched, name):
    return [kernel.asm["ptx"] for kernel in launched if kernel.src.fn.__name__ == name]


@pytest.mark.parametrize("launched", [80, 90], indirect=True)
@pytest.mark.parametrize("dtype", DTYPES)
def test_launches_as_they_are_made(launched, dtype):
    for size, num_positives in ((37, 5), (4096, 300)):
        for targets_dtype in (torch.float32, torch.int64):
            logits = torch.zeros(size, dtype=dtype, requires_grad=True)
            targets = torch.zeros(size).to(targets_dtype)
            targets[:num_positives] = 1
            step(logits, targets)
        places = torch.arange(size)[1:]  # what is not aligned
        step(
            logits,
            positives=places[:num_positives],
            labels=torch.rand(num_positives, dtype=torch.float32),
            ignored=places[num_positives : num_positives + 3],
        )
    assert {kernel.src.fn.__name__ for kernel in launched} == {
        *("_sort_knots", "_count_negatives", "_add_copies", "_rank", "_blame", "_spread"),
        "_write_gradient",
    }
    # Nothing of N entries is computed in float64, nor added as floats, in whatever order.
    for ptx in ptx_of(launched, "_count_negatives") + ptx_of(launched, "_write_gradient"):
        assert ".f64" not in ptx
        assert ".add.f" not in ptx.replace("add.ftz.f", "add.f").replace("\tadd.f", "")
    assert all(".add.u64" in ptx for ptx in ptx_of(launched, "_count_negatives"))


def test_a_step_of_a_loss_is_seven_launches(launched):
    logits = torch.zeros(3200, requires_grad=True)
    ranking, sorting = rank_sort_loss(logits, positives=torch.arange(40))
    assert len(launched) == 5
    torch.autograd.grad(ranking + sorting, logits)
    assert len(launched) == 7


def test_other_sizes_need_no_other_kernels(launched):
    found = []
    for size, num_positives in ((160, 7), (3200, 1), (48_000, 64), (1600, 1000)):
        logits = torch.zeros(size, requires_grad=True)
        places = torch.arange(size)
        ignored = places[num_positives : num_positives + 3 * (size % 3)]
        losses = rank_sort_loss(logits, positives=places[:num_positives], ignored=ignored)
        torch.autograd.grad(sum(losses), logits)
        found.append({kernel.hash for kernel in launched})
    assert found == found[:1] * 4


def test_without_a_working_triton_torch_does_the_work(monkeypatch):
    if torch.cuda.is_available():
        pytest.skip("there is a CUDA device, on which Triton may work")
    package.why_not.cache_clear()
    with pytest.warns(UserWarning, match="slower torch code on cuda:7, because Triton cannot run"):
        assert not package.use_kernels(torch.device("cuda", 7), 1)
    assert "Error" in package.why_not(torch.device("cuda", 7))
    monkeypatch.setenv("TRITON_INTERPRET", "1")
    package._interpreted.cache_clear()
    assert package.use_kernels(torch.device("cpu"), 1)
    assert not package.use_kernels(torch.device("cpu"), package.MOST_POSITIVES + 1)
    monkeypatch.setenv("MMDET_RANK_KERNELS", "0")
    assert not package.use_kernels(torch.device("cpu"), 1)
    monkeypatch.undo()
    package._interpreted.cache_clear()


def test_an_old_triton_is_left_alone(monkeypatch):
    monkeypatch.setattr(triton, "__version__", "3.2.0+git1")
    package.why_not.cache_clear()
    with pytest.warns(UserWarning, match=r"expected Triton 3\.3 or newer, got 3\.2\.0"):
        assert not package.use_kernels(torch.device("cuda", 7), 1)
    package.why_not.cache_clear()
