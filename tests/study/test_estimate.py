"""The plan's numbers, by hand."""

from __future__ import annotations

import io

import pytest
from ml_collections import ConfigDict
from rich.console import Console

from sweb_jax import config as config_lib
from sweb_jax.models.gemma.config import ModelConfig
from sweb_jax.study import estimate
from sweb_jax.study.graph import graph
from sweb_jax.study.work import Rates

PARAMETERS = {'wc': 100, 'se': 300, 'student': 50}
FIELDS = {
  'name': 'by hand',
  'task.name': 'arithmetic',
  'task.train': 7,
  'task.validation': 5,
  'task.test': 11,
  'models': ConfigDict({name: f'embedded:{name}' for name in PARAMETERS}),
  'generators': ('wc', 'se'),
  'learners': ('student', 'wc'),
  'budgets': ConfigDict({'low': {'se': 1}, 'high': {'se': 10}}),
  'number_matched': True,
  'sampling.few_shot': True,
  'sampling.max_new_tokens': 30,
  'train.batch': 2,
  'train.steps': ConfigDict({'low': 32, 'high': 320, 'gold': 16}),
  'train.row_length': 64,
  'train.learning_rates': (1e-3, 2e-3, 3e-3),
  'evaluate.maj_k': (2, 4),
  'estimate.completion_tokens': 20,
  'estimate.prompt_tokens': 6,
  'estimate.few_shot_tokens': 80,
  'estimate.sampling_flops': 1000.0,
  'estimate.training_flops': 4000.0,
}


def study(changes):
  """The config, its steps, and what is assumed."""
  config = config_lib.default()
  with config.unlocked():
    for name, value in (FIELDS | changes).items():
      section, _, field = name.rpartition('.')
      (config[section] if section else config)[field] = value
  config_lib.validate(config)
  # No layers: the embedding and the last norm are all there is.
  shapes = {name: ModelConfig(n - 1, 1, 1, 0, 1, 1, 2) for name, n in PARAMETERS.items()}
  steps = graph(config, shapes, {name: ('files',) for name in PARAMETERS}).steps
  return config, steps, estimate.assumed(config, PARAMETERS, {})


def works(**changes):
  """(Folder of a step, kind of work, model) -> the work."""
  _, steps, assumed = study({name.replace('__', '.'): value for name, value in changes.items()})
  found = [((s.folder, w.kind, w.model), w) for s in steps for w in s.estimate(assumed)]
  assert len(dict(found)) == len(found)
  return dict(found)


def shares(**changes):
  """(Kind, model) -> the plan's cell 'share of budget'."""
  config, steps, assumed = study({name.replace('__', '.'): value for name, value in changes.items()})
  columns = {c.header: list(c.cells) for c in estimate.plan(config.name, steps, assumed).columns}
  return dict(zip(zip(columns['kind'], columns['model'], strict=True), columns['share of budget'], strict=True))


def test_a_generator_samples_once_for_its_largest_arm():
  found = [(folder, w.model, w.samples, w.tokens) for (folder, kind, _), w in works().items() if kind == 'sample']
  assert found == [
    ('samples/set0/wc', 'wc', 7 * 30, 7 * 30 * 20),
    ('samples/set0/se', 'se', 7 * 10, 7 * 10 * 20),
  ]


def test_sampling_costs_2p_a_token_drawn_or_read():
  work = works()['samples/set0/wc', 'sample', 'wc']
  assert work.flops == 2 * 100 * (7 * 30 * 20 + 7 * 6 + 80)
  assert work.seconds == pytest.approx(work.flops / 1000)
  assert works(sampling__few_shot=False)['samples/set0/wc', 'sample', 'wc'].flops == work.flops - 2 * 100 * 80


def test_compute_matched_generators_share_the_sampling_budget_evenly():
  found = shares(question_sets=4)
  assert {key: share for key, share in found.items() if share} == {('sample', 'wc'): '50.0%', ('sample', 'se'): '50.0%'}


def test_prompts_are_no_part_of_the_share():
  assert shares(estimate__few_shot_tokens=0) == shares(estimate__few_shot_tokens=900)


def test_training_costs_6p_a_token_for_every_learning_rate():
  found = works()
  high = found['models/set0/student/wc_high', 'train', 'student']
  assert (high.samples, high.tokens) == (3 * 640, 3 * 640 * 26)
  assert high.flops == 6 * 50 * 3 * 640 * 26
  assert high.seconds == pytest.approx(high.flops / 4000)
  assert found['models/set0/wc/gold', 'train', 'wc'].samples == 3 * 32
  low = [found[f'models/set0/wc/{arm}', 'train', 'wc'] for arm in ('wc_low_n', 'se_low')]
  assert low[0].flops == low[1].flops


