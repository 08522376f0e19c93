"""Settings of a training for some data sets and machines, each with its reason.

    PYTHONPATH=.:tests/helpers python tests/test_tools/test_plan.py

writes ``tests/data/plans.txt`` anew, after a wanted change; read the difference.
"""

from dataclasses import fields
from pathlib import Path

from own_data_config import CELLS

from mmdet_rank.cli.own_data.facts import DataFacts, Machine
from mmdet_rank.cli.own_data.plan import make_plan

PLANS = Path(__file__).parents[1] / "data" / "plans.txt"
AERIAL = dict(classes=tuple(f"kind-{i}" for i in range(9)), num_train=1400, num_empty=100,
              num_val=300, num_objects=90_000, long_side=4000, small_object=12.5,
              large_object=300.0, most_objects=260, has_masks=False)  # fmt: skip
SIGNS = dict(classes=("turn_left", "turn-right"), num_train=3, num_empty=2, num_val=1,
             num_objects=3, long_side=100, small_object=90.0, large_object=95.0, most_objects=1,
             has_masks=True)  # fmt: skip
LETTERS = SIGNS | dict(classes=("a", "dot"), num_train=9, long_side=300, small_object=7.0)
SHIPS = CELLS | dict(classes=("boat", "raft", "tanker"), long_side=1280, small_object=16.0,
                     large_object=900.0, set_aside=("raft",))  # fmt: skip
CASES = {
    "cells, two cores": (CELLS, Machine(None, 0.0, False, 2), dict(smallest_stride=8)),
    "cells, one core, mixed": (CELLS, Machine(None, 0.0, False, 1),
                               dict(smallest_stride=8, amp=True)),
    "cells, a large GPU": (CELLS, Machine("H100", 79.2, True, 16), dict(smallest_stride=8)),
    "cells, a small old GPU": (CELLS, Machine("K80", 5.5, False, 6), dict(smallest_stride=16)),
    "aerial, a small GPU": (AERIAL, Machine("T4", 14.6, True, 4), dict(smallest_stride=4)),
    "aerial, two cores, many pictures": (AERIAL | dict(num_train=90_000),
                                         Machine(None, 0.0, False, 2), dict(smallest_stride=8)),
    "aerial, two cores, few steps": (AERIAL, Machine(None, 0.0, False, 2),
                                     dict(smallest_stride=None, max_iters=30)),
    "signs, two cores": (SIGNS, Machine(None, 0.0, False, 2), dict(smallest_stride=8)),
    "signs, a GPU, another rate": (SIGNS, Machine("T4", 14.6, True, 4),
                                   dict(smallest_stride=8, lr=0.01, lr_batch=16, max_iters=5)),
    "ships, a GPU, an RPN": (SHIPS, Machine("T4", 14.6, True, 4),
                             dict(smallest_stride=4, rpn_stride=64)),
    "letters, three cores": (LETTERS, Machine(None, 0.0, False, 3), dict(smallest_stride=8)),
}  # fmt: skip


def written():
    """All plans as text."""
    lines = []
    for name, (facts, machine, options) in CASES.items():
        plan = make_plan(DataFacts(**facts), machine, **options)
        lines += ["", f"# {name}"]
        lines += [
            f"{f.name} = {getattr(plan, f.name)}" for f in fields(plan) if f.name != "reasons"
        ]
        lines += ["    " + "  |  ".join(reason) for reason in plan.reasons]
    return lines[1:]


def test_plans_are_as_they_were_when_somebody_read_them():
    assert written() == PLANS.read_text(encoding="utf-8").splitlines()


if __name__ == "__main__":
    PLANS.write_text("\n".join(written()) + "\n", encoding="utf-8")
