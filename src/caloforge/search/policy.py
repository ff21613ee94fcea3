"""Reinforcement learning: a controller changes a good network step by step and is rewarded for what comes out.

An episode begins with one of the best networks so far. Seeing its settings, a small network draws the next change
of one of them, or that it is enough. The reward is the place that the result takes among all trials: 1 for the
best, 0 for the worst and for those that were stopped. The controller is made anew for each proposal, from the
finished trials in the store, so all workers have the same one.

Sources: R. J. Williams, Mach. Learn. 8 (1992) 229 (REINFORCE); changes of a network as actions: H. Cai et al.,
AAAI 2018.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from caloforge.foundations.randomness import stream, stream_seed
from caloforge.search.space import MODEL, Choice, Space
from caloforge.search.trials import Proposal, Trial, draw, standings

__all__ = ["policy"]

AMONG = 3
"""The best networks, one of which an episode begins with."""

MOVES = 3
"""Changes in an episode, at most."""

STEP = 0.2
"""How far a change moves a setting that goes from 0 to 1; of choices, to the next one."""

HIDDEN, RATE, MEMORY, ENTROPY = 32, 0.02, 0.8, 0.01
"""Units of the controller, its learning rate, the baseline's memory of earlier rewards, the bonus for variety."""

TRIES = 10
ENOUGH = 0
"""The action that ends an episode."""


@dataclass(frozen=True)
class Action:
    """Move a setting up or down (+1, -1), or take another model as it usually is (0)."""

    name: str
    direction: int


def policy(trials: Sequence[Trial], space: Space, seed: int) -> Proposal:
    """Propose what the controller makes of a good network; draw at random as long as there is none."""
    best = standings(trials)[:AMONG]
    if not best:
        return draw(trials, space, seed)
    actions = list(_actions(space))
    controller = _learned(trials, space, seed, actions)
    rng = stream(seed, "policy", len(trials))
    tried = [trial.choice for trial in trials]
    for _ in range(TRIES):
        start = best[rng.integers(len(best))]
        choice, moves = start.choice, list[int]()
        while len(moves) < MOVES:
            with torch.no_grad():
                log_odds = controller(_features(choice, space)) + _mask(choice, actions, bool(moves))
            number = int(rng.choice(len(log_odds), p=torch.softmax(log_odds.double(), 0).numpy()))
            moves.append(number)
            if number == ENOUGH:
                break
            choice = _changed(choice, actions[number - 1], space)
        if choice not in tried:
            return Proposal(choice, memo={"from": start.number, "moves": moves})
    return draw(trials, space, seed)


def _actions(space: Space) -> Iterator[Action]:
    for model in space.models:
        yield Action(model, 0)
        for name, _ in space.of({MODEL: model}):
            yield from (Action(name, direction) for direction in (-1, 1))


def _mask(choice: Choice, actions: Sequence[Action], may_end: bool) -> Tensor:
    """Return minus infinity for actions that have no effect on a choice."""
    model = choice[MODEL]
    fits = [
        action.name != model if action.direction == 0 else action.name in choice for action in actions
    ]
    return torch.where(torch.tensor([may_end, *fits]), 0.0, -torch.inf)


def _changed(choice: Choice, action: Action, space: Space) -> Choice:
    if action.direction == 0:
        return space.usual(action.name)
    parameter = dict(space.of(choice))[action.name]
    step = 1 / len(parameter.choices) if parameter.choices else STEP
    place = parameter.place(choice[action.name]) + action.direction * step
    return {**choice, action.name: parameter.at(place)}


def _features(choice: Choice, space: Space) -> Tensor:
    """See a choice: its model, and where its settings lie from -1 to 1, 0 for those of other models."""
    places = {name: 2 * parameter.place(choice[name]) - 1 for name, parameter in space.of(choice)}
    seen = [float(model == choice[MODEL]) for model in space.models]
    seen += [places.get(name, 0.0) for m in space.models for name, _ in space.of({MODEL: m})]
    return torch.tensor(seen)


def _learned(trials: Sequence[Trial], space: Space, seed: int, actions: Sequence[Action]) -> nn.Module:
    """Make the controller, and let it learn from each episode that has ended, in their order."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(stream_seed(seed, "controller"))
        inputs = len(_features(space.usual(space.models[0]), space))
        controller = nn.Sequential(
            nn.Linear(inputs, HIDDEN), nn.Tanh(), nn.Linear(HIDDEN, 1 + len(actions))
        )
    optimizer = torch.optim.Adam(controller.parameters(), lr=RATE)
    order = [trial.number for trial in standings(trials)]
    rewards = {number: 1 - place / max(1, len(order) - 1) for place, number in enumerate(order)}
    baseline = 0.5
    for trial in trials:
        memo = trial.proposal.memo
        if trial.state == "running" or "moves" not in memo:
            continue
        reward = rewards.get(trial.number, 0.0)
        choice, loss = trials[memo["from"]].choice, torch.zeros(())
        for taken, number in enumerate(memo["moves"]):
            log_odds = controller(_features(choice, space)) + _mask(choice, actions, taken > 0)
            log_chance = torch.log_softmax(log_odds, 0)
            chance = log_chance.exp()
            variety = -(chance * log_chance.nan_to_num(neginf=0.0)).sum()
            loss = loss - (reward - baseline) * log_chance[number] - ENTROPY * variety
            if number != ENOUGH:
                choice = _changed(choice, actions[number - 1], space)
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        baseline = MEMORY * baseline + (1 - MEMORY) * reward
    return controller
