"""Larger networks that do what smaller ones did: all weights are taken over, and what is new adds nothing yet.

New filters, latent numbers, factors, sources and blocks have weights of zero on their way out, which learn
at once since what they multiply is not zero. The mixer's layers are normalised over its width, which no
added channel would leave alone: there a channel becomes several equal ones, which share its weights on the
way out unevenly, so that they learn different things.

Source: T. Chen, I. Goodfellow, J. Shlens, Net2Net, ICLR 2016.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from caloforge.foundations.errors import UsageError
from caloforge.models.mixer.model import Block, Mixer
from caloforge.models.threedgan.layers import Discriminator

__all__ = ["grow"]

EVEN = 0.25
"""How far from even shares may be."""


@torch.no_grad()
def grow(model: nn.Module, given: nn.Module) -> None:
    """Take over the weights of a network of the same kind and grid, none of whose sizes is larger.

    The noise that is new must be drawn beside the old, where each network has it. Draws from torch's global
    generator. Raises UsageError for sizes that cannot grow into each other.
    """
    if isinstance(model, Mixer) and isinstance(given, Mixer):
        _grow_mixer(model, given)
        return
    new, old = model.state_dict(), given.state_dict()
    if new.keys() != old.keys():
        raise UsageError("its layers are others")
    for name, tensor in new.items():
        if isinstance(model, Discriminator) and name in ("real.weight", "energy.weight"):
            # The features of a cell lie side by side.
            cells = old[name].numel() // _filters(given)
            _embed(name, tensor.view(1, cells, -1), old[name].view(1, cells, -1))
        else:
            _embed(name, tensor, old[name])


def _filters(network: nn.Module) -> int:
    """Return the filters of the last convolution."""
    return [module for module in network.modules() if isinstance(module, nn.BatchNorm3d)][
        -1
    ].num_features


def _embed(name: str, new: Tensor, old: Tensor) -> None:
    """Copy into the corner; what is new of an old row is zero, what is in new rows stays as it is."""
    if any(n < o for n, o in zip(new.shape, old.shape, strict=True)):
        raise UsageError(f"{name} would shrink from {list(old.shape)} to {list(new.shape)}")
    rows = new[: len(old)] if new.dim() else new
    if new.dim() > 1:
        rows.zero_()
    rows[tuple(slice(n) for n in old.shape)] = old


def _grow_mixer(model: Mixer, given: Mixer) -> None:
    new, old = model.state_dict(), given.state_dict()
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
    for name, tensor in new.items():
        if name.partition(".")[0] not in ("sources", "place_PS", "place_PW", "blocks", "head"):
            tensor.copy_(old[name])
    heard = new["sources.0.weight"]
    added = model.latent - given.latent
    heard.zero_()
    heard[:, : given.latent] = old["sources.0.weight"][:, : given.latent]
    heard[:, given.latent + added :] = old["sources.0.weight"][:, given.latent :]
    new["sources.0.bias"].copy_(old["sources.0.bias"])
    for name in ("sources.2.weight", "sources.2.bias"):
        shape = old[name].shape[1:]
        by_source = new[name].view(model.n_sources, model.width, *shape)
        by_source[: given.n_sources] = (
            old[name].view(given.n_sources, given.width, *shape).repeat(1, copies, *(1 for _ in shape))
        )
    _embed("place_PS", new["place_PS"], old["place_PS"])
    new["place_PW"].copy_(old["place_PW"].repeat(1, copies))
    for block, before in zip(model.blocks, given.blocks, strict=False):
        assert isinstance(block, Block)
        assert isinstance(before, Block)
        block.tokens.load_state_dict(before.tokens.state_dict())
        for name in ("norm_tokens", "norm_channels"):
            for parameter, values in zip(
                block.get_submodule(name).parameters(),
                before.get_submodule(name).parameters(),
                strict=True,
            ):
                parameter.copy_(values.repeat(copies))
        _copy_channels(block.widen, before.widen, copies, copies)
        _copy_channels(block.narrow, before.narrow, copies, copies)
    for block in list(model.blocks)[len(given.blocks) :]:
        assert isinstance(block, Block)
        for last in (block.tokens, block.narrow):  # adds nothing to what goes through
            last.weight.zero_()
            last.bias.zero_()
    _copy_channels(model.head, given.head, 1, copies)


def _copy_channels(new: nn.Linear, old: nn.Linear, out: int, copies: int) -> None:
    """Repeat the outputs; the copies of an input share its weight."""
    weight_OI = old.weight.repeat(out, 1)
    share_KOI = 1 + EVEN * (2 * torch.rand(copies, *weight_OI.shape, device=weight_OI.device) - 1)
    share_KOI /= share_KOI.sum(0)
    new.weight.copy_((share_KOI.to(weight_OI.dtype) * weight_OI).transpose(0, 1).flatten(1))
    new.bias.copy_(old.bias.repeat(out))
