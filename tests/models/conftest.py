"""Networks built in Keras, once for all tests of this folder."""

from __future__ import annotations

import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def keras_reference(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Give the folder that ``keras_reference.py`` filled."""
    if find_spec("keras") is None:
        pytest.skip("keras is not installed")
    folder = tmp_path_factory.mktemp("keras")
    script = Path(__file__).with_name("keras_reference.py")
    subprocess.run([sys.executable, script, folder], check=True, capture_output=True, timeout=600)
    return folder
