"""Everything there is to know about the losses on a GPU, in one run of less than eight minutes.

Checks the kernels against float64 on random, tied, extreme, odd-sized, float16 and bfloat16
input, that repeated runs agree bit by bit, on another stream and device too, and how often the host
waits; measures all presets with their peers; says where the time goes, on the device and on the
host; holds the figures against the goals; writes one JSON file. The file is written after every
part: what a part that fails, or the end of the time, leaves out is named in it, and all other
figures are there; kernels that do not run are a failure. Needs torch with Triton and torchvision,
nothing else, and no network.

Example:
    PYTHONPATH=. python benchmarks/gpu_report.py --out benchmarks/results/gpu.json
"""

from __future__ import annotations

import argparse
import signal
import sys
import time
import traceback

import kernel_variants
import ranking_losses
import torch
from gpu_checks import (
    check_behaviour,
    check_correctness,
    check_kernels,
    check_losses,
    check_streams,
)
from measure import environment, one_line, write_json
from presets import PRESETS, draw

#: Goals on an H200-class GPU: what, preset, figure of a result's row, bound.
GOALS = [
    ("no slower than focal loss", "rs-atss", lambda rows: rows["focal"]["times_ours"], ">=", 1.0),
    ("peak memory per logits'", "rs-atss", lambda rows: rows["ours"]["peak_per_logits"], "<=", 3.0),
    ("times a loop", "rs-atss", lambda rows: rows["loop"]["times_ours"], ">=", 100.0),
    ("gradient error", "rs-atss", lambda rows: rows["ours"]["gradient_error"], "<=", 1e-5),
    ("times the logits' passes", "stress", lambda rows: _times_passes(rows), "<=", 3.0),
]


def _times_passes(rows):
    """Time as a multiple of one pass that reads the logits and one that copies them."""
    passes = (rows[name]["wall_s"]["median"] for name in ("sum", "clone"))
    return rows["ours, places"]["wall_s"]["median"] / sum(passes)


def profile(device, preset, name="ours"):
    """Device time and launches of each kernel in one step of a peer on a preset.

    Operators of torch are left out: their device time is that of the kernels that they start.
    """
    logits, targets = draw(preset, device)
    step = ranking_losses.make_step(name, logits, targets)
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

    def part(self, name, function, *args, **options):
        """Run one part; returns its result, or None when it failed."""
        result = None
        try:
            if self._over:
                raise OutOfTimeError("the time was over")
            result = function(*args, **options)
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


def measure_preset(progress, kind, preset, device, seconds, memory_of, **options):
    """Measure one preset, print its table and add it to the report."""
    options = {"dtype": torch.float32, "to": "results"} | options
    to = options.pop("to")
    result = ranking_losses.run_preset(
        preset, kind, device, seconds=seconds, memory_of=memory_of, **options
    )
    ranking_losses.print_table(result)
    progress.report.setdefault(to, []).append(result)


def run_parts(progress, device, args):
    """All parts, the most wanted ones first."""
    report = progress.report
    memory_of = () if args.no_memory else ranking_losses.PEERS
    report["kernels"] = progress.part("kernels", check_kernels, device)
    report["correctness"] = progress.part("correctness", check_correctness, device, args.size)
    report["losses"] = progress.part("losses", check_losses, device, args.size)
    report["behaviour"] = progress.part("behaviour", check_behaviour, device, args.size)
    if device.type == "cuda":
        report["streams"] = progress.part("streams", check_streams, device, args.size)
        large, small = PRESETS["rs-atss"][0], PRESETS["rpn"][0]
        report["profile"] = progress.part("profile", profile, device, large)
        for preset in (large, small):
            name = f"profile of {preset.name} by places"
            report[name] = progress.part(name, profile, device, preset, "ours, places")
        report["host"] = progress.part("host", kernel_variants.host_times, device, small)
    for kind in args.preset:
        for preset in PRESETS[kind]:
            wanted = (progress, kind, preset, device, args.seconds, memory_of)
            progress.part(preset.name, measure_preset, *wanted)
            if device.type == "cuda" and preset.name == "rs-atss":
                measure_low_precisions(progress, preset, device, args.seconds)
        if args.variants and kind == args.preset[0]:
            wanted = ("variants", kernel_variants.device_times, device, PRESETS["rs-atss"][0])
            report["variants"] = progress.part(*wanted)


def measure_low_precisions(progress, preset, device, seconds):
    """The preset once more in the 16-bit dtypes, beside focal loss alone."""
    for name in ("float16", "bfloat16"):
        options = {
            "dtype": ranking_losses.DTYPES[name],
            "peers": ("ours", "ours, places", "focal", "focal, compiled", "sum", "clone"),
            "to": "low_precisions",
        }
        part = f"{preset.name}, {name}"
        wanted = (measure_preset, progress, preset.name, preset, device, seconds, ("ours",))
        progress.part(part, *wanted, **options)


def _print_report(report):
    print(f"\nkernels at work: {report['kernels']}\ngradient error against float64")
    for name, row in ((report["correctness"] or {}) | (report["losses"] or {})).items():
        error = row.get("failure") or f"{row['gradient_error']:10.1e}"
        print(f"{name:45}{error}  {'ok' if row['ok'] else 'TOO LARGE'}")
    for name, row in (report["behaviour"] or {}).items():
        print(f"{name}: " + ", ".join(f"{key} {value}" for key, value in row.items()))
    for name, rows in report.items():
        if name.startswith("profile") and rows:
            launches = sum(row["launches"] for row in rows)
            total = sum(row["device_us"] for row in rows)
            print(f"\n{name}: {launches} launches, {total:.0f} us on the device")
            for row in rows[:12]:
                print(f"{row['device_us']:10.1f} us {row['launches']:4} x {row['kernel']}")
    for name in ("host", "variants"):
        for what, value in (report.get(name) or {}).items():
            print(f"{name}: {what}: {value}")
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
    parser.add_argument("--variants", action="store_true", help="measure sizes of the programs")
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
    checks = (report["correctness"] or {}) | (report["losses"] or {})
    right = all(row["ok"] for row in checks.values())
    return 0 if right and not report["failures"] else 1


if __name__ == "__main__":
    sys.exit(main())
