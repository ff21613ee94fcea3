"""Workers of one study: they join, leave and are killed, and every trial is done once."""

from __future__ import annotations

import json
import math
import signal
from collections import Counter
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest
import yaml
from commands import Caloforge
from loaded import start_loaded

from caloforge.files.shower_file import ShowerFile
from caloforge.files.shower_writer import write
from caloforge.foundations.durable import sealed
from caloforge.foundations.errors import CaloforgeError, UsageError
from caloforge.foundations.progress import silent
from caloforge.search.judge import OBJECTIVES, check_objectives
from caloforge.search.study import Limits, Study
from caloforge.search.trial import FIRST_STEPS, Plan, _planned
from caloforge.search.worker import work

KILLED = """
import os, signal, sys
from pathlib import Path
from caloforge.search.study import Limits, Study
from caloforge.search.worker import work

def progress(done, total, **figures):
    if done == int(sys.argv[2]):
        os.kill(os.getpid(), signal.SIGKILL)

work(Study(Path(sys.argv[1])), Limits(trials=3), watch=lambda trials: None, progress=progress)
"""


def settings(data: Path, space: Path) -> dict[str, Any]:
    return {
        "method": "random",
        "data": (str(data),),
        "objectives": ("legacy", "parameters"),
        "core_seconds": 1.0,
        "seed": 1,
        "space": space.read_text(),
    }


@pytest.fixture
def study(core_showers: Path, small_space: Path, tmp_path: Path) -> Study:
    return Study.joined(tmp_path / "study", settings(core_showers, small_space))


def test_a_study_begins_with_every_model_as_it_is_usually_trained(study: Study) -> None:
    assert study.settings.first == (study.space.usual("copula"), study.space.usual("mixer"))
    for number in range(3):
        with study.taken(Limits(trials=9)) as trial:
            assert trial is not None
            assert (trial.number, trial.state) == (number, "running")
            study.store.finish(trial, "done", [1.0, 2.0])
    choices = [trial.choice for trial in study.store.trials()]
    assert choices[:2] == list(study.settings.first)
    assert choices[2] not in choices[:2]


def test_a_trial_is_one_workers_until_it_is_left(study: Study) -> None:
    """Locks belong to open files: here two of one process, elsewhere those of two."""
    other = Study(study.folder)
    with study.taken(Limits(trials=1)) as trial, other.taken(Limits(trials=1)) as none:
        assert trial is not None
        assert none is None
    with other.taken(Limits(trials=1)) as again:  # its worker is gone, and the journal says it runs
        assert again is not None
        assert again.number == trial.number
        other.store.finish(again, "done", [1.0, 1.0])
    with study.taken(Limits(trials=1)) as none:
        assert none is None


def test_limits_count_running_trials_with_what_they_may_cost(study: Study) -> None:
    with study.taken(Limits(core_seconds=2)) as first, study.taken(Limits(core_seconds=2)) as second:
        assert first is not None
        assert second is not None
        with study.taken(Limits(core_seconds=2)) as third:
            assert third is None
        study.store.note(first, "plan", {"core_seconds": 0.25})
        study.store.note(first, "stage 0", {"score": 1.0, "core_seconds": 0.25})
        study.store.finish(first, "stopped")
        assert study.spent(study.store.trials()) == 1.5
        with study.taken(Limits(core_seconds=2)) as third:
            assert third is not None
        with study.taken(Limits(trials=3, core_seconds=9)) as fourth:
            assert fourth is not None
            assert fourth.number == 2  # the third was left


def test_a_trial_worse_than_half_of_the_others_is_hopeless(study: Study) -> None:
    def told(score: float) -> None:
        trial = study.store.begin(study._next(study.store.trials()), study.space)
        study.store.note(trial, "stage 1", {"score": score, "core_seconds": 1.0})
        study.store.finish(trial, "stopped")

    with study.taken(Limits(trials=9)) as trial:
        assert trial is not None
        told(0.1)
        told(0.2)
        assert not study.hopeless(trial, 1, 5.0)  # too few to tell
        told(0.6)
        assert study.hopeless(trial, 1, 0.21)
        assert not study.hopeless(trial, 1, 0.2)
        assert not study.hopeless(trial, 0, 5.0)
        burst = replace(trial, proposal=replace(trial.proposal, part=0.3))
        assert not study.hopeless(burst, 1, 5.0)


