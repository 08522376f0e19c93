"""The faults that `make mutants` puts into the package."""

import ast

import pytest
from mutants import mutate, sites

SOURCE = '''
"""A docstring of 3 words."""

def check(values: "list[1]", limit: int = 4) -> 7:
    """Doc with 5."""
    total = 0
    for value in values:
        total += value * limit
    if not total and limit < 3:
        raise ValueError(f"Expected 9, but got {total + 1}")
    note(total, limit)
    return -total if limit is None else True
'''


def test_every_kind_of_fault_and_no_other():
    found = [mutate(SOURCE, number) for number in range(len(sites(ast.parse(SOURCE))))]
    changes = [what.split(", ", 1)[1] for _, what in found]
    assert sorted(changes) == [
        "and/or: not total and limit < 3  ->  not total or limit < 3",
        "arguments: note(total, limit)  ->  note(limit, total)",
        "comparison: limit < 3  ->  limit <= 3",
        "comparison: limit is None  ->  limit is not None",
        "condition: -total if limit is None else True  ->  -total if not limit is None else True",
        "condition: if not total and limit < 3:  ->  if not (not total and limit < 3):",
        "constant: 0  ->  1",
        "constant: 3  ->  4",
        "constant: 4  ->  5",
        "constant: True  ->  False",
        "negation: -total  ->  total",
        "negation: not total  ->  total",
        "operator: total += value * limit  ->  total -= value * limit",
        "operator: value * limit  ->  value / limit",
        "statement: note(total, limit)  ->  pass",
        "statement: total += value * limit  ->  pass",
    ]
    assert [what.split(",")[0] for _, what in found if "note" in what] == ["line 11"] * 2
    for changed, _ in found:
        assert ast.dump(ast.parse(changed)) != ast.dump(ast.parse(SOURCE))


@pytest.mark.parametrize("number", [0, 5])
def test_a_mutant_has_one_fault(number):
    before = ast.unparse(ast.parse(SOURCE)).split("\n")
    after = mutate(SOURCE, number)[0].split("\n")
    assert len(before) == len(after)
    assert sum(a != b for a, b in zip(before, after, strict=True)) == 1
