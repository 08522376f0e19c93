"""The options of every subcommand, as data.

    PYTHONPATH=. python tests/helpers/command_options.py

writes ``tests/data/command_options.json`` anew, after a wanted change; read the difference.
"""

from __future__ import annotations

import json
from pathlib import Path

from mmdet_rank.cli.main import COMMANDS, Parser, _load

OPTIONS = Path(__file__).parents[1] / "data" / "command_options.json"


def command_options() -> dict[str, dict[str, list]]:
    """By command and option: kind, number of values, default, choices, and whether it must be."""
    found = {}
    for name in COMMANDS:
        parser = Parser(prog=name)
        _load(name).add_arguments(parser)
        found[name] = {
            " ".join(action.option_strings) or action.dest: [
                type(action).__name__,
                action.nargs,
                None if action.default is None else str(action.default),
                None if action.choices is None else [str(choice) for choice in action.choices],
                action.required,
            ]
            for action in parser._actions
        }
    return found


if __name__ == "__main__":
    lines = [f" {json.dumps(name)}: {{\n" + ",\n".join(
        f"  {json.dumps(option)}: {json.dumps(facts)}" for option, facts in options.items()
    ) + "\n }" for name, options in command_options().items()]  # fmt: skip
    OPTIONS.write_text("{\n" + ",\n".join(lines) + "\n}\n")
