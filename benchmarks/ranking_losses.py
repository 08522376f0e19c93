"""Speed, memory and exactness of the ranking losses beside their peers.

Forward and backward of RS Loss (``ours``) and, on the same tensors and in turns: a loop over the
positives, the dense P x N matrix where it fits, a bucketed version (as described, and with
unreachable negatives dropped first), torchvision's focal loss (on a GPU also compiled by torch, and
mmcv's own kernel where it is installed), and what bare passes over the logits cost.

Example:
    python benchmarks/ranking_losses.py --preset cpu --out benchmarks/results/cpu.json
    python benchmarks/ranking_losses.py --preset detectors --device cuda --out gpu.json
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from functools import partial

import torch
from measure import (
    environment,
    first_runs,
    median_ratio,
    one_line,
    peak_memory,
    summarize,
    time_in_turns,
    write_json,
)
from peers import (
    bucketed_rank_sort,
    compiled_focal,
    dense_rank_sort,
    focal,
    loop_rank_sort,
    mmcv_focal,
    mmcv_has_focal,
)
from presets import PRESETS, draw

from mmdet_rank.ops import average_lrp_loss, average_precision_loss, rank_sort_loss
from mmdet_rank.ops.kernels import use_kernels

DTYPES = {"float32": torch.float32, "float16": torch.float16, "bfloat16": torch.bfloat16}

# Pairs that a CPU gets through in seconds.
_CPU_PAIRS = 2e8


def ours(logits, targets):
    """RS Loss of this package, both parts."""
    return sum(rank_sort_loss(logits, targets))


def _without_kernels(logits, targets):
    before = os.environ.get("MMDET_RANK_KERNELS")
    os.environ["MMDET_RANK_KERNELS"] = "0"
    try:
        return ours(logits, targets)
    finally:
        del os.environ["MMDET_RANK_KERNELS"]
        if before is not None:
            os.environ["MMDET_RANK_KERNELS"] = before


def _average_lrp(logits, targets):
    errors = 1 - targets[targets > 0]
    return sum(average_lrp_loss(logits, targets, errors))


LOSSES = {
    "ours": ours,
    "loop": loop_rank_sort,
    "dense": dense_rank_sort,
    "bucketed": bucketed_rank_sort,
    "bucketed, filtered": partial(bucketed_rank_sort, drop_unreachable=True),
    "ours (aLRP)": _average_lrp,
    "ours (AP)": average_precision_loss,
    "ours, no kernels": _without_kernels,
    "focal": focal,
    "focal, compiled": compiled_focal,
    "focal, mmcv": mmcv_focal,
}
#: Passes over the logits and no loss at all.
PASSES = {"sort": torch.sort, "sum": torch.sum, "clone": torch.clone}
PEERS = ("ours", "ours, places", *(name for name in LOSSES if name != "ours"), *PASSES)
#: Those that compute RS Loss, so that their gradients can be compared.
RANK_SORT = (
    "ours",
    "ours, places",
    "ours, no kernels",
    "loop",
    "dense",
    "bucketed",
    "bucketed, filtered",
)


def make_step(name, logits, targets):
    """Forward and backward as a function without arguments; it returns the gradient."""
    if name in PASSES:
        return lambda: PASSES[name](logits)
    leaf = logits.detach().requires_grad_()
    if name == "ours, places":
        index = (targets > 0).nonzero().squeeze(1)
        labels = targets[index]
        return lambda: torch.autograd.grad(
            sum(rank_sort_loss(leaf, positives=index, labels=labels)), leaf
        )[0]

    def step():
        return torch.autograd.grad(LOSSES[name](leaf, targets), leaf)[0]

    return step


def feasible(name, preset, device):
    """Whether a peer means anything here, finishes in seconds and fits into the free memory."""
    if name == "ours, no kernels":
        return use_kernels(device, preset.num_positives)
    if name in ("sum", "clone") and device.type != "cuda":
        return False
    if name == "focal, compiled":  # each size compiles for seconds
        return device.type == "cuda" and preset.name in ("rs-atss", "rpn")
    if name == "focal, mmcv":
        return device.type == "cuda" and mmcv_has_focal()
    pairs = preset.num_positives * preset.num_logits
    square = preset.num_positives * (preset.num_positives + preset.num_logits * (name == "dense"))
    if device.type == "cuda":
        free = torch.cuda.mem_get_info(device)[0]
        return name not in ("dense", "bucketed", "bucketed, filtered") or 20 * square < free
    if name in ("loop", "dense"):
        return pairs <= _CPU_PAIRS
    return not name.startswith("bucketed") or square <= _CPU_PAIRS


def gradient_errors(names, preset, logits, targets, device):
    """Norm of each gradient's error relative to the norm of the float64 reference, by name."""
    pairs = preset.num_positives * preset.num_logits
    if device.type == "cpu" and pairs > _CPU_PAIRS:
        return {}
    block = max(
        1,
        min(
            preset.num_positives,
            int(2e9 if device.type == "cuda" else 2e7) // (8 * preset.num_logits),
        ),
    )
    leaf = logits.detach().double().requires_grad_()
    loss = dense_rank_sort(leaf, targets.double(), block=block, dtype=torch.float64)
    reference = torch.autograd.grad(loss, leaf)[0]
    norm = torch.linalg.vector_norm(reference)
    errors = {}
    for name in names:
        if name in RANK_SORT:
            gradient = make_step(name, logits, targets)().double()
            errors[name] = (torch.linalg.vector_norm(gradient - reference) / norm).item()
            del gradient
    return errors


