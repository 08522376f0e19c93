"""The command mmdet-rank: its table, its help, what it loads, what it says to mistakes."""

from __future__ import annotations

import json
import pkgutil
import subprocess
import sys
from pathlib import Path

import command_options
import pytest

from mmdet_rank.cli import commands as subcommands
from mmdet_rank.cli.main import COMMANDS, main

REPOSITORY = Path(__file__).resolve().parents[2]
#: Nothing that is slow to import may be loaded before the arguments are read.
HEAVY = {"torch", "torchvision", "mmdet", "mmcv", "mmengine", "matplotlib", "cv2", "scipy"}
LOOK = """
import io, json, sys
from contextlib import redirect_stdout
names, heavy = json.loads(sys.argv[1]), set(json.loads(sys.argv[2]))
from mmdet_rank.cli.main import main
found = {}
for name in names:
    printed = io.StringIO()
    with redirect_stdout(printed):
        try:
            code = main([name, "--help"]) if name else main(["--help"])
        except SystemExit as ended:
            code = ended.code
    found[name] = [code, printed.getvalue()]
print(json.dumps([found, sorted(heavy & set(sys.modules))]))
"""


@pytest.fixture(scope="module")
def helps():
    arguments = [json.dumps(["", *COMMANDS]), json.dumps(sorted(HEAVY))]
    done = subprocess.run(
        [sys.executable, "-c", LOOK, *arguments],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    return json.loads(done.stdout)


def test_table_and_files_belong_together():
    files = {module.name.replace("_", "-") for module in pkgutil.iter_modules(subcommands.__path__)}
    assert files == set(COMMANDS)


def test_options_are_those_that_users_know():
    expected = json.loads(command_options.OPTIONS.read_text())
    found = command_options.command_options()
    assert list(found) == list(expected)
    for name, options in expected.items():
        assert found[name] == options, name


def test_help_loads_nothing_heavy(helps):
    _, heavy = helps
    assert heavy == []


def test_every_help_has_an_example(helps):
    found, _ = helps
    code, overview = found.pop("")
    assert code == 0
    for name, (code, printed) in found.items():
        assert code == 0
        assert f"usage: mmdet-rank {name}" in printed
        assert f"    mmdet-rank {name}" in printed, f"{name} has no example"
        # A line that goes on below says so, or the shell would not.
        assert max(map(len, printed.splitlines())) <= 100, name
        assert f"  {name} " in overview


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["trian"], "Expected a command, but got 'trian'; do you mean train?"),
        (["x"], "Expected a command, but got 'x'; mmdet-rank --help lists them"),
    ],
)
def test_unknown_command(arguments, message, capsys):
    assert main(arguments) == 1
    assert capsys.readouterr().err == f"error: {message}\n"


def test_wrong_arguments_are_one_line_and_exit_code_1(capsys):
    assert main(["train"]) == 1
    (message,) = capsys.readouterr().err.splitlines()
    assert message.startswith("error: the following arguments are required: ")
    assert message.endswith("CONFIG (see mmdet-rank train --help)")
    assert main(["train", "config.py", "--cfg-options", "no_value"]) == 1
    assert "argument --cfg-options: expected KEY=VALUE" in capsys.readouterr().err


def test_as_a_module():
    done = subprocess.run(
        [sys.executable, "-m", "mmdet_rank", "--version"],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.startswith("mmdet-rank ")


def test_a_reader_that_leaves_early_sees_no_traceback():
    command = f"{sys.executable} -m mmdet_rank --help | true"
    done = subprocess.run(
        ["bash", "-c", command], cwd=REPOSITORY, capture_output=True, text=True, check=False
    )
    assert done.stderr == ""
