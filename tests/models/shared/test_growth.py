"""A grown network does what the smaller one did, and what is new in it learns."""

from __future__ import annotations

import pytest
import torch

from caloforge.detector import Grid
from caloforge.foundations.errors import UsageError
from caloforge.models.base import ShowerModel
from caloforge.models.mixer.growth import grow_mixer
from caloforge.models.mixer.model import Mixer
from caloforge.models.mixer.moments import begin
from caloforge.models.registry import MODELS
from caloforge.models.shared.growth import grow
from caloforge.models.threedgan.first_weights import grow_network
from caloforge.showers.batch import Batch, Given

GRID = Grid("block", (7, 9, 4), cell_size=(5.0, 5.0), layer_pitch_mm=4.0)
SMALL: dict[str, dict[str, int]] = {
    "mixer": {"width": 8, "blocks": 1, "latent": 5, "sources": 2, "patch": 4},
    "copula": {"factors": 5},
    "3dgan": {"filters": 3, "latent": 20, "critic_filters": 3},
    "3dgan-angle": {"filters": 3, "critic_filters": 3},
}
GROW = {"mixer": grow_mixer, "copula": grow, "3dgan": grow_network, "3dgan-angle": grow_network}
GROWTHS = [
    *(("mixer", dict([one])) for one in {"width": 24, "blocks": 3, "latent": 9, "sources": 4}.items()),
    ("mixer", {"width": 16, "blocks": 2, "latent": 6, "sources": 3}),
    ("copula", {"factors": 9}),
    ("3dgan", {"filters": 7}),
    ("3dgan", {"latent": 31, "critic_filters": 5}),
    ("3dgan-angle", {"filters": 9, "critic_filters": 4}),
]


def some_showers() -> Batch:
    torch.manual_seed(3)
    deposits_BXYZ = torch.rand(64, *GRID.shape) * (torch.rand(64, *GRID.shape) > 0.6)
    angle_B = torch.full((64,), 1.4)
    given = Given.of(torch.linspace(1e4, 1e5, 64), angle_B, impact_mm_B2=torch.rand(64, 2) - 0.5)
    return Batch(deposits_BXYZ, given)


def trained_a_little(network: torch.nn.Module) -> None:
    """Return every weight and statistic a value of its own, near those that training begins with."""
    for tensor in network.state_dict().values():
        if tensor.is_floating_point() and tensor.dim():
            tensor.mul_(1 + 0.1 * torch.rand_like(tensor)).add_(0.01 * torch.rand_like(tensor))


def generator(name: str, sizes: dict[str, int]) -> ShowerModel:
    torch.manual_seed(4)
    model = MODELS[name].build(GRID, 0.0, sizes)
    if isinstance(model, Mixer):
        begin(model, some_showers())
    return model.double().eval()


@pytest.mark.parametrize(("name", "sizes"), GROWTHS)
def test_a_grown_generator_makes_the_same_showers(name: str, sizes: dict[str, int]) -> None:
    small, large = generator(name, SMALL[name]), generator(name, SMALL[name] | sizes)
    trained_a_little(small)
    GROW[name](large, small)
    given = some_showers().given.each(lambda values: values.double())
    old_BL = torch.randn(64, small.noise_size, dtype=torch.float64)
    added = large.noise_size - small.noise_size
    kept = {"mixer": SMALL["mixer"]["latent"], "copula": SMALL["copula"]["factors"]}.get(name, 0)
    if name == "3dgan":
        kept = small.noise_size
    new_BL = torch.cat([old_BL[:, :kept], torch.randn(64, added).double(), old_BL[:, kept:]], 1)
    with torch.no_grad():
        before, after = small(given, old_BL), large(given, new_BL)
    assert float(before.std()) > 0
    torch.testing.assert_close(after, before, rtol=1e-5, atol=1e-5 * float(before.abs().max()))


@pytest.mark.parametrize("name", ["3dgan", "3dgan-angle"])
def test_a_grown_critic_judges_the_same(name: str) -> None:
    family = MODELS[name]
    torch.manual_seed(5)
    small = family.build_critic(GRID, SMALL[name])
    large = family.build_critic(GRID, SMALL[name] | {"critic_filters": 6})
    trained_a_little(small)
    GROW[name](large, small)
    image_BXYZ = torch.rand(5, *GRID.shape)
    for before, after in zip(small.eval()(image_BXYZ), large.eval()(image_BXYZ), strict=True):
        torch.testing.assert_close(after, before, rtol=1e-5, atol=1e-5)


def test_what_is_new_in_a_mixer_learns() -> None:
    """Every new weight on the way out has a gradient, and the copies of a channel part."""
    sizes = {"width": 16, "blocks": 2, "latent": 7, "sources": 3}
    small, large = generator("mixer", SMALL["mixer"]), generator("mixer", SMALL["mixer"] | sizes)
    grow_mixer(large, small)
    assert isinstance(large, Mixer)
    real = some_showers()
    given = real.given.each(lambda values: values.double())
    (-large.log_likelihood(real.deposits_BXYZ.double(), given.energy_B, given.impact_mm_B2)).backward()  # type: ignore[no-untyped-call]
    gradients = dict(large.named_parameters())
    for name, part in {
        "sources.0.weight": slice(5, 7),
        "place_PS": slice(2, 3),
        "blocks.1.narrow.weight": slice(None),
        "blocks.1.tokens.weight": slice(None),
    }.items():
        gradient = gradients[name].grad
        assert gradient is not None
        assert float(gradient[:, part].abs().max()) > 0, name
    first, second = large.place_PW.grad.chunk(2, 1)  # type: ignore[union-attr]
    assert not torch.allclose(first, second)


@pytest.mark.parametrize(
    ("sizes", "word"),
    [
        ({"width": 12}, "multiple of 8"),
        ({"width": 4}, "multiple of 8"),
        ({"patch": 3}, "patch"),
        ({"latent": 4}, "latent"),
        ({"sources": 1}, "sources"),
    ],
)
def test_a_mixer_that_cannot_grow_so_is_refused(sizes: dict[str, int], word: str) -> None:
    small, large = (MODELS["mixer"].build(GRID, 0.0, SMALL["mixer"] | more) for more in ({}, sizes))
    with pytest.raises(UsageError, match=word):
        grow_mixer(large, small)


def test_nothing_shrinks() -> None:
    small = MODELS["copula"].build(GRID, 0.0, {"factors": 4})
    with pytest.raises(UsageError, match="would shrink"):
        grow(small, MODELS["copula"].build(GRID, 0.0, {"factors": 5}))
