"""Timing in turns, peak memory, and what must be known about the machine that did it."""

from __future__ import annotations

import datetime
import json
import os
import platform
import subprocess
import sys
import time
from importlib import metadata
from pathlib import Path
from statistics import median, quantiles

import torch

from mmdet_rank.files import written_whole

_ROOT = Path(__file__).resolve().parents[1]
_PACKAGES = ("torch", "torchvision", "triton", "numpy", "mmdet_rank", "onedl-mmdetection", "mmdet")


def time_in_turns(
    steps: dict, device: torch.device, seconds: float, max_rounds: int = 50
) -> dict[str, dict[str, list[float]]]:
    """Run functions round-robin, so that whatever else the machine does hits them all alike.

    Args:
        steps: Functions without arguments, by name.
        device: Where they work; GPU work is timed by events on the device.
            They have run before: what is compiled or cached in a first run does not count.
        seconds: Budget of each function; those that exceed it in one run get no other.
        max_rounds: Runs of each function at most.

    Returns:
        Per function, ``wall`` and ``processor`` seconds of each run in the order of rounds. The
        processor time is that of all threads, and compares where others use the machine too.
    """
    times = {name: {"wall": [], "processor": []} for name in steps}
    spent = dict.fromkeys(steps, 0.0)
    for _ in range(max_rounds):
        for name, step in steps.items():
            if spent[name] > seconds:
                continue
            wall, processor = _time(step, device)
            spent[name] += wall
            times[name]["wall"].append(wall)
            times[name]["processor"].append(processor)
    return times


def first_runs(steps: dict) -> dict[str, str]:
    """Run each function once; returns what stopped those that failed, by name."""
    failures = {}
    for name, step in steps.items():
        try:
            step()
        except (RuntimeError, MemoryError) as error:  # out of memory on a GPU, for one
            failures[name] = one_line(error)
    return failures


def one_line(error: Exception) -> str:
    """An exception as the first line of what it says."""
    return f"{type(error).__name__}: {error}".splitlines()[0][:300]


def _time(step, device: torch.device) -> tuple[float, float]:
    if device.type == "cuda":
        begin, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        torch.cuda.synchronize(device)
        processor = time.process_time()
        begin.record()
        step()
        end.record()
        torch.cuda.synchronize(device)
        return begin.elapsed_time(end) / 1000, time.process_time() - processor
    wall, processor = time.perf_counter(), time.process_time()
    step()
    return time.perf_counter() - wall, time.process_time() - processor


def summarize(values: list[float]) -> dict:
    """Median, quartiles, least, and number of the runs."""
    low, _, high = quantiles(values, n=4) if len(values) > 1 else (values[0],) * 3
    return {
        "median": median(values),
        "quartiles": [low, high],
        "min": min(values),
        "runs": len(values),
    }


def median_ratio(values: list[float], others: list[float]) -> float:
    """Median of the ratios of runs from the same rounds."""
    return median(a / b for a, b in zip(values, others, strict=False))


def peak_memory(step, device: torch.device) -> int | None:
    """Bytes that a function needs at its peak beyond what was there before, results included.

    On a GPU from the caching allocator; on a CPU the growth of the resident set, from Linux's
    high-water mark after resetting it. None where neither is to be had. On a CPU call it in a
    fresh process: memory that an allocator kept from before is invisible.
    """
    if device.type == "cuda":
        torch.cuda.synchronize(device)
        before = torch.cuda.memory_allocated(device)
        torch.cuda.reset_peak_memory_stats(device)
        step()
        torch.cuda.synchronize(device)
        return torch.cuda.max_memory_allocated(device) - before
    try:
        Path("/proc/self/clear_refs").write_text("5")
        before = _status("VmRSS")
        step()
        return _status("VmHWM") - before
    except OSError:
        return None


def _status(field: str) -> int:
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(field + ":"):
            return int(line.split()[1]) * 1024
    raise OSError(f"no {field} in /proc/self/status")


def environment(device: torch.device, commit: str | None = None) -> dict:
    """Machine, versions, commit (the given one, or git's) and command."""
    versions = {"python": platform.python_version()}
    for name in _PACKAGES:
        try:
            versions[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    machine = {
        "platform": platform.platform(),
        "processor": _processor(),
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "load_average": list(os.getloadavg()) if hasattr(os, "getloadavg") else None,
    }
    if device.type == "cuda":
        properties = torch.cuda.get_device_properties(device)
        machine["gpu"] = properties.name
        machine["gpu_memory"] = properties.total_memory
        versions["cuda"] = torch.version.cuda
    return {
        "command": " ".join(["python", *(os.path.relpath(sys.argv[0], _ROOT), *sys.argv[1:])]),
        "date": datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds"),
        "commit": commit or _commit(),
        "machine": machine,
        "versions": versions,
    }


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor()
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor()


def _commit() -> str | None:
    """The commit, with ``+`` behind it when the measured code differs from it."""
    git = ["git", "-C", str(_ROOT)]
    try:
        head = subprocess.run(
            [*git, "rev-parse", "HEAD"], capture_output=True, text=True, check=True
        )
        code = ["mmdet_rank/ops", "benchmarks/*.py"]
        state = subprocess.run(
            [*git, "status", "--porcelain", "--", *code], capture_output=True, text=True, check=True
        )
    except (OSError, subprocess.CalledProcessError):
        return None
    return head.stdout.strip()[:12] + ("+" if state.stdout.strip() else "")


def write_json(path: str | os.PathLike, report: dict) -> None:
    """Write a report whole or not at all."""
    with written_whole(path) as temporary:
        temporary.write_text(json.dumps(report, indent=1) + "\n")
