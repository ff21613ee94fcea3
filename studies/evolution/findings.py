"""The talk's findings on evolution, each as a comparison of arms at equal cost."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from studies.evolution.genetic_algorithm import Recipe
from studies.evolution.regression_arms import Arm, architectures, encoded, evolved, trained
from studies.evolution.steady_arms import asynchronous, gan

__all__ = ["FINDINGS", "Claim", "Finding"]


@dataclass(frozen=True)
class Claim:
    """That the best of the arms ``better`` beats each of ``worse``: its number ``by`` is smaller."""

    text: str
    better: tuple[str, ...]
    worse: tuple[str, ...]
    by: str = "rmse_GeV"


@dataclass(frozen=True)
class Finding:
    """A question, the arms that are compared at equal cost, and what is claimed of them.

    ``columns`` are those of the table, ``evaluations`` is the budget of a run; ``has_processes`` marks arms that start
    processes of their own.
    """

    question: str
    arms: Mapping[str, Arm]
    claims: tuple[Claim, ...] = ()
    columns: tuple[str, ...] = ("rmse_GeV", "resolution", "curve_GeV", "core_s", "at_equal_core_s")
    evaluations: float = 2e5
    has_processes: bool = False


SMALL = {"channels": 1, "hidden": (2,)}
"""Layers that leave an architecture to be found."""

GENETIC = evolved(Recipe())
RMSPROP = trained()

FINDINGS: dict[str, Finding] = {
    "batch-size": Finding(
        "How many showers should judge a generation?",
        {f"batch {n}": evolved(Recipe(batch=n)) for n in (8, 32, 128, 512)},
        (
            Claim("smaller batches train better", ("batch 8", "batch 32"), ("batch 128", "batch 512")),
            Claim("the smallest trains best", ("batch 8",), ("batch 32", "batch 128", "batch 512")),
        ),
    ),
    "updates": Finding(
        "Random new weights, or random updates of those that are there?",
        {"new weights": GENETIC, "updates": evolved(Recipe(mutation="update"))},
        (
            Claim("new weights converge faster", ("new weights",), ("updates",), "curve_GeV"),
            Claim("new weights end more accurate", ("new weights",), ("updates",)),
        ),
    ),
    "offspring": Finding(
        "How many children should a generation have?",
        {f"{n} children": evolved(Recipe(offspring=n)) for n in (2, 4, 6, 8, 12, 16)},
        (
            Claim(
                "6 to 8 are best",
                ("6 children", "8 children"),
                ("2 children", "4 children", "12 children", "16 children"),
            ),
        ),
    ),
    "bias": Finding(
        "With or without bias terms?",
        {"without bias": GENETIC, "with bias": evolved(Recipe(), bias=True)},
        (Claim("no bias terms are better", ("without bias",), ("with bias",)),),
    ),
    "crossover": Finding(
        "Do children of two parents help?",
        {
            "no crossover": evolved(Recipe(parents=4)),
            "crossover": evolved(Recipe(parents=4, crossover=0.5)),
        },
        (Claim("crossover helps", ("crossover",), ("no crossover",)),),
    ),
    "rmsprop": Finding(
        "Evolution against RMSprop, in speed and in final accuracy?",
        {"evolution": GENETIC, "RMSprop 0.01": RMSPROP, "RMSprop 0.001": trained(learning_rate=0.001)},
        (
            Claim(
                "evolution converges faster than RMSprop at 0.01",
                ("evolution",),
                ("RMSprop 0.01",),
                "curve_GeV",
            ),
            Claim("RMSprop at 0.01 ends more accurate", ("RMSprop 0.01",), ("evolution",)),
        ),
    ),
    "hybrid": Finding(
        "Do gradient steps regain accuracy?",
        {
            "evolution": GENETIC,
            "with gradient steps": evolved(Recipe(gradient=0.1)),
            "RMSprop 0.01": RMSPROP,
        },
        (
            Claim("gradient steps regain accuracy", ("with gradient steps",), ("evolution",)),
            Claim("the hybrid beats RMSprop at 0.01", ("with gradient steps",), ("RMSprop 0.01",)),
        ),
    ),
    "architecture": Finding(
        "Weights and architecture together, or the architecture alone?",
        {
            "together": evolved(Recipe(structure=0.1), **SMALL),
            "together, gradient steps": evolved(Recipe(structure=0.1, gradient=0.1), **SMALL),
            "architecture alone": architectures(**SMALL),
            "weights alone": evolved(Recipe(), **SMALL),
        },
        (
            Claim("together beats the architecture alone", ("together",), ("architecture alone",)),
            Claim(
                "together with gradient steps beats the architecture alone",
                ("together, gradient steps",),
                ("architecture alone",),
            ),
        ),
        ("rmse_GeV", "resolution", "curve_GeV", "core_s", "at_equal_core_s", "weights"),
    ),
    "encoding": Finding(
        "How short is a network as the chain of its mutations?",
        {
            "default network": encoded(Recipe()),
            "updates": encoded(Recipe(mutation="update")),
            "wide network": encoded(Recipe(), channels=16, hidden=(64, 64)),
            "architecture too": encoded(Recipe(structure=0.1), **SMALL),
        },
        columns=(
            "rmse_GeV",
            "weights",
            "genes",
            "chain_bytes",
            "weights_bytes",
            "compression",
            "grow_s",
            "equal_bits",
        ),
    ),
    "asynchronous": Finding(
        "How much faster is a population that two processes share?",
        {"1 process": asynchronous(1), "2 processes": asynchronous(2)},
        (Claim("two processes are faster", ("2 processes",), ("1 process",), "s_per_child"),),
        ("s_per_child", "core_s_per_child", "workers", "children", "rmse_GeV"),
        evaluations=2e6,
        has_processes=True,
    ),
    "gan": Finding(
        "Does a hybrid of evolution and adversarial steps train a GAN better than these steps alone?",
        {"GAN alone": gan(parents=0), "hybrid": gan(parents=3)},
        (Claim("the hybrid makes better showers", ("hybrid",), ("GAN alone",), "fitness"),),
        ("fitness", "physics", "diversity", "core_s"),
        evaluations=3200,
    ),
}
"""Every finding by name."""
