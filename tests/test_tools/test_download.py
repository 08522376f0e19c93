"""`mmdet-rank train DATA --base coco`: weights that are downloaded, from a server in this process.

The weights that come are trained from in test_own_data_detectors.
"""

import re
import socket
import threading
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer

import labelled_data
import pytest
import torch

from mmdet_rank.cli.errors import UserError
from mmdet_rank.cli.main import main
from mmdet_rank.cli.own_data import start
from mmdet_rank.cli.own_data.config import make_model, read_config
from mmdet_rank.cli.own_data.detectors import DETECTORS


@pytest.fixture
def hub(tmp_path, monkeypatch):
    """The folder that downloads go to."""
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "hub"))
    monkeypatch.setenv("no_proxy", "*")
    return tmp_path / "hub" / "hub" / "checkpoints"


@pytest.fixture
def server(tmp_path):
    """A folder that is served, and its address."""
    served = tmp_path / "served"
    served.mkdir()
    handler = partial(SimpleHTTPRequestHandler, directory=str(served))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as running:
        thread = threading.Thread(target=running.serve_forever)
        thread.start()
        yield served, f"http://127.0.0.1:{running.server_port}"
        running.shutdown()
        thread.join()


@pytest.fixture(scope="module")
def small():
    """A small model and its weights."""
    model = make_model(read_config(DETECTORS["yolov8n"].small), 3, "none")
    return model, start.build(model).state_dict()


def test_what_is_there_is_named_downloaded_and_found_again(server, hub, small, capsys):
    served, address = server
    model, weights = small
    torch.save({"state_dict": weights, "meta": {}}, served / "small-1a2b.pth")
    found = start.download(f"{address}/small-1a2b.pth", model)
    assert found == str(hub / "small-1a2b.pth")
    said = capsys.readouterr().out
    size = re.match(rf"Downloading about (\d+) MB from {address}/small-1a2b.pth to {found}\n", said)
    assert int(size[1]) == -(-4 * sum(p.numel() for p in start.build(model).parameters()) // 10**6)
    assert abs((hub / "small-1a2b.pth").stat().st_size / 10**6 - int(size[1])) < 2
    (served / "small-1a2b.pth").unlink()
    assert start.download(f"{address}/small-1a2b.pth", model) == found
    assert "downloaded before" in capsys.readouterr().out
    assert [path.name for path in hub.iterdir()] == ["small-1a2b.pth"]


def test_what_does_not_come_is_told(server, hub, small):
    served, address = server
    with pytest.raises(UserError, match=r"does not come \(.*not found\).* give it by --base FILE"):
        start.download(f"{address}/nothing.pth", small[0])
    # A page to log in, and a file that is cut short.
    (served / "page.pth").write_text("<html>Welcome to the hotel's network</html>")
    with pytest.raises(UserError, match=r"only 43 bytes came of 12,\d\d\d,\d\d\d or more"):
        start.download(f"{address}/page.pth", small[0])
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))
        port = nobody.getsockname()[1]
        with pytest.raises(UserError, match="Connection refused"):
            start.download(f"http://127.0.0.1:{port}/a.pth", small[0])
    assert list(hub.iterdir()) == []
    assert socket.getdefaulttimeout() is None


def test_without_network_the_command_says_what_to_do(hub, tmp_path, monkeypatch, capsys):
    """A proxy that is not there stands for a network that is not."""
    monkeypatch.setenv("no_proxy", "")
    for kind in ("http_proxy", "https_proxy"):
        monkeypatch.setenv(kind, "http://127.0.0.1:9")
    data = labelled_data.write_voc(tmp_path / "data")
    out = tmp_path / "out"
    assert main(["train", str(data), "--base", "coco", "--work-dir", str(out)]) == 1
    said = capsys.readouterr()
    # Size and source come first.
    size = re.search(r"Downloading about (\d+) MB from https://\S*atss_r50_fpn_1x_coco", said.out)
    # Some 32 million parameters of four bytes.
    assert 120 < int(size[1]) < 140
    message = said.err.splitlines()[-1]
    assert message.startswith("error: Expected to download https://")
    assert message.endswith("by --base FILE, or train from the backbone that is installed by "
                            "--base imagenet")  # fmt: skip
    assert list(hub.iterdir()) == []
    # Nothing was begun; and for data that is not there nothing is asked of the network.
    assert not out.exists()
    assert main(["train", str(tmp_path / "mistyped"), "--base", "coco"]) == 1
    said = capsys.readouterr()
    assert "mistyped does not exist" in said.err
    assert "Downloading" not in said.out


def test_every_family_has_published_weights():
    addresses = {d.stock: start.published_weights(d.stock) for d in DETECTORS.values() if d.stock}
    assert len(addresses) == 4
    for stock, address in addresses.items():
        assert address.startswith("https://")
        assert address.endswith(".pth")
        assert stock.split("/")[0] in address
