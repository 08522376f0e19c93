"""`python -m mmdet_rank.check_env`: is this environment able to train, and what mends it if not.

Prints the versions, the devices, which operators back mmcv, and then what each check found; the
checks do what training does, on tiny inputs, rather than read version numbers. The exit code is 1
when training could not work.
"""

from __future__ import annotations

import importlib
import math
import platform
import sys
import tempfile
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path
from pickle import UnpicklingError

from mmdet_rank import compat
from mmdet_rank.version import __version__

SUPPORT = {
    "torchvision": "torchvision",
    "numpy": "numpy",
    "scipy": "scipy",
    "cv2": "opencv-python-headless",
    "pycocotools": "pycocotools",
    "sklearn": "scikit-learn",
    "matplotlib": "matplotlib",
}


class CheckError(Exception):
    """A check that did not pass; the message says what mends it."""


def main() -> int:
    """Print the report.

    Returns:
        0 when training can work, else 1.
    """
    for name, value in describe_versions():
        print(f"{name:<12}{value}")
    problems = compat.find_problems()
    if not problems:
        print(f"{'devices':<12}{describe_devices()}")
        problems = list(run_checks())
    for problem in problems:
        print(f"PROBLEM: {problem}", file=sys.stderr)
    verdict = (
        f"training cannot work: {len(problems)} problem(s)" if problems else "training can work"
    )
    print(verdict)
    return 1 if problems else 0


def describe_versions() -> Iterator[tuple[str, str]]:
    """Yield name and version of Python, this package, the stack and what supports it."""
    yield "python", platform.python_version()
    yield "mmdet_rank", __version__
    for requirement in compat.STACK:
        found = " and ".join(map(str, compat.find(requirement)))
        yield requirement.module, found or "not installed"
    for module, distribution in SUPPORT.items():
        yield module, _version(module, distribution)


def describe_devices() -> str:
    """Name the devices that torch can use."""
    import torch

    names = [
        f"cuda:{index} {torch.cuda.get_device_name(index)}"
        for index in range(torch.cuda.device_count())
    ]
    return ", ".join([f"cpu ({torch.get_num_threads()} threads)", *names])


def run_checks() -> Iterator[str]:
    """Run every check, print what passed, and yield a sentence for each that did not."""
    for check in (
        check_support,
        check_registration,
        check_operators,
        check_losses,
        check_checkpoints,
    ):
        try:
            print(f"{'ok':<12}{check()}")
        except CheckError as error:
            yield str(error)
            if check in (check_support, check_registration):
                return


def check_support() -> str:
    """Import what the stack stands on."""
    for module, distribution in SUPPORT.items():
        try:
            # Its compiled part is not loaded by the package.
            importlib.import_module("pycocotools.mask" if module == "pycocotools" else module)
        # Compiled for another NumPy, modules raise ValueError, AttributeError and others.
        except Exception as error:
            # Both builds of OpenCV own the same files, so that one alone must be left.
            command = (
                "pip uninstall --yes opencv-python opencv-python-headless, then: "
                "pip install --no-deps opencv-python-headless"
                if module == "cv2"
                else f"pip install {distribution}"
                if isinstance(error, ImportError)
                else f"pip install --force-reinstall --no-deps --no-cache-dir {distribution}"
            )
            raise CheckError(f"{module} does not import ({error}); do: {command}") from error
    return f"{', '.join(SUPPORT)} import"


def check_registration() -> str:
    """Import the package as a config does."""
    try:
        importlib.import_module("mmdet_rank.register")
    except ImportError as error:
        raise CheckError(str(error)) from error
    except Exception as error:
        raise CheckError(
            f"mmdet_rank.register does not import ({type(error).__name__}: {error}); install the "
            "packages that the error names again, with pip install --force-reinstall"
        ) from error
    from mmdet_rank import mmcv_ops

    if mmcv_ops.is_stand_in():
        return "registered; mmcv has no compiled operators, torchvision and torch stand in"
    return "registered; mmcv has compiled operators"


