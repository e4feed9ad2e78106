"""The plan's numbers, by hand."""

import inspect

import pytest

from sweb_jax import budget

GENERATORS = {'wc': 100, 'se': 300}
ARGUMENTS = dict(
  sets=1,
  arms=budget.match_arms({'low': {'se': 1}, 'high': {'se': 10}}, GENERATORS, number_matched=True, gold=True),
  generators=GENERATORS,
  learners={'student': 50, 'wc': 100},
  train_problems=7,
  validation_problems=5,
  test_problems=11,
  completion_tokens=20,
  prompt_tokens=6,
  few_shot_tokens=80,
  examples={'low': 64, 'high': 640, 'gold': 32},
  learning_rates=3,
  checkpoints=10,
  drawn=4,
  sampling_rate=1000.0,
  training_rate=4000.0,
)


def rows(**changes):
  jobs = budget.plan(**{**ARGUMENTS, **changes})
  by_name = {j.name: j for j in jobs}
  assert len(by_name) == len(jobs)
  return by_name


def test_a_generator_samples_once_for_its_largest_arm():
  jobs = [j for j in rows().values() if j.kind == 'sample']
  assert [(j.name, j.model, j.samples, j.tokens) for j in jobs] == [
    ('samples/set0/wc', 'wc', 7 * 30, 7 * 30 * 20),
    ('samples/set0/se', 'se', 7 * 10, 7 * 10 * 20),
  ]


def test_sampling_costs_2p_a_token_drawn_or_read():
  job = rows()['samples/set0/wc']
  assert job.flops == 2 * 100 * (7 * 30 * 20 + 7 * 6 + 80)
  assert job.seconds == pytest.approx(job.flops / 1000)


def test_compute_matched_generators_share_the_sampling_budget_evenly():
  jobs = rows(sets=4)
  assert sum(j.share for j in jobs.values() if j.kind == 'sample') == pytest.approx(1)
  assert jobs['samples/set0/wc'].share == jobs['samples/set3/se'].share == pytest.approx(1 / 8)
  assert {j.share for j in jobs.values() if j.kind != 'sample'} == {None}


def test_prompts_are_no_part_of_the_share():
  assert rows(few_shot_tokens=0)['samples/set0/wc'].share == rows(few_shot_tokens=900)['samples/set0/wc'].share


def test_training_costs_6p_a_token_for_every_learning_rate():
  jobs = rows()
  high = jobs['train/set0/student/wc_high']
  assert (high.samples, high.tokens) == (3 * 640, 3 * 640 * 26)
  assert high.flops == 6 * 50 * 3 * 640 * 26
  assert high.seconds == pytest.approx(high.flops / 4000)
  assert jobs['train/set0/wc/gold'].samples == 3 * 32
  assert jobs['train/set0/wc/wc_low_n'].flops == jobs['train/set0/wc/se_low'].flops


def test_every_checkpoint_is_validated_zero_shot():
  job = rows()['train/set0/student/se_low/validation']
  assert (job.kind, job.samples, job.tokens) == ('validate', 3 * 10 * 5, 3 * 10 * 5 * 20)
  assert job.flops == 2 * 50 * 3 * 10 * 5 * (20 + 6)


def test_evaluation_is_one_greedy_and_k_drawn_and_few_shot_for_the_base():
  jobs = rows()
  tuned, base = jobs['evaluate/set0/wc/se_low'], jobs['evaluate/set0/wc/base']
  assert tuned.samples == base.samples == 11 * 5
  assert tuned.flops == 2 * 100 * (11 * 5 * 20 + 11 * 6)
  assert base.flops - tuned.flops == 2 * 100 * 80


def test_every_set_learner_and_source_is_planned():
  jobs = rows(sets=2).values()
  count = {kind: sum(j.kind == kind for j in jobs) for kind in ('sample', 'train', 'validate', 'evaluate')}
  assert count == {'sample': 2 * 2, 'train': 2 * 2 * 7, 'validate': 2 * 2 * 7, 'evaluate': 2 * 2 * 8}


def test_a_generator_that_no_arm_uses_draws_nothing():
  arms = [a for a in ARGUMENTS['arms'] if a.generator != 'se']
  assert [j.model for j in rows(arms=arms).values() if j.kind == 'sample'] == ['wc']


@pytest.mark.parametrize('name', [n for n, v in ARGUMENTS.items() if isinstance(v, int | float)])
def test_a_negative_count_is_named(name):
  assert name in inspect.signature(budget.plan).parameters
  with pytest.raises(budget.BudgetError, match=name):
    rows(**{name: -1})


def test_sizes_and_examples_must_be_known():
  with pytest.raises(budget.BudgetError, match=r"arm 'se_low': no number of parameters .* 'se'"):
    rows(generators={'wc': 100})
  with pytest.raises(budget.BudgetError, match="arm 'gold': examples has no entry 'gold'"):
    rows(examples={'low': 64, 'high': 640})
  with pytest.raises(budget.BudgetError, match='0 parameters'):
    rows(learners={'student': 0})
