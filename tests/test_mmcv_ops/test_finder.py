"""Which operators mmcv gets: compiled ones where it has them, the stand-ins where not."""

import importlib
import sys

import mmcv
import pytest

from mmdet_rank import mmcv_ops
from mmdet_rank.compat import StackError
from mmdet_rank.mmcv_ops import finder


@pytest.fixture
def extension(tmp_path, monkeypatch):
    """Where a module put into mmcv stands for its compiled operators, during one test."""
    name = "mmcv._ext"
    monkeypatch.setattr(mmcv, "_ext", importlib.import_module(name))
    monkeypatch.delitem(sys.modules, name)
    monkeypatch.setattr(mmcv, "__path__", [str(tmp_path), *mmcv.__path__])
    return tmp_path / "_ext.py"


def test_compiled_operators_win(extension):
    extension.write_text("compiled = True\n")
    importlib.invalidate_caches()
    mmcv_ops.install()
    assert sys.modules["mmcv._ext"].compiled
    assert not mmcv_ops.is_stand_in()


def test_compiled_operators_that_do_not_load_are_not_replaced(extension):
    extension.write_text("raise ImportError('undefined symbol: _ZN3c10')\n")
    importlib.invalidate_caches()
    with pytest.raises(StackError, match=r"undefined symbol.*\nDo: reinstall mmcv"):
        mmcv_ops.install()


@pytest.mark.parametrize(
    "error",
    [
        ModuleNotFoundError("No module named 'torchvision'", name="torchvision"),
        RuntimeError("operator torchvision::nms does not exist"),
    ],
)
def test_torchvision_that_does_not_load_is_told(monkeypatch, error):
    def fail(name):
        raise error

    monkeypatch.setattr(finder.importlib, "import_module", fail)
    with pytest.raises(StackError, match=r"Expected torchvision, .*\nDo: pip install --upgr"):
        mmcv_ops.install()
