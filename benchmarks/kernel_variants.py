"""What the kernels' launches cost the host, and how fast other sizes of their programs would be."""

from __future__ import annotations

import itertools
import time

import ranking_losses
import torch
from presets import Preset, draw

from mmdet_rank.ops import rank_sort_loss

#: (logits a program takes at a time, warps, programs per processor) of the pass that counts.
COUNTING = [
    (1024, 4, 16),
    (1024, 4, 32),
    (1024, 8, 8),
    (512, 2, 32),
    (512, 4, 32),
    (256, 1, 32),
    (2048, 8, 8),
    (2048, 4, 16),
]
#: (logits of a program, warps) of the pass that writes.
WRITING = [(1024, 4), (1024, 8), (2048, 4), (2048, 8), (4096, 8), (512, 4)]
#: (rows, columns) of the tiles of pairs.
TILES = [(8, 128), (4, 128), (16, 128), (4, 256), (2, 512)]


def host_times(device, preset, repeats=200):
    """Microseconds that the host is busy with a step, its halves, and single launches."""
    from mmdet_rank.ops.kernels.knots import SortedKnots

    logits, targets = draw(preset, device)
    index = (targets > 0).nonzero().squeeze(1)
    labels, leaf = targets[index], logits.detach().requires_grad_()

    def places():
        return sum(rank_sort_loss(leaf, positives=index, labels=labels))

    kept = places()
    sigmoid = leaf[:1].sigmoid().sum()
    scores = logits[index]
    steps = {
        "forward, places": places,
        "forward, targets": lambda: rank_sort_loss(leaf, targets),
        "backward": lambda: torch.autograd.grad(kept, leaf, retain_graph=True),
        "backward of a sigmoid": lambda: torch.autograd.grad(sigmoid, leaf, retain_graph=True),
        "one launch by Triton, 4 tensors": lambda: SortedKnots(scores, 0.5, len(logits)),
        "one launch by torch": lambda: logits[index],
    }
    times = {}
    for name, step in steps.items():
        for _ in range(5):
            step()
        spent = []
        for _ in range(repeats):
            torch.cuda.synchronize(device)
            begin = time.perf_counter()
            step()
            spent.append(time.perf_counter() - begin)
        times[name] = round(1e6 * sorted(spent)[repeats // 2], 1)
    return times


def device_times(device, preset):
    """Device microseconds of each kernel by the sizes of its programs, on two kinds of logits."""
    from mmdet_rank.ops.kernels import knots, negatives, positives

    results = {}
    for logits in ("trained", "early"):
        drawn = draw(
            Preset(preset.name, preset.num_positives, preset.num_logits, logits, ""), device
        )
        step = ranking_losses.make_step("ours, places", *drawn)
        for block, warps, programs in COUNTING:
            chosen = {"BLOCK": block, "COUNT_WARPS": warps, "PROGRAMS_PER_PROCESSOR": programs}
            times = _with(negatives, chosen, step)
            results[f"{logits}: count {block}, {warps}, {programs}"] = times["_count_negatives"]
        for block, warps in WRITING:
            times = _with(negatives, {"BLOCK": block, "WRITE_WARPS": warps}, step)
            results[f"{logits}: write {block}, {warps}"] = times["_write_gradient"]
        for cells in (2, 4, 16):
            times = _with(knots, {"CELLS_PER_KNOT": cells}, step)
            results[f"{logits}: {cells} cells a knot"] = {
                name: times[name] for name in ("_sort_knots", "_count_negatives")
            }
    for rows, columns in TILES:
        times = _with(positives, {"ROWS": rows, "COLUMNS": columns}, step)
        results[f"tile {rows} x {columns}"] = {
            name: times[name] for name in ("_rank", "_blame", "_spread")
        }
    for rows, cell_rows in itertools.product((8, 16, 32), (32, 128)):
        times = _with(knots, {"ROWS": rows, "CELL_ROWS": cell_rows}, step)
        results[f"sort {rows}, {cell_rows}"] = times["_sort_knots"]
    return results


def _with(module, sizes, step, repeats=4):
    """Device time of each kernel in a step with other sizes in a module, by kernel."""
    before = {name: getattr(module, name) for name in sizes}
    try:
        for name, size in sizes.items():
            setattr(module, name, size)
        step()
        with torch.profiler.profile() as recorded:
            for _ in range(repeats):
                step()
            torch.cuda.synchronize()
    finally:
        for name, size in before.items():
            setattr(module, name, size)
    return {
        event.key: round(event.self_device_time_total / repeats, 1)
        for event in recorded.key_averages()
        if event.key.startswith("_") and event.self_device_time_total > 0
    }
