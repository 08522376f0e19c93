"""The kernels compile for GPUs that are not there, and keep float64 off the N logits."""

import pytest
import torch

triton = pytest.importorskip("triton", minversion="3.3")
from triton.backends.compiler import GPUTarget  # noqa: E402
from triton.compiler import ASTSource  # noqa: E402
from triton.runtime import driver  # noqa: E402
from triton.runtime.jit import JITFunction  # noqa: E402

from mmdet_rank.ops import average_lrp_loss, average_precision_loss, rank_sort_loss  # noqa: E402
from mmdet_rank.ops import kernels as package  # noqa: E402
from mmdet_rank.ops.kernels import negatives, sums  # noqa: E402

TYPES = {torch.float16: "fp16", torch.bfloat16: "bf16", torch.float32: "fp32"}


def compile_to_ptx(kernel, arguments, capability=90, **constants):
    names = kernel.arg_names
    source = ASTSource(
        fn=kernel,
        signature=dict(zip(names, arguments.split() + ["constexpr"] * len(constants), strict=True)),
        constexprs={(names.index(name),): value for name, value in constants.items()},
    )
    compiled = triton.compile(source, target=GPUTarget("cuda", capability, 32))
    return compiled.asm["ptx"]


@pytest.mark.parametrize("capability", [80, 90])
@pytest.mark.parametrize("dtype", TYPES)
def test_passes_over_all_logits(dtype, capability):
    kind = TYPES[dtype]
    count = compile_to_ptx(
        negatives._count_negatives,
        f"*{kind} *fp32 *fp32 *i64 i64 i32 i32 i32 i32 i32 fp32 fp32",
        capability,
        BLOCK=negatives._BLOCK,
    )
    write = compile_to_ptx(
        negatives._write_gradient,
        f"*{kind} *fp32 *fp32 *fp32 *fp32 *{kind} i64 i32 i32 i32",
        capability,
        BLOCK=negatives._BLOCK,
    )
    assert ".f64" not in count
    assert ".f64" not in write
    assert ".add.u64" in count  # integers are added, so that no order changes the result
    assert ".add.f" not in count


def test_sums_over_positives_and_intervals():
    tile = {"ROWS": negatives._ROWS, "COLUMNS": negatives._COLUMNS}
    compile_to_ptx(negatives._add_copies, "*i64 *i64 *fp64 i32 i32 i32 fp32", **tile)
    tile = {"ROWS": sums._ROWS, "COLUMNS": sums._COLUMNS}
    for has_labels in (False, True):
        arguments = "*fp64 *fp64 *fp64 *fp64 i32 fp32 fp32"
        compile_to_ptx(sums._sum_over_positives, arguments, HAS_LABELS=has_labels, **tile)
    arguments = "*i64 *fp64 *fp32 *fp64 *i64 *i64 *fp64 *i1 i32 i32 fp32 fp32"
    compile_to_ptx(sums._count, arguments, **tile)
    arguments = "*fp32 *fp64 *i64 *i64 *fp64 *fp32 *fp32 i32 i32 fp32 fp32"
    compile_to_ptx(sums._spread, arguments, **tile)


class AbsentDriver:
    """Tells Triton of a Hopper GPU that nobody has."""

    def get_current_target(self):
        return GPUTarget("cuda", 90, 32)

    def get_current_device(self):
        return 0

    def get_current_stream(self, device=0):
        return 0


@pytest.fixture
def launched(monkeypatch):
    """Kernels that the losses would launch, compiled for that GPU with the arguments they get."""
    if torch.cuda.is_available():
        pytest.skip("there is a CUDA device, on which they are launched")
    kernels = []
    run = JITFunction.run

    def compile_only(self, *args, warmup, **options):
        kernels.append(run(self, *args, warmup=True, **options))

    monkeypatch.setattr(JITFunction, "run", compile_only)
    for module in ("knots", "positives"):
        monkeypatch.setattr(f"mmdet_rank.ops.{module}.use_kernels", lambda device, number: True)
    driver.set_active(AbsentDriver())
    yield kernels
    driver.set_active(None)  # Triton looks again when it is asked


@pytest.mark.parametrize("dtype", TYPES)
@pytest.mark.parametrize("targets_dtype", [torch.float32, torch.float16, torch.int64])
def test_launches_as_they_are_made(launched, dtype, targets_dtype):
    for size, num_positives in ((1, 1), (37, 5), (4096, 300), (4112, 1)):
        logits = torch.zeros(size, dtype=dtype, requires_grad=True)
        targets = torch.zeros(size).to(targets_dtype)
        targets[:num_positives] = 1
        errors = torch.rand(num_positives)
        losses = [
            *rank_sort_loss(logits, targets),
            average_lrp_loss(logits, targets, errors)[0],
            average_precision_loss(logits, targets, delta=0.0),
        ]
        torch.autograd.grad(sum(losses), logits)
    assert {kernel.src.fn.__name__ for kernel in launched} == {
        *("_count_negatives", "_add_copies", "_write_gradient"),
        *("_sum_over_positives", "_count", "_spread"),
    }


def test_other_sizes_need_no_other_kernels(launched):
    found = []
    for size, num_positives in ((160, 7), (3200, 1), (48_000, 64), (1600, 1000)):
        logits = torch.zeros(size, requires_grad=True)
        targets = torch.zeros(size)
        targets[:num_positives] = 0.5
        torch.autograd.grad(sum(rank_sort_loss(logits, targets)), logits)
        found.append({kernel.hash for kernel in launched})
    assert found == found[:1] * 4


def test_without_a_working_triton_torch_does_the_work(monkeypatch):
    if torch.cuda.is_available():
        pytest.skip("there is a CUDA device, on which Triton may work")
    package._compiles.cache_clear()
    with pytest.warns(UserWarning, match="slower torch code on cuda:7, because Triton cannot run"):
        assert not package.use_kernels(torch.device("cuda", 7), 1)
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
    package._compiles.cache_clear()
    with pytest.warns(UserWarning, match=r"expected Triton 3\.3 or newer, got 3\.2\.0"):
        assert not package.use_kernels(torch.device("cuda", 7), 1)
    package._compiles.cache_clear()
