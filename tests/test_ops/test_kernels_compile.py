"""The kernels compile for GPUs that are not there, and keep float64 off the N logits."""

import pytest
import torch

triton = pytest.importorskip("triton", minversion="3.3")
from triton.backends.compiler import GPUTarget  # noqa: E402
from triton.compiler import ASTSource  # noqa: E402

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
    tile = {"ROWS": sums._ROWS, "COLUMNS": sums._COLUMNS}
    compile_to_ptx(negatives._add_copies, "*i64 *i64 *fp64 i32 i32 i32 fp32", ROWS=16, COLUMNS=64)
    for has_labels in (False, True):
        arguments = "*fp64 *fp64 *fp64 *fp64 i32 fp32 fp32"
        compile_to_ptx(sums._sum_over_positives, arguments, HAS_LABELS=has_labels, **tile)
    arguments = "*i64 *fp64 *fp32 *fp64 *i64 *i64 *fp64 *i1 i32 i32 fp32 fp32"
    compile_to_ptx(sums._count, arguments, **tile)
    arguments = "*fp32 *fp64 *i64 *i64 *fp64 *fp32 *fp32 i32 i32 fp32 fp32"
    compile_to_ptx(sums._spread, arguments, **tile)