def test_every_checkpoint_is_validated_zero_shot():
  work = works()['models/set0/student/se_low', 'validate', 'student']
  assert (work.samples, work.tokens) == (3 * 10 * 5, 3 * 10 * 5 * 20)
  assert work.flops == 2 * 50 * 3 * 10 * 5 * (20 + 6)


def test_under_epochs_a_training_is_as_long_as_its_examples_make_it_where_they_are_known():
  config, steps, assumed = study({'train.epochs': 3})
  step = next(s for s in steps if s.folder == 'models/set0/student/wc_high')
  at_most, _ = step.estimate(assumed)
  assert at_most.samples == 3 * 640
  known = estimate.assumed(config, PARAMETERS, {step.examples.folder: 10})
  train, _ = step.estimate(known)
  assert train.samples == 3 * 15 * 2  # 3 epochs of 10 examples are 15 steps of 2.
  out = io.StringIO()
  estimate.show(Console(file=out, width=200), config.name, steps, known, epochs=True)
  assert '2 of 14 trainings are counted by their examples, the others at most' in out.getvalue()


def test_evaluation_is_one_greedy_and_k_drawn_and_few_shot_for_the_base():
  found = works()
  tuned, base = (found[f'scores/test/set0/wc/{source}', 'evaluate', 'wc'] for source in ('se_low', 'base'))
  assert tuned.samples == base.samples == 11 * 5
  assert tuned.flops == 2 * 100 * (11 * 5 * 20 + 11 * 6)
  assert base.flops - tuned.flops == 2 * 100 * 80


def test_a_further_test_set_is_answered_greedily():
  found = works(transfer=ConfigDict({'other': {'task': 'svamp', 'test': 3}}))
  assert found['scores/other/set0/wc/se_low', 'transfer', 'wc'].samples == 3
  assert sum(kind == 'transfer' for _, kind, _ in found) == 2 * 8


def test_a_judge_reads_each_sample_with_a_right_solution_and_answers_in_as_many_tokens():
  found = works(judge__model='student', judge__samples=100, data__filter='judge')
  # Some of the kept samples, with their solution; for the filter all of them.
  assert found['opinions/set0/wc/kept', 'judge', 'student'].samples == 100
  every = found['opinions/set0/wc/all', 'judge', 'student']
  assert (every.samples, every.tokens) == (7 * 30, 7 * 30 * 20)
  assert every.flops == 2 * 50 * (7 * 30 * (20 + 6 + 2 * 20) + 80)


def test_a_policy_draws_what_it_wants_beyond_the_samples_that_are_there():
  policies = ConfigDict({'hard': {'kind': 'cascade', 'generators': ('wc', 'se'), 'first': 2}})
  found = works(policies=policies)
  drawn = {folder: w for (folder, kind, model), w in found.items() if (kind, model) == ('allocate', 'se')}
  assert set(drawn) == {'allocations/set0/hard_low', 'allocations/set0/hard_high'}
  work = drawn['allocations/set0/hard_high']
  # The budget is 7 x 10 samples of se, and 2 of wc, a third as dear, are drawn of each problem first.
  assert work.samples == pytest.approx(7 * (10 - 2 / 3), abs=1)
  assert work.flops == 2 * 300 * (work.samples * 20 + 7 * 6 + 80)


def test_every_set_learner_source_and_seed_is_planned():
  found = works(question_sets=2, train__seeds=2)
  count = {kind: sum(k == kind for _, k, _ in found) for kind in ('sample', 'train', 'validate', 'evaluate')}
  assert count == {'sample': 2 * 2, 'train': 2 * 2 * 7 * 2, 'validate': 2 * 2 * 7 * 2, 'evaluate': 2 * 2 * (7 * 2 + 1)}


def test_a_generator_that_no_arm_has_whole_samples_of_draws_nothing_by_itself():
  found = works(budgets=ConfigDict({'low': {'flops': 1e6}}), number_matched=False)
  assert [(f, model) for f, kind, model in found if kind in ('sample', 'allocate')] == [
    ('allocations/set0/wc_low', 'wc'), ('allocations/set0/se_low', 'se')
  ]  # fmt: skip


@pytest.mark.parametrize('name', [name for name, value in FIELDS.items() if type(value) in (int, float)])
def test_a_negative_count_is_named(name):
  with pytest.raises(config_lib.ConfigError, match=rf'config\.{name}=-1'):
    study({name: -1})


def test_on_another_machine_each_model_takes_as_long_as_its_own_rate_says():
  config, steps, assumed = study({})
  rates = Rates({'wc': 10.0, 'se': 20.0, 'student': 30.0}, {'wc': 1.0, 'student': 2.0})
  other = estimate.assumed(config, PARAMETERS, {}, rates)
  for step in steps:
    for before, work in zip(step.estimate(assumed), step.estimate(other), strict=True):
      rate = (rates.training if work.kind == 'train' else rates.sampling)[work.model]
      assert work.flops == before.flops and work.seconds == pytest.approx(work.flops / rate)
