"""What a fine-tuning is given, by the fields of config.data and config.train."""

from __future__ import annotations

import json
import re

import pytest
from ml_collections import ConfigDict
from rich.console import Console
from sweb_jax.planning import Plan

from sweb_jax import fine_tuning, jobs, records
from sweb_jax.budget import Arm
from sweb_jax.records import Example
from sweb_jax.runtime.progress import Meter
from sweb_jax.training import Fit, Packer
from sweb_jax.training.loop import Score

WC_HIGH = Arm('wc_high', 'wc', 4, 'high', None)


@pytest.fixture
def trained(finished, tmp_path, monkeypatch):
  """A function: fields of the config to the examples packed, the steps, and what `selection.json` says."""
  config = json.loads((finished.workdir / 'config.json').read_text())

  def run(data=(), train=()):
    config['data'].update(data)
    config['train'].update(train)
    seen = {}

    def pack(rendered, *, ids, steps, **kwargs):
      seen.update(ids=[i.partition(' (')[2][:-1] for i in ids], steps=steps)
      return Packer(rendered, ids=ids, steps=steps, **kwargs)

    def fit(params, *_, schedule, **__):
      assert schedule.steps == seen['steps']
      return Fit(params, schedule.steps, 0.5, (Score(schedule.steps, 0.5, 10, 1.0),))

    monkeypatch.setattr(fine_tuning, 'Packer', pack)
    monkeypatch.setattr(fine_tuning, 'fit', fit)
    do = jobs.Jobs(ConfigDict(config), finished.workdir)
    run.meter = Meter('test', 1, None)
    fine_tuning.run(tmp_path / 'train', do, 0, 'wc', WC_HIGH, run.meter)
    return seen['ids'], seen['steps'], json.loads((tmp_path / 'train/selection.json').read_text())

  return run


@pytest.fixture
def own(finished) -> list[str]:
  """Problems of the arm's own examples."""
  return [e.problem_id for e in records.read(Example, finished.workdir / 'grades/set0/wc/wc_high.jsonl')]


def test_solutions_by_people_are_added_to_the_arms_own(trained, own):
  ids, steps, said = trained(data={'mix_gold': True})
  assert ids[: len(own)] == own and len(set(ids[len(own) :])) == len(ids) - len(own) == said['gold_added'] == 40
  assert steps == 4 and said['examples'] == len(own) + 40


def test_unique_examples_takes_so_many_by_the_seed(trained, own):
  ids, _, said = trained(train={'unique_examples': 7})
  assert len(ids) == said['examples'] == 7 and said['over_unique_examples'] == len(own) - 7
  assert ids != own[:7]
  assert sorted(ids, key=own.index) == ids


def test_more_unique_examples_than_there_are_are_all(trained, own):
  ids, _, said = trained(train={'unique_examples': 10_000})
  assert ids == own and said['over_unique_examples'] == 0


@pytest.mark.parametrize(('epochs', 'most'), [(1, 40), (2, 40), (50, 40)])
def test_epochs_are_over_the_arms_own_examples_and_steps_are_the_most(trained, own, epochs, most):
  _, steps, _ = trained(train={'epochs': epochs, 'steps': {'low': 4, 'high': most, 'gold': 4}})
  assert steps == min(most, epochs * len(own) // 8) and (steps < most) == (epochs < 50)
  assert trained.meter.line(0.0).startswith(f'test: {most} of {most} (100 %)')  # Also what is not trained is done.


def test_the_plan_under_epochs_is_exact_where_the_examples_are_there_and_at_most_before(finished, own, tmp_path):
  config = json.loads((finished.workdir / 'config.json').read_text())
  config['train'] |= {'epochs': 2, 'steps': {'low': 100, 'high': 100, 'gold': 100}}
  config = ConfigDict(config)

  def planned(workdir) -> tuple[int, str]:
    console = Console(record=True, width=200)
    Plan(config, jobs.Jobs(config, workdir), {}).show(console)
    text = console.export_text()
    [row] = [line for line in text.splitlines() if re.match(r'\W*train\W+wc\W', line)]
    return int(re.findall(r'[\d,]+', row)[1].replace(',', '')), text

  plan = Plan(config, jobs.Jobs(config, finished.workdir), {})
  files = {a.name: finished.workdir / f'grades/set0/{a.generator}/{a.name}.jsonl' for a in plan.arms if a.budget}
  sizes = [len(files[a.name].read_text().splitlines()) if a.budget else 40 for a in plan.arms]
  rates, batch = len(config.train.learning_rates), config.train.batch
  assert planned(finished.workdir)[0] == rates * sum(2 * n // batch * batch for n in sizes)
  most, text = planned(tmp_path)
  assert most == rates * 100 * batch * len(sizes)
  assert re.search(r'Epochs: 0 of \d+ trainings are counted by their examples, the others at most', text)
