"""The operators that have a stand-in, by the names that mmcv calls them."""

from __future__ import annotations

from collections.abc import Callable
from typing import NoReturn

from mmdet_rank.mmcv_ops import attention, carafe, deform_conv, focal_loss, nms, roi

INSTALL_COMPILED = (
    "pip install 'setuptools>=77,<82' wheel ninja && pip install --no-cache-dir "
    "--no-build-isolation --no-binary onedl-mmcv --force-reinstall --no-deps onedl-mmcv==2.3.6"
)


def get_compiler_version() -> str:
    """The entry that mmcv shows as the compiler of its operators in the log of a run."""
    return "none (stand-ins of mmdet_rank)"


def get_compiling_cuda_version() -> str:
    """The CUDA version of its operators that mmcv shows in the log of a run."""
    return "none (stand-ins of mmdet_rank)"


STAND_INS: dict[str, Callable] = {
    function.__name__: function
    for function in (
        nms.nms,
        roi.roi_align_forward,
        roi.roi_align_backward,
        deform_conv.deform_conv_forward,
        deform_conv.deform_conv_backward_input,
        deform_conv.deform_conv_backward_parameters,
        deform_conv.modulated_deform_conv_forward,
        deform_conv.modulated_deform_conv_backward,
        carafe.carafe_forward,
        carafe.carafe_backward,
        carafe.carafe_naive_forward,
        carafe.carafe_naive_backward,
        focal_loss.sigmoid_focal_loss_forward,
        focal_loss.sigmoid_focal_loss_backward,
        attention.ms_deform_attn_forward,
        attention.ms_deform_attn_backward,
        get_compiler_version,
        get_compiling_cuda_version,
    )
}


def missing_operator(name: str) -> Callable[..., NoReturn]:
    """Stand in for an operator that has no stand-in: it can be looked up but not called.

    mmcv looks up every operator when `mmcv.ops` is imported, so the lookup must succeed.

    Args:
        name: Name of the operator in `mmcv._ext`.

    Returns:
        A function that raises NotImplementedError, whatever it is called with.

    Raises:
        AttributeError: `name` is one of Python's own double-underscore names.
    """
    if name.startswith("__"):
        raise AttributeError(f"module 'mmcv._ext' has no attribute {name!r}")

    def raise_missing(*args, **kwargs) -> NoReturn:
        raise NotImplementedError(
            f"mmcv is installed without compiled operators, and {name} has no stand-in in "
            f"mmdet_rank. To compile mmcv (needs a compiler, and nvcc for CUDA), do: "
            f"{INSTALL_COMPILED}"
        )

    return raise_missing
