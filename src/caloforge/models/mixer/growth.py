"""A larger mixer that does what a smaller one did; see :mod:`caloforge.models.shared.growth`.

The mixer's layers are normalised over its width, which no added channel would leave alone. So a channel
becomes several equal ones, which share its weights on the way out unevenly, so that they learn different
things. New sources and blocks add nothing yet.
"""

from __future__ import annotations

import torch
from torch import nn

from caloforge.foundations.errors import UsageError
from caloforge.models.mixer.model import Mixer
from caloforge.models.mixer.patches import Block
from caloforge.models.shared.growth import embed, grow

__all__ = ["grow_mixer"]

EVEN = 0.25
"""How far from even shares may be."""


@torch.no_grad()
def grow_mixer(model: nn.Module, given: nn.Module) -> None:
    """Take over the weights of a mixer for the same grid, none of whose sizes is larger, or of its critic.

    Draws from torch's global generator. Raises UsageError for sizes that cannot grow into each other.
    """
    if not (isinstance(model, Mixer) and isinstance(given, Mixer)):
        grow(model, given)
        return
    copies = _copies(model, given)
    new, old = model.state_dict(), given.state_dict()
    for name, tensor in new.items():
        if name.partition(".")[0] not in ("sources", "place_PS", "place_PW", "blocks", "head"):
            tensor.copy_(old[name])
    _grow_sources(model, given, copies)
    embed("place_PS", new["place_PS"], old["place_PS"])
    new["place_PW"].copy_(old["place_PW"].repeat(1, copies))
    for block, before in zip(model.blocks, given.blocks, strict=False):
        assert isinstance(block, Block)
        assert isinstance(before, Block)
        _grow_block(block, before, copies)
    for block in list(model.blocks)[len(given.blocks) :]:
        assert isinstance(block, Block)
        for last in (block.tokens, block.narrow):  # adds nothing to what goes through
            last.weight.zero_()
            last.bias.zero_()
    _copy_channels(model.head, given.head, 1, copies)


def _copies(model: Mixer, given: Mixer) -> int:
    """Return how many channels one becomes. Raises UsageError naming a size that cannot grow so."""
    copies, rest = divmod(model.width, given.width)
    if rest or not copies:
        raise UsageError(f"architecture.width: expected a multiple of {given.width}, got {model.width}")
    if model.patches.side != given.patches.side:
        raise UsageError(f"architecture.patch: expected {given.patches.side}, got {model.patches.side}")
    for name in ("latent", "n_sources"):
        if getattr(model, name) < getattr(given, name):
            option = name.removeprefix("n_")
            raise UsageError(f"architecture.{option}: expected at least {getattr(given, name)}")
    if len(model.blocks) < len(given.blocks):
        raise UsageError(f"architecture.blocks: expected at least {len(given.blocks)}")
    return copies


def _grow_sources(model: Mixer, given: Mixer, copies: int) -> None:
    """Let the sources hear nothing of new latent numbers; new sources stay as they were drawn."""
    new, old, latent = model.state_dict(), given.state_dict(), given.latent
    heard = new["sources.0.weight"].zero_()
    heard[:, :latent] = old["sources.0.weight"][:, :latent]
    heard[:, model.latent :] = old["sources.0.weight"][:, latent:]
    new["sources.0.bias"].copy_(old["sources.0.bias"])
    for name in ("sources.2.weight", "sources.2.bias"):
        shape = old[name].shape[1:]
        by_source = new[name].view(model.n_sources, model.width, *shape)
        small = old[name].view(given.n_sources, given.width, *shape)
        by_source[: given.n_sources] = small.repeat(1, copies, *(1 for _ in shape))


def _grow_block(block: Block, before: Block, copies: int) -> None:
    block.tokens.load_state_dict(before.tokens.state_dict())
    for norm, old in (
        (block.norm_tokens, before.norm_tokens),
        (block.norm_channels, before.norm_channels),
    ):
        for parameter, values in zip(norm.parameters(), old.parameters(), strict=True):
            parameter.copy_(values.repeat(copies))
    _copy_channels(block.widen, before.widen, copies, copies)
    _copy_channels(block.narrow, before.narrow, copies, copies)


def _copy_channels(new: nn.Linear, old: nn.Linear, out: int, copies: int) -> None:
    """Repeat the outputs; the copies of an input share its weight."""
    weight_OI = old.weight.repeat(out, 1)
    share_KOI = 1 + EVEN * (2 * torch.rand(copies, *weight_OI.shape, device=weight_OI.device) - 1)
    share_KOI /= share_KOI.sum(0)
    new.weight.copy_((share_KOI.to(weight_OI.dtype) * weight_OI).transpose(0, 1).flatten(1))
    new.bias.copy_(old.bias.repeat(out))
