"""Methods learn: on trials whose quality is known, each proposes better ones than chance does."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import pytest
import torch

from caloforge.detector import Grid
from caloforge.models.mixer.growth import grow_mixer
from caloforge.models.registry import MODELS
from caloforge.search.evolution import BURST, evolve_one
from caloforge.search.policy import _actions, _features, _learned, policy
from caloforge.search.space import MODEL, Choice, Space, parse_space
from caloforge.search.store import importances, tpe
from caloforge.search.trials import Proposal, Proposer, Trial, draw

SPACE = parse_space(
    """
models:
  copula:
    learning_rate: {low: 0.0001, high: 0.1, log: true}
    batch_size: {choices: [8, 16, 32, 64]}
    architecture.factors: {low: 2, high: 60, log: true, int: true}
  mixer:
    learning_rate: {low: 0.0001, high: 0.1, log: true}
    architecture.width: {choices: [8, 12, 16, 24, 32]}
    architecture.blocks: {low: 1, high: 5, int: true}
    architecture.patch: {choices: [3, 5]}
""",
    "space",
)
GRID = Grid("block", (5, 5, 3), cell_size=(5.0, 5.0), layer_pitch_mm=4.0)


def quality(choice: Choice) -> float:
    """Known: copulas with a rate near 0.01 and many factors are best (0), mixers are worse by 1."""
    model = str(choice[MODEL])
    away = abs(math.log10(float(choice[f"{model}.learning_rate"])) + 2)
    few = math.log(60 / float(choice["copula.architecture.factors"])) / 4 if model == "copula" else 1
    return away + few


def searched(propose: Proposer, space: Space, count: int, seed: int) -> list[Trial]:
    trials: list[Trial] = []
    for number in range(count):
        proposal = propose(trials, space, seed)
        value = quality(proposal.choice)
        if number % 7 == 3 and value > 1:
            trials.append(Trial(number, proposal, "stopped"))
        else:
            trials.append(Trial(number, proposal, "done", (value,)))
    return trials


def best(trials: Sequence[Trial]) -> float:
    return min(trial.objectives[0] for trial in trials if trial.state == "done")


@pytest.mark.parametrize("propose", [tpe, policy, evolve_one])
def test_a_method_finds_better_trials_than_chance(propose: Proposer) -> None:
    """Means over seeds of the last trials' quality, with the same number of trials each."""
    ours, chance = (
        np.mean([np.mean([quality(t.choice) for t in searched(m, SPACE, 30, s)[-12:]]) for s in (1, 2)])
        for m in (propose, draw)
    )
    assert ours < 0.8 * chance


@pytest.mark.parametrize("propose", [draw, tpe, policy, evolve_one])
def test_a_proposal_is_in_the_space_and_follows_from_the_store_alone(propose: Proposer) -> None:
    trials = searched(propose, SPACE, 14, 5)
    for trial in trials:
        assert SPACE.allowed(trial.choice) == trial.choice
    assert propose(trials, SPACE, 5) == propose(list(trials), SPACE, 5)
    running = Trial(14, propose(trials, SPACE, 5), "running")
    assert propose([*trials, running], SPACE, 5) != running.proposal


def test_the_controller_takes_rewarded_changes_more_often() -> None:
    """In trials where the rate was raised things got better, where it was lowered worse."""
    actions = list(_actions(SPACE))
    raised, lowered = (
        next(i for i, a in enumerate(actions, 1) if (a.name, a.direction) == ("copula.learning_rate", d))
        for d in (1, -1)
    )
    start = SPACE.usual("copula")
    trials = [Trial(0, Proposal(start), "done", (0.5,))]
    for number in range(1, 25):
        move = raised if number % 2 else lowered
        proposal = Proposal(start, memo={"from": 0, "moves": [move]})
        trials.append(Trial(number, proposal, "done", (0.1 if move == raised else 0.9,)))
    before, after = (_learned(some, SPACE, 1, actions) for some in (trials[:1], trials))
    with torch.no_grad():
        seen = _features(start, SPACE)
        for number, sign in ((raised, 1), (lowered, -1)):
            change = torch.softmax(after(seen), 0)[number] - torch.softmax(before(seen), 0)[number]
            assert sign * float(change) > 0


def test_children_inherit_what_their_parents_can_become() -> None:
    """Sizes only grow, so that real networks take over the weights; bursts are short."""
    trials = searched(evolve_one, SPACE, 50, 7)
    children = [trial for trial in trials if trial.proposal.parent is not None]
    assert len(children) > 30
    grown = 0
    for child in children:
        parent = trials[child.proposal.parent or 0]
        assert child.proposal.part == BURST
        sizes = [SPACE.settings(it.choice)["architecture"] for it in (child, parent)]
        grown += sizes[0] != sizes[1]
        model = str(child.choice[MODEL])
        assert model == parent.choice[MODEL]
        new, old = (MODELS[model].build(GRID, 0.0, size) for size in sizes)
        grow_mixer(new, old)  # raises where it cannot
    assert grown > 5


def test_what_matters_is_told_from_what_does_not() -> None:
    trials = searched(draw, SPACE, 40, 3)
    shares = importances(trials, SPACE, 0)
    assert shares["copula.learning_rate"] > shares["copula.batch_size"]
    assert shares["copula.learning_rate"] > 0.1
    assert importances(trials[:5], SPACE, 0) == {}
