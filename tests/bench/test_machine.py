from __future__ import annotations

import json
import platform

import caloforge
from caloforge.bench.machine import describe_machine, package_versions


def test_machine_names_a_processor_and_the_cores_this_process_may_use() -> None:
    machine = describe_machine()
    assert str(machine["cpu"]).strip()
    assert int(machine["cores"]) >= 1
    assert float(machine["memory_GiB"]) > 0.1
    json.dumps(machine, allow_nan=False)


def test_versions_are_those_installed() -> None:
    versions = package_versions()
    assert versions["python"] == platform.python_version()
    assert versions["caloforge"] == caloforge.__version__
    assert "torch" in versions