def check_operators() -> str:
    """Run NMS and RoIAlign, the latter backward too, on every kind of device."""
    import torch
    from mmcv.ops import nms, roi_align

    devices = ["cpu", *(["cuda"] if torch.cuda.is_available() else [])]
    for device in devices:
        try:
            boxes = torch.tensor([[0.0, 0, 4, 4], [0, 0, 4, 3.9], [4, 4, 8, 8]], device=device)
            scores = torch.tensor([0.9, 0.8, 0.7], device=device)
            kept = nms(boxes, scores, 0.5)[1].tolist()
            features = torch.arange(64.0, device=device).view(1, 1, 8, 8).requires_grad_()
            rois = torch.nn.functional.pad(boxes[kept], (1, 0))
            roi_align(features, rois, (2, 2), 1.0, 0, "avg", True).sum().backward()
        except RuntimeError as error:
            raise CheckError(
                f"NMS or RoIAlign does not run on {device}: {error}; do: {_reinstall_torch()}"
            ) from error
        gradient = features.grad
        total = math.nan if gradient is None else gradient.sum().item()
        if kept != [0, 2] or not abs(total - 8) <= 1e-4:
            raise CheckError(
                f"Expected NMS on {device} to keep boxes 0 and 2 and RoIAlign to pass on a "
                f"gradient of 8, but got {kept} and {total}; do: {_reinstall_torch()}"
            )
    return f"NMS and RoIAlign, forward and backward, on {' and '.join(devices)}"


def check_losses() -> str:
    """Run one ranking loss forward and backward."""
    import torch

    from mmdet_rank.ops import rank_sort_loss

    logits = torch.tensor([1.0, 0.0, -1.0], requires_grad=True)
    sum(rank_sort_loss(logits, torch.tensor([0.0, 0.8, 0.6]))).backward()
    gradient = logits.grad
    if gradient is None or not torch.isfinite(gradient).all() or not gradient.any():
        raise CheckError(
            f"Expected RS Loss to give a gradient, but got {gradient}; do: {_reinstall_torch()}"
        )
    return "RS Loss, forward and backward"


def check_checkpoints() -> str:
    """Write a checkpoint as a run does, and read it as a resumed run does."""
    import torch
    from mmengine.logging import HistoryBuffer
    from mmengine.runner import CheckpointLoader

    from mmdet_rank.cli.checkpoints import read_checkpoint
    from mmdet_rank.cli.errors import UserError

    with tempfile.TemporaryDirectory() as folder:
        path = str(Path(folder, "check.pth"))
        history = HistoryBuffer([1.0], [1])
        torch.save({"state_dict": {}, "message_hub": {"log_scalars": {"loss": history}}}, path)
        others_resume = True
        try:
            CheckpointLoader.load_checkpoint(path, map_location="cpu", logger="silent")
        except UnpicklingError:
            others_resume = False
        try:
            read_checkpoint(path)
        except UserError as error:
            raise CheckError(
                f"checkpoints cannot be read back: {error}; do: {compat.INSTALL_STACK}"
            ) from error
    if not others_resume:
        return (
            "checkpoints, written and read by the tools of this package; other tools cannot "
            "resume, because mmengine 0.10.7 and older leave it to torch whether to unpickle "
            "and torch 2.6 and later do not; for those do: pip uninstall --yes mmengine, "
            "then: pip install onedl-mmengine==0.10.12"
        )
    return "checkpoints, written and read"


def _version(module: str, distribution: str) -> str:
    names = [distribution, *(["opencv-python"] if module == "cv2" else [])]
    versions = []
    for name in names:
        try:
            versions.append(f"{name} {metadata.version(name)}")
        except metadata.PackageNotFoundError:
            continue
    return " and ".join(versions) or "not installed"


def _reinstall_torch() -> str:
    return "pip install --force-reinstall torch torchvision, in versions that belong together"


if __name__ == "__main__":
    sys.exit(main())