def measure_memory(name, preset, kind, device, dtype):
    """Peak memory of one peer; on a CPU in a fresh process of its own."""
    if device.type == "cuda":
        return peak_memory(make_step(name, *draw(preset, device, dtype)), device)
    command = [sys.executable, __file__, "--memory-of", name, "--preset", kind]
    command += ["--only", preset.name, preset.logits, "--dtype", str(dtype).removeprefix("torch.")]
    command += ["--threads", str(torch.get_num_threads())]
    return json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


def _memory_in_this_process(name, preset, dtype):
    device = torch.device("cpu")
    warm_up = PRESETS["tiny"][0]
    make_step(name, *draw(warm_up, device, dtype))()
    step = make_step(name, *draw(preset, device, dtype))
    print(json.dumps(peak_memory(step, device)))


def run_preset(preset, kind, device, dtype, seconds, memory_of, peers=PEERS):
    """All figures of one preset."""
    if device.type == "cuda":
        torch.cuda.empty_cache()
    logits, targets = draw(preset, device, dtype)
    names = [name for name in peers if feasible(name, preset, device)]
    steps = {name: make_step(name, logits, targets) for name in names}
    failures = first_runs(steps)
    names = [name for name in names if name not in failures]
    steps = {name: steps[name] for name in names}
    times = time_in_turns(steps, device, seconds)
    try:
        errors = gradient_errors(names, preset, logits, targets, device)
    except (RuntimeError, MemoryError) as error:
        errors, failures["reference"] = {}, one_line(error)
    rows = {}
    for name in names:
        own = times[name]
        rows[name] = {
            "wall_s": summarize(own["wall"]),
            "processor_s": summarize(own["processor"]),
            "times_ours": _ratio(own, times.get("ours"), "wall"),
            "times_ours_processor": _ratio(own, times.get("ours"), "processor"),
            "gradient_error": errors.get(name),
        }
    logits_bytes = logits.numel() * logits.element_size()
    del steps, logits, targets
    if device.type == "cuda":
        torch.cuda.empty_cache()
    for name in names:
        if name not in memory_of or not preset.memory:
            continue
        try:
            peak = measure_memory(name, preset, kind, device, dtype)
        except (RuntimeError, MemoryError) as error:
            failures[f"memory of {name}"] = one_line(error)
            continue
        rows[name]["peak_bytes"] = peak
        rows[name]["peak_per_logits"] = None if peak is None else peak / logits_bytes
    return {
        "preset": preset.name,
        "what": preset.what,
        "logits": preset.logits,
        "num_positives": preset.num_positives,
        "num_logits": preset.num_logits,
        "dtype": str(dtype).removeprefix("torch."),
        "rows": rows,
        "not_run": [n for n in peers if n not in names and n not in failures],
        "failures": failures,
    }


