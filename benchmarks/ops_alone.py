"""Makes ``mmdet_rank.ops`` importable without MMDetection.

The functions need torch alone, and a benchmark on a bare GPU machine, or one that starts a
process per figure, should not wait for a detection library. Import this first.
"""

import sys
import types
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]

if "mmdet_rank" not in sys.modules:
    package = types.ModuleType("mmdet_rank")
    package.__path__ = [str(ROOT / "mmdet_rank")]
    sys.modules["mmdet_rank"] = package
