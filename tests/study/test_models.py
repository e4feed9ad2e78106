"""What a fine-tuning is given, by the fields of config.data and config.train."""

from __future__ import annotations

import json
import re
import types

import pytest
from etils import epath
from rich.console import Console

from sweb_jax import layout, records
from sweb_jax.records import Example
from sweb_jax.runtime.hosts import Hosts
from sweb_jax.runtime.progress import Meter
from sweb_jax.study import STAGES, estimate, fine_tuning, opened, runner
from sweb_jax.training import Fit, Packer, offload_to_host
from sweb_jax.training.loop import Score

ARM = layout.examples(0, 'wc_low')


@pytest.fixture
def trained(runs, copy, monkeypatch):
  """A function: fields of the config to what the step of wc_low was given and has said."""

  def run(**fields):
    seen = types.SimpleNamespace()

    def pack(rendered, *, ids, steps, **kwargs):
      seen.ids, seen.steps = [i.partition(' (')[2][:-1] for i in ids], steps
      return Packer(rendered, ids=ids, steps=steps, **kwargs)

    def fit(params, _, runs, **__):
      (steps,) = {run.schedule.steps for run in runs}
      assert steps == seen.steps
      return [Fit(offload_to_host(params), steps, 0.5, (Score(steps, 0.5, 10, 1.0),)) for _ in runs]

    monkeypatch.setattr(fine_tuning, 'Packer', pack)
    monkeypatch.setattr(fine_tuning, 'fit', fit)
    root = epath.Path(copy)
    study = opened.open_study(runs.tiny(**fields))
    steps = {s.folder: s for s in study.graph.steps}
    context = study.context(root, Hosts())
    folder = layout.model(0, 'wc', 'wc_low')
    (root / folder).rmtree()
    steps[ARM].run(context)
    context.meter = Meter('test', 1)
    steps[folder].run(context)
    seen.meter = context.meter
    seen.counts = json.loads((root / ARM / layout.COUNTS).read_text())
    seen.selection = json.loads((root / folder / layout.SELECTION).read_text())
    return seen

  return run


@pytest.fixture
def own(done) -> list[str]:
  """Problems of the arm's own examples."""
  return [e.problem_id for e in records.read(Example, done / ARM / layout.EXAMPLES)]


@pytest.mark.slow
def test_solutions_by_people_are_added_to_the_arms_own(trained, own):
  found = trained(data__mix_gold=True)
  added = found.ids[len(own) :]
  assert found.ids[: len(own)] == own and len(set(added)) == len(added) == found.counts['gold_added'] == 12
  assert found.steps == 2 and found.selection['examples'] == len(own) + 12


@pytest.mark.slow
def test_unique_examples_takes_so_many_by_the_seed(trained, own):
  found = trained(train__unique_examples=4)
  assert len(found.ids) == found.selection['examples'] == 4 and found.counts['over_unique_examples'] == len(own) - 4
  assert found.ids != own[:4]
  assert sorted(found.ids, key=own.index) == found.ids


@pytest.mark.slow
def test_more_unique_examples_than_there_are_are_all(trained, own):
  found = trained(train__unique_examples=10_000)
  assert found.ids == own and found.counts['over_unique_examples'] == 0


@pytest.mark.slow
@pytest.mark.parametrize('epochs', [1, 2, 50])
def test_epochs_are_over_the_arms_own_examples_and_steps_are_the_most(trained, own, epochs):
  most = 40
  found = trained(train__epochs=epochs, train__steps={'low': most, 'high': 4, 'gold': 4})
  assert found.steps == min(most, epochs * len(own) // 4) and (found.steps < most) == (epochs < 50)
  # Also what is not trained is done.
  assert found.meter.line(0.0).startswith(f'test: {most} of {most} (100 %)')


@pytest.mark.slow
def test_the_plan_under_epochs_is_exact_where_the_examples_are_there_and_at_most_before(runs, copy, tmp_path):
  steps = {'low': 100, 'high': 100, 'gold': 100}
  config = runs.tiny(gold=True, train__epochs=2, train__steps=steps)
  study = opened.open_study(config)

  def planned(root, study=study) -> tuple[int, str]:
    console = Console(record=True, width=200)
    estimate.show(console, 'tiny', study.graph.steps, study.assumed(epath.Path(root)), epochs=True)
    text = console.export_text()
    [row] = [line for line in text.splitlines() if re.match(r'\W*train\W+wc\W', line)]
    return int(re.findall(r'[\d,]+', row)[1].replace(',', '')), text

  arms = [a.name for a in study.graph.arms.all]
  examples = [s for s in study.graph.steps if s.kind == 'examples']
  context = study.context(epath.Path(copy), Hosts())
  runner.run(context, examples, STAGES, Console(quiet=True), 1, study.assumed(context.root))  # Those of gold.
  files = [copy / layout.examples(0, arm) / layout.EXAMPLES for arm in arms]
  sizes = [len(path.read_text().splitlines()) for path in files]
  batch = config.train.batch
  assert len(set(sizes)) == len(arms) == 3
  exact, text = planned(copy)
  assert exact == sum(2 * n // batch * batch for n in sizes)
  assert 'Epochs: 3 of 3 trainings are counted by their examples' in text
  most, text = planned(tmp_path / 'nothing')
  assert most == 100 * batch * len(arms)
  assert 'Epochs: 0 of 3 trainings are counted by their examples, the others at most' in text
  # Examples that were made by other rules say nothing of how many there will be.
  other = opened.open_study(runs.tiny(gold=True, data__max_per_problem=1, train__epochs=2, train__steps=steps))
  assert 'Epochs: 1 of 3 trainings' in planned(copy, other)[1]
