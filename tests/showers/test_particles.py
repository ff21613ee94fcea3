from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from caloforge.foundations.errors import UsageError
from caloforge.showers.particles import PARTICLES, name_of, parse_particles


@given(st.lists(st.sampled_from([*PARTICLES]), min_size=1, unique=True))
def test_names_and_numbers_belong_together(names: list[str]) -> None:
    found = parse_particles(", ".join(names))
    assert [name_of(pdg) for pdg in found] == names
    assert found == tuple(PARTICLES[name] for name in names)


@pytest.mark.parametrize("text", ["", "electron", "e-,", "e-,e-", "11", "E-", "e-;gamma"])
def test_what_is_no_particle_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match=r"^--particle: expected e-, e\+, gamma, .* got '"):
        parse_particles(text)
    with pytest.raises(UsageError, match=r"^x: expected gamma, or several"):
        parse_particles("e-", "x", ("gamma",))


def test_a_particle_without_a_name_keeps_its_number() -> None:
    assert name_of(1000020040) == "PDG id 1000020040"
    assert name_of(-11) == "e+"