@pytest.mark.parametrize(
    ("change", "word"),
    [
        ({"seed": 2}, "seed"),
        ({"core_seconds": 5.0}, "core_seconds"),
        ({"objectives": ("ms",)}, "objectives"),
        ({"method": "tpe"}, "method"),
        ({"space": "models: {copula: {}}"}, "space"),
    ],
)
def test_a_worker_with_other_settings_is_refused(
    study: Study, change: dict[str, object], word: str
) -> None:
    with pytest.raises(UsageError, match=word):
        Study.joined(study.folder, change)


def test_an_earlier_studys_best_come_first(
    study: Study, core_showers: Path, small_space: Path, tmp_path: Path
) -> None:
    wanted = settings(core_showers, small_space)
    with pytest.raises(UsageError, match="finished trial"):
        Study.joined(tmp_path / "next", wanted, study.folder)
    assert not (tmp_path / "next").exists()
    with study.taken(Limits(trials=3)) as trial:
        pass
    for values in ((2.0, 2.0), (3.0, 3.0), (1.0, 1.0)):
        with study.taken(Limits(trials=3)) as trial:
            assert trial is not None
            study.store.finish(trial, "done", values)
    after = Study.joined(tmp_path / "next", wanted, study.folder)
    best = study.store.trials()[2].choice
    assert after.settings.first[2] == best


@pytest.mark.parametrize("value", [None, math.nan, math.inf])
def test_a_network_that_cannot_be_judged_has_failed(
    study: Study, monkeypatch: pytest.MonkeyPatch, value: float | None
) -> None:
    monkeypatch.setitem(OBJECTIVES, "parameters", ("", lambda _: value))
    work(study, Limits(trials=1), watch=lambda _: None, progress=silent)
    (trial,) = study.store.trials()
    assert trial.state == "failed"
    assert "objective parameters is undefined" in trial.notes["error"]


@pytest.mark.process
def test_a_killed_workers_trial_is_finished_by_those_who_are_left(
    study: Study, caloforge: Caloforge
) -> None:
    killed = start_loaded("-c", KILLED, study.folder, FIRST_STEPS + 1)
    killed.communicate()
    assert killed.returncode == -signal.SIGKILL
    run = study.run_folder(0)
    plan = (run / "plan.json").read_text()
    assert [trial.state for trial in study.store.trials()] == ["running"]

    line = ["search", "random", "--out", study.folder, "--trials", 3]
    workers = [start_loaded("-m", "caloforge", *line) for _ in range(2)]
    for worker in workers:
        _, problem = worker.communicate()
        assert worker.returncode == 0, problem

    trials = study.store.trials()
    assert len(trials) == 3
    assert {trial.state for trial in trials} <= {"done", "stopped"}
    assert (run / "plan.json").read_text() == plan
    steps = [json.loads(text) for text in (run / "metrics.jsonl").read_text().splitlines()]
    assert [it["step"] for it in steps if "check" not in it] == list(
        range(1, json.loads(plan)["steps"] + 1)
    )
    # Once and for all: the journal has one end of each trial, and one cost of each part.
    told = [json.loads(text) for text in (study.folder / "journal.log").read_text().splitlines()]
    ends = Counter(it["trial_id"] for it in told if it["op_code"] == 6)
    assert set(ends.values()) == {1}
    assert len(ends) == 3
    costs = Counter((it["trial_id"], *it["user_attr"]) for it in told if it["op_code"] == 8)
    assert set(costs.values()) == {1}

    again = caloforge("search", "random", "--out", study.folder, "--trials", 3, "--json")
    found = json.loads(again.out)
    assert found["counts"]["running"] == 0
    assert found["core_seconds"] == pytest.approx(sum(t.core_seconds for t in trials))
    assert len(found["trials"]) == 3
    page = (study.folder / "report.html").read_text()
    assert "Search by random" in page
    assert page.count("data:image/png") == 2
    best = yaml.safe_load((study.folder / "best.yaml").read_text())
    assert best["model"] == trials[found["front"][0]].choice["model"]
    shorter = ["--set", "max_steps=2", "--set", "check_showers=4"]
    config = ["--config", study.folder / "best.yaml", "--data", study.settings.data[0]]
    trained = caloforge("train", *config, "--out", study.folder.parent / "run", *shorter)
    assert trained.code == 0, trained.err


