"""Every figure shows what it showed when somebody looked at it."""

import json

import figure_facts
import figures_drawn
import pytest

FACTS = json.loads(figure_facts.FACTS.read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def figures():
    return figures_drawn.draw_all()


def test_there_are_no_others(figures):
    assert list(figures) == list(FACTS)


@pytest.mark.parametrize("name", FACTS)
def test_a_figure_shows_what_it_did(figures, name):
    shown = json.loads(json.dumps(figure_facts.figure_facts(figures[name])))
    assert shown["axes"] == approximately(FACTS[name]["axes"])
    assert shown == approximately(FACTS[name])


def approximately(facts):
    """The same facts with numbers that may differ in the last digits."""
    if isinstance(facts, dict):
        return {key: approximately(value) for key, value in facts.items()}
    if isinstance(facts, list):
        return [approximately(value) for value in facts]
    if isinstance(facts, float):
        return pytest.approx(facts, rel=1e-4, abs=1e-6)
    return facts
