"""From times of compiled steps to the rates of a plan; what is compiled, and how long it takes, is made up."""

from __future__ import annotations

import collections
import dataclasses
import io
import runpy
import types
from pathlib import Path

import jax
import pytest
from rich.console import Console

from sweb_jax.lowering import compiling, on_slices, slices, steps, times
from sweb_jax.lowering.compiling import Lowered
from sweb_jax.lowering.hlo import Message
from sweb_jax.sampling import capacity

ROOT = Path(__file__).parents[2]
MADE_UP = Lowered('m', 'train', 'fsdp=2', 4, 10, 0, 20, 1, 5, 100.0, {}, (), (), 0, 1.0, 1000.0)


def test_each_layer_more_takes_as_much_as_those_between_two_depths():
  row, column = (0, 1), (0, 2)
  few = Message('all-gather', 9.0, 100, row), Message('all-reduce', 1, 40, row)
  more = Message('all-gather', 13.0, 100, row), Message('all-reduce', 1, 60, row), Message('all-reduce', 2, 8, column)
  shallow = dataclasses.replace(MADE_UP, messages=few)
  deep = dataclasses.replace(MADE_UP, layers=6, cycles=1400.0, temporaries=7, messages=more)
  found = compiling.deeper(shallow, deep, types.SimpleNamespace(layers=10))
  assert (found.layers, found.cycles, found.temporaries) == (10, 2200, 11)
  sizes = collections.Counter()
  for m in found.messages:
    sizes[m.kind, m.group] += m.count * m.bytes
  # A message that is larger with more layers goes on to grow.
  assert sizes == {('all-gather', row): 2100, ('all-reduce', row): 100, ('all-reduce', column): 48}
  assert compiling.deeper(shallow, deep, types.SimpleNamespace(layers=6)) is deep


@pytest.fixture
def config():
  c = runpy.run_path(str(ROOT / 'configs/quickstart.py'))['get_config']()
  c.generators, c.learners = ('wc',), ('wc',)
  return c


@pytest.fixture
def made_up(monkeypatch):
  """A function: steps are as large as `found`, and take so many seconds by their names, for each run."""

  def make(found: Lowered, **seconds: float) -> None:
    monkeypatch.setattr(slices, 'compiler', lambda: '1')
    monkeypatch.setattr(slices, 'devices', lambda name: jax.devices()[:1])
    monkeypatch.setattr(compiling, 'compiled', lambda step, layers, _: dataclasses.replace(found, layers=step.layers))

    def takes(step, found, chip):
      return types.SimpleNamespace(all=step.runs * seconds[step.name])

    monkeypatch.setattr(times, 'times', takes)

  return make


def test_rates_are_what_a_problem_with_its_samples_and_an_update_take(made_up, config):
  made_up(MADE_UP, prefill=2.0, decode=0.5, train=4.0)
  said = io.StringIO()
  found = on_slices.rates(config, 'v5e-4', {'wc': [[9, 9]]}, Console(file=said, width=200))
  works = {s.name: s.work(s.layers) for s in steps.steps(config, 16e9, devices=jax.devices()[:1])}
  tokens = config.estimate.prompt_tokens, steps.samples(config) * config.estimate.completion_tokens
  seconds = tokens[0] / works['prefill'].tokens * 2.0 + tokens[1] / (0.8 * works['decode'].tokens) * 0.5
  flops = sum(tokens) * works['decode'].flops / works['decode'].tokens
  assert found.sampling == {'wc': pytest.approx(flops / seconds)}
  assert found.training == {'wc': pytest.approx(works['train'].flops / 4.0)}
  assert 'Minutes of the plan: v5e-4, by steps compiled by libtpu 1' in said.getvalue()


def test_parts_of_a_machine_draw_side_by_side(made_up, config, monkeypatch):
  made_up(MADE_UP, prefill=2.0, decode=0.5, train=4.0)

  def rates():
    return on_slices.rates(config, 'v5e-4', {'wc': [[9]]}, Console(file=io.StringIO()))

  one, choose = rates(), capacity.choose_meshes
  monkeypatch.setattr(capacity, 'choose_meshes', lambda *args, **kwargs: choose(*args, **kwargs) * 4)
  four = rates()
  assert four.sampling == {'wc': pytest.approx(4 * one.sampling['wc'])}
  assert four.training == one.training


def test_a_step_that_does_not_fit_ends_a_plan(made_up, config):
  made_up(dataclasses.replace(MADE_UP, arguments=int(17e9)), prefill=1.0, decode=1.0, train=1.0)
  with pytest.raises(compiling.LoweringError, match=r'v5e-4: m, train: needs 17\.0 GB a device, 16 GB are there'):
    on_slices.rates(config, 'v5e-4', {'wc': [[9]]}, Console(file=io.StringIO()))


def test_trainings_that_are_left_over_take_updates_of_their_own(made_up, config):
  made_up(MADE_UP, prefill=2.0, decode=0.5, train=4.0)
  config.train.side_by_side = 2
  found = on_slices.rates(config, 'v5e-4', {'wc': [[9, 9, 9, 2], [5, 4]]}, Console(file=io.StringIO()))
  (update,) = (s for s in steps.steps(config, 16e9, devices=jax.devices()[:1]) if s.name == 'train')
  assert update.runs == 2
  # Nine updates of two, which take twice as long, and nine of one; two of the short one, beside none; five of two.
  done = (9 + 9 + 9 + 2 + 5 + 4) * update.work(update.layers).flops / 2
  assert found.training == {'wc': pytest.approx(done / ((9 + 5) * 8.0 + (9 + 2) * 4.0))}


def test_what_trains_nothing_has_no_update(made_up, config):
  made_up(MADE_UP, prefill=2.0, decode=0.5)
  config.generators, config.budgets, config.gold = (), {}, False
  found = on_slices.rates(config, 'v5e-4', {}, Console(file=io.StringIO()))
  assert set(found.sampling) == {'wc'} and found.training == {}
