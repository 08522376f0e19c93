"""Everything there is to know about the losses on a GPU, in one run of less than eight minutes.

Checks the kernels against float64 on random, tied, extreme, odd-sized, float16 and bfloat16
input, that repeated runs agree bit by bit, and how often the host waits; measures all presets with
their peers; says where the time goes; holds the figures against the goals; writes one JSON file.
The file is written after every part: what a part that fails, or the end of the time, leaves out is
named in it, and all other figures are there. Needs torch with Triton and torchvision, nothing
else, and no network.

Example:
    python benchmarks/gpu_report.py --out benchmarks/results/gpu.json
"""

from __future__ import annotations

import argparse
import signal
import sys
import time
import traceback
import warnings

import ranking_losses
import torch
from measure import environment, one_line, write_json
from peers import dense_rank_sort
from presets import PRESETS, draw

from mmdet_rank.ops import average_lrp_loss, average_precision_loss, rank_sort_loss
from mmdet_rank.ops.kernels import use_kernels

#: Goals on an H200-class GPU: what, preset, figure of a result's row, bound.
GOALS = [
    ("no slower than focal loss", "rs-atss", lambda rows: rows["focal"]["times_ours"], ">=", 1.0),
    ("peak memory per logits'", "rs-atss", lambda rows: rows["ours"]["peak_per_logits"], "<=", 3.0),
    ("times a loop", "rs-atss", lambda rows: rows["loop"]["times_ours"], ">=", 100.0),
    ("gradient error", "rs-atss", lambda rows: rows["ours"]["gradient_error"], "<=", 1e-5),
]


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
    leaf = logits.detach().requires_grad_()
    gradient = torch.autograd.grad(sum(rank_sort_loss(leaf, targets)), leaf)[0].double()
    exact = logits.detach().double().requires_grad_()
    loss = dense_rank_sort(exact, targets.double(), block=64, dtype=torch.float64)
    reference = torch.autograd.grad(loss, exact)[0]
    error = torch.linalg.vector_norm(gradient - reference)
    return (error / torch.linalg.vector_norm(reference)).item()


def check_behaviour(device, size):
    """Whether repeated runs agree bit by bit, and how often the host waits for the device."""
    _, logits, targets = next(cases(device, size))
    errors = torch.rand(int((targets > 0).sum()), device=device)
    losses = {
        "rank_sort": lambda x: sum(rank_sort_loss(x, targets)),
        "average_lrp": lambda x: average_lrp_loss(x, targets, errors)[0],
        "average_precision": lambda x: average_precision_loss(x, targets),
    }
    report = {}
    for name, loss in losses.items():
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


def profile(device, preset):
    """Device time and launches of each kernel in one step of the loss on a preset.

    Operators of torch are left out: their device time is that of the kernels that they start.
    """
    logits, targets = draw(preset, device)
    step = ranking_losses.make_step("ours", logits, targets)
    step()
    with torch.profiler.profile() as recorded:
        step()
        torch.cuda.synchronize(device)
    rows = [
        {"kernel": e.key[:80], "launches": e.count, "device_us": e.self_device_time_total}
        for e in recorded.key_averages()
        if e.device_type != torch.autograd.DeviceType.CPU and e.self_device_time_total > 0
    ]
    return sorted(rows, key=lambda row: -row["device_us"])


def judge(results):
    """Each goal with its figure, or with what is missing to tell."""
    by_preset = {result["preset"]: result["rows"] for result in results}
    verdicts = []
    for what, preset, figure, relation, bound in GOALS:
        try:
            value = figure(by_preset[preset])
        except KeyError:
            value = None
        met = None
        if value is not None:
            met = value >= bound if relation == ">=" else value <= bound
        goal = f"{what} {relation} {bound:g}"
        verdicts.append({"preset": preset, "goal": goal, "measured": value, "met": met})
    return verdicts


class OutOfTimeError(Exception):
    """Ends the part that is at work; none of what parts themselves expect to fail with."""


