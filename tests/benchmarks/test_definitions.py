"""The definitions of experiments: the tables of rivals compare what they say they compare."""

from functools import cache

import pytest

from benchmarks.experiments import commands
from benchmarks.experiments.commands import EXPERIMENTS
from benchmarks.experiments.experiment import Experiment, Plan, same_but_budget
from crest.config import Parameters
from crest.training.schedules import budget_steps, total_steps

RULES = {
    "random",
    "stratified",
    "adaptive",
    "focused",
    "infobatch",
    "infobatch stratified",
    "selective_backprop",
    "selective_backprop fresh",
    "ucb",
    "epsilon_greedy",
    "orderdp",
    "rcap",
    "seta",
}
TABLES = (
    "rivals-cifar10",
    "rivals-resnet20",
    "rivals-resnet18",
    "rivals-tinyimagenet",
    "rivals-snli",
    "rivals-digits",
)
IMAGES = {"rivals-schedule": 50_000, "rivals-schedule-digits": 1_297}


@cache
def known(name: str) -> Experiment:
    return commands.known(name)


def own(plan: Plan) -> dict[str, object]:
    """What a plan sets of its method."""
    return {key: value for key, value in plan.overrides.items() if not key.startswith("train.")}


def rule_of(plan: Plan) -> str | None:
    """The rule of a plan with default options, as RULES calls it."""
    if plan.method == "selective_backprop":
        return None if own(plan) else "selective_backprop fresh"
    if plan.method != "by_rule":
        return None if own(plan) else plan.method
    settings = own(plan)
    name = str(settings.pop("by_rule.rule", "infobatch"))
    if settings == {"by_rule.draw": "stratified_without_replacement"}:
        return f"{name} stratified"
    return None if settings else name


@pytest.mark.parametrize("path", sorted(EXPERIMENTS.glob("*.yaml")), ids=lambda path: path.stem)
def test_a_definition_makes_sense(path):
    assert known(path.stem).plans


def at_one_rate(name: str) -> list[Plan]:
    """The plans of an experiment that have the learning rate of its first."""
    plans = known(name).plans
    return [plan for plan in plans if plan.parameters.train.lr == plans[0].parameters.train.lr]


@pytest.mark.parametrize("name", TABLES)
def test_every_rule_is_beside_random_at_every_budget(name):
    plans = at_one_rate(name)
    budgets = {plan.parameters.train.budget for plan in plans}
    assert len(budgets) > 1
    for budget in budgets:
        here = [plan for plan in plans if plan.parameters.train.budget == budget]
        rivals = [plan for plan in here if not plan.as_long_as]
        assert {rule_of(plan) for plan in rivals} - {None} == RULES
        (timed,) = (plan for plan in here if plan.as_long_as)
        (scoring,) = (plan for plan in rivals if plan.method == "selective_backprop")
        assert (timed.method, timed.as_long_as) == ("random", scoring.name)


@pytest.mark.parametrize("name", TABLES)
def test_the_rows_of_a_rule_differ_in_the_budget_alone(name):
    for rule in RULES:
        plans = [p for p in at_one_rate(name) if rule_of(p) == rule and not p.as_long_as]
        assert len({plan.parameters.train.budget for plan in plans}) == len(plans)
        assert all(same_but_budget(plan.overrides, plans[0].overrides) for plan in plans)


@pytest.mark.parametrize("name", IMAGES)
def test_one_switch_at_a_time(name):
    plans = {plan.name: plan for plan in known(name).plans}
    for title, plan in plans.items():
        if "not compressed" in title:
            before = plans[title.replace(" not compressed", "")]
            assert plan.overrides == {**before.overrides, "train.horizon": "full"}
    for share in ("30%", "70%"):
        static, fresh = plans[f"random static {share}"], plans[f"random {share}"]
        assert steps_of(static, IMAGES[name]) == pytest.approx(steps_of(fresh, IMAGES[name]), abs=1)
        assert static.data.share == pytest.approx(fresh.data.share * int(share[:-1]) / 100)
    assert plans["infobatch 30%"].parameters.of_method("by_rule") == Parameters().by_rule


def steps_of(plan: Plan, images: int) -> int:
    train = plan.parameters.train
    examples = round(plan.data.share * images)
    return budget_steps(train.budget, total_steps(train.epochs, examples, train.batch_size))
