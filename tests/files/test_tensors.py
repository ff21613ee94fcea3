from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import nn

from caloforge.files.tensors import load_into, load_tensors, save_tensors
from caloforge.foundations.errors import CaloforgeError, UsageError


def test_every_type_and_the_note_come_back(tmp_path: Path) -> None:
    tensors = {
        "weights": torch.randn(3, 4),
        "half": torch.randn(5).bfloat16(),
        "step": torch.tensor(7),
        "empty": torch.zeros(0, 2),
    }
    save_tensors(tmp_path / "t.safetensors", tensors, {"step": 7, "name": "µ"})
    loaded, note = load_tensors(tmp_path / "t.safetensors")
    assert note == {"step": 7, "name": "µ"}
    assert loaded.keys() == tensors.keys()
    assert all(torch.equal(loaded[name], tensors[name]) for name in tensors)
    assert all(loaded[name].dtype == tensors[name].dtype for name in tensors)


@pytest.mark.parametrize("where", [0.02, 0.5, 0.999])
def test_one_changed_byte_is_found(tmp_path: Path, where: float) -> None:
    path = tmp_path / "t.safetensors"
    save_tensors(path, {"weights": torch.arange(1000.0)}, {"step": 1})
    content = bytearray(path.read_bytes())
    content[int(where * len(content))] ^= 1
    path.write_bytes(content)
    with pytest.raises(CaloforgeError, match=r"t\.safetensors"):
        load_tensors(path)


def test_a_truncated_or_absent_file_is_one_line(tmp_path: Path) -> None:
    path = tmp_path / "t.safetensors"
    with pytest.raises(UsageError, match="no such file"):
        load_tensors(path)
    save_tensors(path, {"weights": torch.arange(1000.0)}, {})
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(CaloforgeError, match="whole"):
        load_tensors(path)


def test_weights_of_another_shape_are_named() -> None:
    network = nn.Linear(3, 2)
    with pytest.raises(CaloforgeError, match=r"critic\.bias.*\(2,\).*nothing"):
        load_into(network, {"critic.weight": torch.zeros(2, 3)}, "critic")
    with pytest.raises(CaloforgeError, match=r"weight.*\(2, 3\).*\(3, 2\)"):
        load_into(network, {"weight": torch.zeros(3, 2), "bias": torch.zeros(2)})