class Progress:
    """A report that is on disk after each part, whatever the next one does.

    Args:
        path: JSON file.
        report: What is known already.
        minutes: Time for all parts; the one that is at work when it ends is broken off.
    """

    def __init__(self, path, report, minutes):
        self.path = path
        self.report = report
        self.report.update(failures={}, results=[])
        self._begin = time.perf_counter()
        self._over = self._saving = False
        # Interrupts Python between two operations; what a device was given to do it finishes.
        self._can_interrupt = hasattr(signal, "setitimer")
        if self._can_interrupt:
            self._handler_before = signal.signal(signal.SIGALRM, self._end)
            signal.setitimer(signal.ITIMER_REAL, max(60 * minutes, 1e-3))

    def _end(self, *_):
        self._over = True
        if not self._saving:
            raise OutOfTimeError("the time was over")

    def part(self, name, function, *args):
        """Run one part; returns its result, or None when it failed."""
        result = None
        try:
            if self._over:
                raise OutOfTimeError("the time was over")
            result = function(*args)
        except Exception as error:
            self.report["failures"][name] = one_line(error)
            if not self._over:
                traceback.print_exc()
            # Broken off between a no_grad block's last line and its end, it would stay in force.
            torch.set_grad_enabled(True)
        self.save()
        return result

    def save(self):
        """Write what is known."""
        self._saving = True
        self.report["seconds"] = time.perf_counter() - self._begin
        self.report["goals"] = judge(self.report["results"])
        write_json(self.path, self.report)
        self._saving = False

    def close(self):
        """No interruption from here on."""
        if self._can_interrupt:
            signal.setitimer(signal.ITIMER_REAL, 0)
            signal.signal(signal.SIGALRM, self._handler_before)
        self.save()


def measure_preset(progress, kind, preset, device, seconds, memory_of):
    """Measure one preset, print its table and add it to the report."""
    result = ranking_losses.run_preset(preset, kind, device, torch.float32, seconds, memory_of)
    ranking_losses.print_table(result)
    progress.report["results"].append(result)


def run_parts(progress, device, args):
    """All parts, the most wanted ones first."""
    report = progress.report
    report["kernels"] = progress.part("kernels", use_kernels, device, 1)
    report["correctness"] = progress.part("correctness", check_correctness, device, args.size)
    report["behaviour"] = progress.part("behaviour", check_behaviour, device, args.size)
    if device.type == "cuda":
        report["profile"] = progress.part("profile", profile, device, PRESETS["rs-atss"][0])
    memory_of = () if args.no_memory else (*ranking_losses.LOSSES, "sort")
    for kind in args.preset:
        for preset in PRESETS[kind]:
            wanted = (progress, kind, preset, device, args.seconds, memory_of)
            progress.part(preset.name, measure_preset, *wanted)


def _print_report(report):
    print(f"\nkernels at work: {report['kernels']}\ngradient error against float64")
    for name, row in (report["correctness"] or {}).items():
        error = row.get("failure") or f"{row['gradient_error']:10.1e}"
        print(f"{name:20}{error}  {'ok' if row['ok'] else 'TOO LARGE'}")
    for name, row in (report["behaviour"] or {}).items():
        print(f"{name}: " + ", ".join(f"{key} {value}" for key, value in row.items()))
    if report.get("profile"):
        launches = sum(row["launches"] for row in report["profile"])
        total = sum(row["device_us"] for row in report["profile"])
        print(f"\none step of rs-atss: {launches} launches, {total:.0f} us on the device")
        for row in report["profile"][:12]:
            print(f"{row['device_us']:10.0f} us {row['launches']:4} x {row['kernel']}")
    print("\ngoals")
    for row in report["goals"]:
        state = {True: "met", False: "MISSED", None: "not measured"}[row["met"]]
        value = "" if row["measured"] is None else f"{row['measured']:.3g}"
        print(f"{row['preset']:10}{row['goal']:36}{value:>10}  {state}")
    for name, error in report["failures"].items():
        print(f"{name} is missing: {error}")


def main(argv=None):
    """Entry point; returns the exit code."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--out", required=True, help="JSON file to write")
    parser.add_argument("--device", default="cuda")
    parser.add_argument(
        "--preset",
        nargs="+",
        choices=sorted(PRESETS),
        default=["detectors", "scaling", "positives"],
    )
    parser.add_argument("--size", type=int, default=100_000, help="logits of the checks")
    parser.add_argument("--seconds", type=float, default=3.0, help="time budget of each peer")
    parser.add_argument("--minutes", type=float, default=7.5, help="time budget of the whole run")
    parser.add_argument("--no-memory", action="store_true", help="do not measure memory")
    parser.add_argument("--commit", help="what is measured, where git cannot tell")
    args = parser.parse_args(argv)
    if args.device.startswith("cuda") and not torch.cuda.is_available():
        print("No CUDA device is available; use --device cpu.", file=sys.stderr)
        return 1
    device = torch.device(args.device)
    progress = Progress(args.out, environment(device, args.commit), args.minutes)
    try:
        run_parts(progress, device, args)
    finally:
        progress.close()
    report = progress.report
    _print_report(report)
    print(f"\n{report['seconds']:.0f} s; written to {args.out}")
    right = all(row["ok"] for row in (report["correctness"] or {}).values())
    return 0 if right and not report["failures"] else 1


if __name__ == "__main__":
    sys.exit(main())
