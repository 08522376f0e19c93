"""Without the lvis package: one message that says how to get it."""

import importlib
import sys

import pytest

from mmdet_rank.evaluation.metrics import LVISLRPMetric


def test_command_and_metric(monkeypatch):
    monkeypatch.setitem(sys.modules, "lvis", None)
    monkeypatch.delitem(sys.modules, "mmdet_rank.evaluation.lvis", raising=False)
    with pytest.raises(ImportError, match="pip install --no-deps lvis"):
        importlib.import_module("mmdet_rank.evaluation.lvis")
    with pytest.raises(ImportError, match="pip install --no-deps lvis"):
        LVISLRPMetric(ann_file="none.json")
