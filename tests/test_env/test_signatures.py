"""Arguments and their defaults change only when somebody means it."""

import json

import mmdet_rank.register  # noqa: F401

import signatures


def test_arguments_and_defaults():
    # After a wanted change: see tests/helpers/signatures.py.
    found, wanted = signatures.signatures(), json.loads(signatures.FACTS.read_text())
    assert list(found) == list(wanted)
    for module, functions in wanted.items():
        assert found[module] == functions, module
