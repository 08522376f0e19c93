"""tools/make_digits.py: its output, its second run and its messages."""

from __future__ import annotations

import commands

FEW = ["--train", "3", "--val", "2", "--size", "64", "--seed", "5", "--imbalance", "2"]


def test_it_makes_the_data_shows_progress_and_finds_it_again(tmp_path, capsys):
    out = tmp_path / "deep" / "digits"
    assert commands.make_digits(["--out", str(out), *FEW]) == 0
    first = capsys.readouterr()
    assert "made in" in first.out
    assert "train: 3 images" in first.out
    assert "5/5" in first.err, "the progress bar"
    assert (out / "annotations" / "instances_val.json").is_file()
    assert commands.make_digits(["--out", str(out), *FEW]) == 0
    second = capsys.readouterr()
    assert "nothing to do" in second.out
    assert "train: 3 images" in second.out
    assert not second.err


def test_a_user_error_is_one_line_and_exit_code_1(tmp_path, capsys):
    assert commands.make_digits(["--out", str(tmp_path), "--size", "10"]) == 1
    message = capsys.readouterr().err
    assert message == "error: Expected size to be from 64 to 1024, but got 10.\n"
    assert commands.make_digits(["--out", str(tmp_path), "--train", "many"]) == 1
    message = capsys.readouterr().err
    assert message.startswith("error: argument --train: invalid int value")
    assert "\n" not in message[:-1]


def test_other_options_in_the_same_folder_need_overwrite(tmp_path, capsys):
    out = ["--out", str(tmp_path / "digits")]
    assert commands.make_digits([*out, *FEW]) == 0
    capsys.readouterr()
    more = [*out, *FEW, "--seed", "6"]
    assert commands.make_digits(more) == 1
    assert "--seed 5 is there, --seed 6 is asked for" in capsys.readouterr().err
    assert commands.make_digits([*more, "--overwrite"]) == 0
    assert "made in" in capsys.readouterr().out
