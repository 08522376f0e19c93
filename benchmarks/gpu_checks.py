"""What must be right on a GPU before anything is timed: exactness, repeats, waits and streams."""

from __future__ import annotations

import time
import warnings

import ranking_losses
import torch
from measure import one_line
from peers import dense_rank_sort
from presets import PRESETS, draw

from mmdet_rank.ops import average_lrp_loss, average_precision_loss, rank_sort_loss
from mmdet_rank.ops.kernels import why_not

#: No power of two, so that its float32 is another number.
DELTA = 0.3


def cases(device, size):
    """Inputs by name: (logits, targets)."""
    gen = torch.Generator(device).manual_seed(0)

    def normal(count, spread=2.0, mean=-2.0):
        return torch.randn(count, generator=gen, device=device) * spread + mean

    def targets(logits, num_positives):
        labels = torch.zeros(len(logits), device=device)
        place = torch.randperm(len(logits), generator=gen, device=device)[:num_positives]
        labels[place] = torch.rand(num_positives, generator=gen, device=device).clamp_(min=0.01)
        return labels

    many = max(size // 200, 1)
    random = normal(size)
    yield "random", random, targets(random, many)
    yield "odd size", random[:-37], targets(random[:-37], many + 1)
    yield "strided", random[::3], targets(random[::3], many)
    yield "tied", (random * 2).round() / 2, targets(random, many)
    yield "all equal", torch.zeros_like(random), targets(random, many)
    yield "far apart", random * 1e4, targets(random, many)
    outlier = random.clone()
    outlier[:2] = torch.tensor([3e38, -3e38], device=device)
    yield "extreme", outlier, targets(random, many)
    yield "one positive", random, targets(random, 1)
    yield "many positives", random, targets(random, size // 4)
    yield "float16", random.half(), targets(random, many)
    yield "bfloat16", random.bfloat16(), targets(random, many)


def check_correctness(device, size):
    """Norm of each gradient's error relative to the float64 reference's, by case."""
    rows = {}
    for name, logits, targets in cases(device, size):
        # A gradient in a low precision is rounded when it is written.
        bound = max(1e-5, torch.finfo(logits.dtype).eps)
        try:
            error = gradient_error(logits, targets)
        except RuntimeError as failure:
            rows[name] = {"failure": one_line(failure), "ok": False}
        else:
            rows[name] = {"gradient_error": error, "bound": bound, "ok": error <= bound}
    return rows


def gradient_error(logits, targets):
    """Norm of the error of RS Loss's gradient relative to the float64 reference's."""
    gradient = _gradient(lambda x: sum(rank_sort_loss(x, targets)), logits)
    reference = _gradient(
        lambda x: dense_rank_sort(x, targets.double(), block=64, dtype=torch.float64),
        logits.double(),
    )
    return _relative_error(gradient, reference)


def _gradient(loss, logits):
    leaf = logits.detach().requires_grad_()
    return torch.autograd.grad(loss(leaf), leaf)[0].double()


def _relative_error(gradient, reference):
    error = torch.linalg.vector_norm(gradient - reference)
    return (error / torch.linalg.vector_norm(reference)).item()


def loss_functions(targets, delta):
    """All losses as functions of the logits, by name; they follow the logits' dtype."""
    gen = torch.Generator(targets.device).manual_seed(1)
    errors = torch.rand(int((targets > 0).sum()), device=targets.device, generator=gen)
    return {
        "rank_sort": lambda x: sum(rank_sort_loss(x, targets, delta=delta)),
        "average_lrp": lambda x: average_lrp_loss(x, targets, errors, delta=delta)[0],
        "average_precision": lambda x: average_precision_loss(x, targets, delta=delta),
        "plain precision": lambda x: average_precision_loss(
            x, targets, delta=delta, interpolated=False
        ),
    }


def check_losses(device, size):
    """Gradient error of every loss against its own in float64, which torch's operators compute."""
    rows = {}
    for name, logits, targets in cases(device, size):
        if name not in ("random", "odd size", "tied"):
            continue
        for loss_name, loss in loss_functions(targets, DELTA).items():
            error = _relative_error(_gradient(loss, logits), _gradient(loss, logits.double()))
            row = {"gradient_error": error, "bound": 1e-5, "ok": error <= 1e-5}
            rows[f"{name}, {loss_name}, delta {DELTA}"] = row
    return rows


def check_streams(device, size):
    """Whether another stream, and another device where there is one, give the same bits."""
    _, logits, targets = next(cases(device, size))
    expected = _gradient(loss_functions(targets, DELTA)["rank_sort"], logits)
    stream = torch.cuda.Stream(device)
    stream.wait_stream(torch.cuda.current_stream(device))
    with torch.cuda.stream(stream):
        actual = _gradient(loss_functions(targets, DELTA)["rank_sort"], logits)
    stream.synchronize()
    same = {"side stream": torch.equal(actual, expected)}
    if torch.cuda.device_count() > 1:
        other = torch.device("cuda", (torch.cuda.current_device() + 1) % torch.cuda.device_count())
        loss = loss_functions(targets.to(other), DELTA)["rank_sort"]
        # Other histograms, of other numbers of processors, sum up to the same integers.
        same["other device"] = torch.equal(_gradient(loss, logits.to(other)).to(device), expected)
    if not all(same.values()):
        raise RuntimeError(f"expected the same gradient everywhere, got {same}")
    return same


def check_kernels(device):
    """Seconds of the very first step, compilation included; fails where there are no kernels."""
    begin = time.perf_counter()
    reason = why_not(device) if device.type == "cuda" else None
    if reason is not None:
        raise RuntimeError(f"no kernels on {device}: {reason}")
    logits, targets = draw(PRESETS["tiny"][0], device)
    ranking_losses.make_step("ours", logits, targets)()
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return {"first_step_s": time.perf_counter() - begin}


def check_behaviour(device, size):
    """Whether repeated runs agree bit by bit, and how often the host waits for the device."""
    _, logits, targets = next(cases(device, size))
    report = {}
    for name, loss in loss_functions(targets, 0.5).items():
        try:
            report[name] = {
                "deterministic": _repeats(loss, logits),
                "host_waits": _host_waits(loss, logits),
            }
        except RuntimeError as failure:
            report[name] = {"failure": one_line(failure)}
    return report


def _repeats(loss, logits):
    runs = []
    torch.use_deterministic_algorithms(True)
    try:
        for _ in range(3):
            leaf = logits.detach().requires_grad_()
            value = loss(leaf)
            runs.append((value.detach(), torch.autograd.grad(value, leaf)[0]))
    finally:
        torch.use_deterministic_algorithms(False)
    return all(torch.equal(a, b) for run in runs[1:] for a, b in zip(run, runs[0], strict=True))


def _host_waits(loss, logits):
    if logits.device.type != "cuda":
        return None
    leaf = logits.detach().requires_grad_()
    torch.cuda.set_sync_debug_mode("warn")
    try:
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            loss(leaf).backward()
    finally:
        torch.cuda.set_sync_debug_mode("default")
    return sum("synchroniz" in str(warning.message) for warning in caught)