def _ratio(times, ours, clock):
    return None if ours is None else median_ratio(times[clock], ours[clock])


def print_table(result):
    """One preset for the eye."""
    print(
        f"\n{result['preset']} ({result['what']}): P = {result['num_positives']:,}, "
        f"N = {result['num_logits']:,}, {result['dtype']}, {result['logits']} logits"
    )
    print(
        f"{'':20}{'median ms':>10}{'quartiles':>19}{'min':>9}{'x ours':>8}"
        f"{'peak MB':>9}{'/logits':>8}{'grad. error':>13}"
    )
    for name, row in result["rows"].items():
        wall = row["wall_s"]
        low, high = (f"{1000 * value:.2f}" for value in wall["quartiles"])
        peak, per_logits = row.get("peak_bytes"), row.get("peak_per_logits")
        ratio, error = row["times_ours"], row["gradient_error"]
        print(
            f"{name:20}{1000 * wall['median']:10.2f}{low + ' - ' + high:>19}"
            f"{1000 * wall['min']:9.2f}"
            f"{'' if ratio is None else f'{ratio:.2f}':>8}"
            f"{'' if peak is None else f'{peak / 1e6:.1f}':>9}"
            f"{'' if per_logits is None else f'{per_logits:.1f}':>8}"
            f"{'' if error is None else f'{error:.1e}':>13}"
        )
    if result["not_run"]:
        print("not run (too slow, too large or no choice here): " + ", ".join(result["not_run"]))
    for name, error in result["failures"].items():
        print(f"{name} failed: {error}")


def run(preset_names, device, dtype=torch.float32, seconds=3.0, memory_of=PEERS):
    """Measure presets, print their tables and return the report.

    Args:
        preset_names: Keys of ``presets.PRESETS``.
        device: Where to measure.
        dtype: Dtype of logits and targets.
        seconds: Time budget of each peer on each preset.
        memory_of: Which peers' peak memory to measure.
    """
    report = {**environment(device), "results": []}
    for kind in preset_names:
        for preset in PRESETS[kind]:
            result = run_preset(preset, kind, device, dtype, seconds, memory_of)
            print_table(result)
            report["results"].append(result)
    return report


def parse_args(argv=None):
    """Command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--out", help="JSON file to write")
    parser.add_argument("--device", default="cpu", help="cpu or cuda")
    parser.add_argument("--preset", nargs="+", default=["cpu"], choices=sorted(PRESETS))
    parser.add_argument("--dtype", default="float32", choices=sorted(DTYPES))
    parser.add_argument("--seconds", type=float, default=3.0, help="time budget of each peer")
    parser.add_argument("--threads", type=int, help="threads that torch may use on a CPU")
    parser.add_argument("--memory", nargs="+", default=[*PEERS], help="only of these")
    parser.add_argument("--no-memory", action="store_true", help="do not measure memory")
    parser.add_argument("--memory-of", help=argparse.SUPPRESS)
    parser.add_argument("--only", nargs=2, help=argparse.SUPPRESS)
    return parser.parse_args(argv)


def main(argv=None):
    """Entry point; returns the exit code."""
    args = parse_args(argv)
    if args.threads:
        torch.set_num_threads(args.threads)
    if args.memory_of:
        (preset,) = [p for p in PRESETS[args.preset[0]] if [p.name, p.logits] == args.only]
        _memory_in_this_process(args.memory_of, preset, DTYPES[args.dtype])
        return 0
    if args.device.startswith("cuda") and not torch.cuda.is_available():
        print("No CUDA device is available; use --device cpu.", file=sys.stderr)
        return 1
    device = torch.device(args.device)
    memory_of = () if args.no_memory else args.memory
    report = run(args.preset, device, DTYPES[args.dtype], args.seconds, memory_of)
    if args.out:
        write_json(args.out, report)
        print(f"\nwritten to {args.out}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
