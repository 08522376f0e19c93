import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest


def test_kernels_through_the_interpreter():
    pytest.importorskip("triton", minversion="3.3")
    try:
        int(np.ones(1))
    except TypeError:
        pytest.skip(
            "Triton's interpreter takes arrays of one entry for numbers; this NumPy does not"
        )
    # Triton decides when it is imported whether it compiles or interprets.
    tests = Path(__file__).with_name("test_kernels.py")
    result = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider", str(tests)],
        cwd=tests.parents[2],
        env={**os.environ, "TRITON_INTERPRET": "1"},
        capture_output=True,
        text=True,
    )
    assert result.returncode == 0, result.stdout[-5000:] + result.stderr[-2000:]
    assert " passed" in result.stdout