@pytest.mark.training
def test_children_inherit_weights_and_the_objectives_are_measured(
    core_showers: Path, small_space: Path, tmp_path: Path, caloforge: Caloforge
) -> None:
    out = tmp_path / "evolved"
    given = ["--data", core_showers, "--out", out, "--space", small_space, "--each", 0.5]
    names = [f"--objective={name}" for name in ("auc", "ms", "parameters", "shape.z.mean_rel_error")]
    ran = caloforge("search", "evolution", *given, *names, "--trials", 6, "--json")
    assert ran.code == 0, ran.err
    found = json.loads(ran.out)
    assert ran.err.count("search: trial") == 6
    children = [trial for trial in found["trials"] if trial["parent"] is not None]
    assert children
    for trial in found["trials"]:
        run = out / "trials" / f"{trial['number']:05d}"
        card = json.loads((run / "model.json").read_text()) if trial["state"] == "done" else None
        if card is not None:
            assert trial["objectives"]["parameters"] == card["parameters"]
            assert trial["objectives"]["ms"] > 0
            assert 0.3 < trial["objectives"]["auc"] <= 1
    child = children[0]
    config = yaml.safe_load((out / "trials" / f"{child['number']:05d}" / "config.yaml").read_text())
    assert config["resolved_from"]["init_from"] == [str(out / "trials" / f"{child['parent']:05d}")]


def test_too_few_showers_to_judge_by_are_refused(
    core_showers: Path, small_space: Path, tmp_path: Path
) -> None:
    few = tmp_path / "few.h5"
    with ShowerFile(core_showers) as file:
        write(few, file.read(0, 20))
    with pytest.raises(UsageError, match=r"few\.h5: expected at least 167 showers.*got 20"):
        Study.joined(tmp_path / "study", settings(few, small_space))
    assert not (tmp_path / "study").exists()


@pytest.mark.parametrize("names", [["beauty"], [], ["ms", "ms"], ["ks.hits_p_value"]])
def test_wrong_objectives_are_refused(names: list[str]) -> None:
    with pytest.raises(UsageError, match="objective"):
        check_objectives(names)


def test_wrong_use_is_told_in_one_line(
    core_showers: Path, small_space: Path, tmp_path: Path, caloforge: Caloforge
) -> None:
    data, out = ["--data", core_showers], ["--out", tmp_path / "study"]
    caloforge("search", "tpe", *data, *out).refused(2, "--trials", "--core-seconds")
    caloforge("search", "tpe", *out, "--trials", 1).refused(2, "--data")
    caloforge("search", "tpe", *out, "--report").refused(2, "study", "folder of a search")
    wrong = ["--trials", 1, "--objective", "beauty"]
    caloforge("search", "tpe", *data, *out, *wrong).refused(2, "beauty", "auc", "legacy")
    nowhere = ["--out", tmp_path / "no" / "study"]
    caloforge("search", "tpe", *data, *nowhere, "--trials", 1).refused(2, "does not exist")
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "letter.txt").write_text("mine")
    full = ["--out", tmp_path / "full"]
    caloforge("search", "tpe", *data, *full, "--trials", 1).refused(2, "full", "empty")
    assert not (tmp_path / "study").exists()
    Study.joined(tmp_path / "study", settings(core_showers, small_space))
    caloforge("search", "tpe", *out, "--trials", 1).refused(2, "random", "tpe")
    path = tmp_path / "study" / "study.json"
    path.write_text(path.read_text().replace('"seed": ', '"seed": 1'))
    caloforge("search", "random", *out, "--trials", 1).refused(1, "study.json", "changed or damaged")
    path.write_text("{}")
    caloforge("search", "random", *out, "--trials", 1).refused(1, "study.json")


def test_a_changed_plan_is_refused(tmp_path: Path) -> None:
    plan = Plan(40, 3, 0.25, 1.5)
    path = tmp_path / "plan.json"
    path.write_text(json.dumps(sealed(asdict(plan))))
    assert _planned(tmp_path) == plan
    path.write_text(json.dumps(asdict(plan)))  # as an earlier version wrote it
    assert _planned(tmp_path) == plan
    path.write_text(json.dumps({**sealed(asdict(plan)), "steps": 90}))
    with pytest.raises(CaloforgeError, match=rf"^{path}: field sha256: changed or damaged"):
        _planned(tmp_path)
