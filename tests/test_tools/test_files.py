"""Files that are written whole or not at all, also through links and into pipes."""

import json
import os
import tempfile
import threading
from pathlib import Path

import pytest

from mmdet_rank.files import write_json, written_whole


@pytest.fixture(autouse=True)
def aside(tmp_path, monkeypatch):
    """The folder in which files lie that cannot lie beside what they become."""
    folder = tmp_path / "aside"
    folder.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    yield folder
    assert list(folder.iterdir()) == []


def read_by(path):
    """Start to read a pipe; return the thread and the list that its bytes go into."""
    got = []
    thread = threading.Thread(target=lambda: got.append(path.read_bytes()), daemon=True)
    thread.start()
    return thread, got


def write_half(path):
    with written_whole(path) as temporary:
        temporary.write_text("half")
        raise KeyboardInterrupt


def test_of_a_link_the_target_is_written_in_its_own_folder(tmp_path):
    target, link = tmp_path / "disk" / "old.json", tmp_path / "here" / "link.png"
    for path in (target, link):
        path.parent.mkdir()
    target.write_text("old")
    link.symlink_to(Path("..") / "disk" / "old.json")
    with written_whole(link) as temporary:
        assert temporary.parent == target.parent
        # By which writers tell what is asked for.
        assert temporary.suffix == ".png"
        temporary.write_text("new")
        assert target.read_text() == "old"
    assert link.is_symlink()
    assert target.read_text() == "new"
    assert not target.is_symlink()
    with pytest.raises(KeyboardInterrupt):
        write_half(link)
    assert target.read_text() == "new"
    assert [len(list(path.parent.iterdir())) for path in (target, link)] == [1, 1]


def test_a_link_to_nothing_gets_what_it_leads_to(tmp_path):
    link = tmp_path / "link.json"
    link.symlink_to(tmp_path / "new" / "disk" / "report.json")
    write_json(link, {"a": 1})
    assert link.is_symlink()
    assert json.loads((tmp_path / "new" / "disk" / "report.json").read_text()) == {"a": 1}


def test_a_link_to_itself_leads_nowhere_and_is_replaced(tmp_path):
    link = tmp_path / "link.json"
    link.symlink_to(link)
    write_json(link, [1])
    assert json.loads(link.read_text()) == [1]
    assert not link.is_symlink()


@pytest.mark.parametrize("linked", [False, True])
def test_a_pipe_gets_the_bytes_and_stays_a_pipe(linked, tmp_path):
    pipe = path = tmp_path / "pipe"
    os.mkfifo(pipe)
    if linked:
        path = tmp_path / "link"
        path.symlink_to(pipe)
    reader, got = read_by(pipe)
    data = {"values": list(range(50_000))}
    write_json(path, data)
    reader.join(timeout=60)
    assert json.loads(got[0]) == data
    assert pipe.is_fifo()
    assert path.is_symlink() == linked


def test_a_pipe_gets_nothing_after_an_error(tmp_path):
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    # Open for both, so that nothing waits for the other side.
    ours = os.open(pipe, os.O_RDWR | os.O_NONBLOCK)
    try:
        with pytest.raises(KeyboardInterrupt):
            write_half(pipe)
        with pytest.raises(BlockingIOError):
            os.read(ours, 1)
    finally:
        os.close(ours)
    assert pipe.is_fifo()


def test_an_open_file_is_written_where_it_is_open(tmp_path):
    """As /dev/stdout is after `> file`: what was printed before and after stays."""
    file, link = tmp_path / "printed.txt", tmp_path / "stdout"
    with file.open("w") as printed:
        link.symlink_to(f"/dev/fd/{printed.fileno()}")
        print("before", file=printed, flush=True)
        write_json(link, [1], indent=None)
        print("after", file=printed)
    assert file.read_text() == "before\n[1]\nafter\n"
    assert link.is_symlink()


def test_a_folder_is_not_written_over(tmp_path):
    (tmp_path / "folder").mkdir()
    (tmp_path / "link").symlink_to("folder")
    for name in ("folder", "link"):
        with pytest.raises(IsADirectoryError):
            write_json(tmp_path / name, [1])
    assert sorted(path.name for path in tmp_path.iterdir()) == ["aside", "folder", "link"]
