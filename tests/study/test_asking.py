"""What steps ask of a task and of models: stop strings, second opinions, votes, types of weights, further test sets."""

from __future__ import annotations

import json
import os
import types
from pathlib import Path

import jax
import pytest
from etils import epath

from sweb_jax import layout, records, tasks
from sweb_jax.config import ConfigError, validate
from sweb_jax.records import Problem, Sample, Verdict
from sweb_jax.runtime.by_problem import ByProblem
from sweb_jax.runtime.hosts import Hosts
from sweb_jax.sampling import Store
from sweb_jax.study import collect, fine_tuning, opened, preflight
from sweb_jax.study import verdicts as verdicts_lib
from sweb_jax.tasks import TaskError, grading

DATA = Path(os.environ.get('SWEB_TEST_DATA', Path(__file__).parents[2] / '../shared/data'))


@pytest.fixture
def sums(tmp_path) -> str:
  """A folder of sums in the form of GSM8K."""
  data = tmp_path / 'data'
  data.mkdir()
  for name, rows in (('train', range(1300)), ('test', range(5000, 5010))):
    text = (json.dumps({'question': f'What is {i}+1?', 'answer': f'{i}+1={i + 1}\n#### {i + 1}'}) for i in rows)
    (data / f'{name}.jsonl').write_text('\n'.join(text))
  return str(data)


def steps_of(config, root) -> tuple:
  study = opened.open_study(config)
  return study.context(epath.Path(root), Hosts()), {s.folder: s for s in study.graph.steps}


@pytest.fixture
def asked(monkeypatch) -> list:
  """What the engine is asked, which says nothing: types of the weights, and stop strings by `Asked`."""
  seen = []

  def run(self, params, requests, *, key):
    seen.append({x.dtype.name for x in jax.tree.leaves(params)})
    return iter(())

  monkeypatch.setattr(collect.Engine, 'run', run)
  return seen


def test_tokens_are_drawn_with_weights_of_the_asked_type_and_trained_in_float32(runs, asked, tmp_path):
  context, steps = steps_of(runs.tiny(sampling__dtype='bfloat16'), tmp_path / 'work')
  for name in ('train', 'validation'):
    steps[layout.problems(0, name)].run(context)
  with pytest.raises(RuntimeError, match='samples are missing'):
    steps[layout.samples(0, 'wc')].run(context)
  model = steps[layout.model(0, 'wc', 'wc_low')]
  trained = context.params_to_train('wc', 0)
  problems = context.problems(model.validation.folder, 2)
  fine_tuning.score(context, model, problems, trained)
  assert asked == [{'bfloat16'}] * 2
  assert {x.dtype.name for x in jax.tree.leaves(trained)} == {'float32'}


def graded(config, root) -> list[Verdict]:
  """The verdicts on two samples of every training problem: right in the asked form, right in another."""
  context, steps = steps_of(config, root)
  samples, verdicts = steps[layout.samples(0, 'wc')], steps[layout.verdicts(0, 'wc')]
  samples.problems.run(context)
  store = Store(context.root / samples.folder)
  for p in context.problems(samples.problems.folder, 3):
    for i, text in enumerate((f' That is\n#### {p.gold}', f' The answer is {p.gold}')):
      store.add(Sample(p.id, i, text, (1, 2), 'stop', -1.0))
  store.flush()
  verdicts.run(context)
  return verdicts_in(context.root / verdicts.folder)


def verdicts_in(folder) -> list[Verdict]:
  """The verdicts that stand, in the order in which samples were first graded."""
  rows = records.read(Verdict, *sorted(Path(folder).glob(layout.VERDICTS)))
  return list({(v.problem_id, v.index): v for v in rows}.values())


SUMS = {'task__name': 'gsm8k', 'task__train': 3, 'task__validation': 2, 'task__test': 3, 'budgets': {'low': {'wc': 2}}}


def test_verdicts_of_a_study_hold_both_readings_and_the_second_opinion(runs, sums, tmp_path):
  found = graded(runs.tiny(**SUMS, generators=('wc',), data_dir=sums), tmp_path / 'work')
  assert len(found) == 6
  for v in found:
    assert (v.correct, v.answer is None) == ((True, False) if v.index == 0 else (False, True))
    assert (v.lenient_correct, v.second_opinion, v.second_reason) == (True, True, 'agrees')


def test_second_opinions_can_be_left_out_and_had_later(runs, sums, tmp_path, monkeypatch):
  config = runs.tiny(**SUMS, generators=('wc',), data_dir=sums, grading__second_opinion=False)
  with monkeypatch.context() as patched:
    patched.setattr(grading, 'Pool', None)
    found = graded(config, tmp_path / 'work')
  assert {(v.second_opinion, v.second_reason) for v in found} == {(None, '')}
  later = graded(runs.tiny(**SUMS, generators=('wc',), data_dir=sums), tmp_path / 'work')
  assert {(v.second_opinion, v.second_reason) for v in later} == {(True, 'agrees')}
  assert [(v.correct, v.vote) for v in later] == [(v.correct, v.vote) for v in found]
  assert len(list((tmp_path / 'work' / layout.verdicts(0, 'wc')).glob(layout.VERDICTS))) == 2  # Nothing is rewritten.


def test_verdicts_are_written_a_few_problems_at_a_time_and_a_killed_run_goes_on_from_there(
  runs, sums, tmp_path, monkeypatch
):
  config = runs.tiny(**SUMS, generators=('wc',), data_dir=sums, grading__second_opinion=False)
  whole = graded(config, tmp_path / 'whole')
  monkeypatch.setattr(verdicts_lib, '_ROWS', 2)  # One problem at a time.
  again, asked = tasks.verdicts, []

  def stopped(task, pairs):
    asked.append(list(pairs))
    if len(asked) == 3:
      raise KeyboardInterrupt
    return again(task, asked[-1])

  monkeypatch.setattr(verdicts_lib.tasks, 'verdicts', stopped)
  with pytest.raises(KeyboardInterrupt):
    graded(config, tmp_path / 'work')
  folder, progress = tmp_path / 'work' / layout.verdicts(0, 'wc'), []
  monkeypatch.setattr(Hosts, 'progressed', lambda self: progress.append(self))
  assert verdicts_in(folder) == whole[:4] and len(list(folder.glob(layout.VERDICTS))) == 2
  context, steps = steps_of(config, tmp_path / 'work')
  steps[layout.verdicts(0, 'wc')].run(context)
  assert verdicts_in(folder) == whole
  assert [len(pairs) for pairs in asked] == [2, 2, 2, 2]  # Of four problems' worth, one was asked for twice.
  assert {p.id for p, _ in asked[3]} == {whole[-1].problem_id}
  assert progress  # For processes that wait for this one.


@pytest.mark.parametrize(
  ('few_shot', 'trained', 'stop_strings'),
  [
    (True, False, ('\n\n', 'Question:')),
    (False, False, ('\nQuestion:',)),
    (False, True, ()),
  ],
)
def test_the_task_says_where_a_model_stops_that_was_not_fine_tuned(
  runs, sums, tmp_path, monkeypatch, few_shot, trained, stop_strings
):
  config = runs.tiny(**SUMS, generators=('wc',), data_dir=sums, sampling__few_shot=few_shot)
  context, steps = steps_of(config, tmp_path / 'work')
  seen = []

  def collect(context, asked, *_, **__):
    seen.append(asked.stop_strings)
    return ByProblem(Sample, [])

  monkeypatch.setattr('sweb_jax.study.scores.collect', collect)
  scores = steps[layout.scores(layout.TEST, 0, 'wc', 'base')]
  scores.problems.run(context)
  problems = context.problems(scores.problems.folder, 3)
  scores._answer(context, 'x', problems, 1, {'any': 0} if trained else None, greedy=True)
  assert seen == [stop_strings]


def test_programs_have_no_majority_vote(runs, monkeypatch):
  monkeypatch.setattr(opened.tasks, 'get', lambda *_, **__: types.SimpleNamespace(same=None))
  with pytest.raises(ConfigError, match=r'config\.evaluate\.maj_k=\(4,\): answers of mbpp are not compared'):
    opened.open_study(runs.tiny(task__name='mbpp', evaluate__maj_k=(4,)))
  with pytest.raises(ConfigError, match=r"config\.data\.filter='majority': answers of mbpp are not compared"):
    opened.open_study(runs.tiny(task__name='mbpp', data__filter='majority'))


# Further test sets.


@pytest.mark.parametrize(
  ('tests', 'message'),
  [
    ({'new': 3}, r'config\.transfer\.new=3: give'),
    ({'new set': {'task': 'svamp', 'test': 3}}, r"config\.transfer='new set': a name is"),
    ({'test': {'task': 'svamp', 'test': 3}}, r"config\.transfer='test': is the study's own test set"),
    ({'new': {'test': 3}}, r"config\.transfer\.new=\['test'\]: its fields are"),
    ({'new': {'task': 'svamp', 'test': 3, 'world': 1}}, r'config\.transfer\.new=.*its fields are'),
    ({'new': {'task': 'svamp', 'test': 0}}, r'config\.transfer\.new\.test=0: must be a positive whole number'),
  ],
)
def test_a_test_set_that_makes_no_sense_is_refused(runs, tests, message):
  config = runs.tiny()
  with config.ignore_type():
    config.transfer = tests
  with pytest.raises(ConfigError, match=message):
    validate(config)


@pytest.mark.parametrize(
  ('test', 'message'),
  [
    ({'task': 'riddles', 'test': 3}, r"config\.transfer\.new\.task='riddles' is not a task"),
    ({'task': 'arithmetic', 'test': 3, 'levels': ('s9',)}, r"config\.transfer\.new\.levels names \['s9'\]; levels are"),
    ({'task': 'humaneval', 'test': 3, 'data_dir': '/nowhere'}, r"transfer\.new\.data_dir='/nowhere': there is no "),
  ],
)
def test_a_task_that_cannot_give_the_problems_is_refused_before_any_compute(runs, test, message, tmp_path):
  with pytest.raises(ConfigError, match=message):
    preflight.check(opened.open_study(runs.tiny(transfer={'new': test})), epath.Path(tmp_path / 'work'))
  assert not list(tmp_path.iterdir())


def test_worked_examples_that_are_not_there_are_missed_before_any_compute(runs, tmp_path):
  row = {'ID': 'a', 'Body': 'Tom has 2 pears.', 'Question': 'How many?', 'Answer': 2.0, 'Type': 'Addition'}
  (tmp_path / 'test.jsonl').write_text(json.dumps(row) + '\n')
  new = {'task': 'svamp', 'test': 1, 'data_dir': str(tmp_path)}
  opened.open_study(runs.tiny(transfer={'new': new}))
  with pytest.raises(ConfigError, match=r'config\.transfer\.new: .*worked examples'):
    opened.open_study(runs.tiny(transfer={'new': new}, sampling__few_shot=True))


@pytest.mark.parametrize('task', ['svamp', 'functional_math', 'humaneval'])
def test_public_test_sets_are_further_test_sets(runs, task, tmp_path):
  if not (DATA / task).is_dir():
    pytest.skip(f'{DATA / task} is absent; set SWEB_TEST_DATA')
  config = runs.tiny(transfer={'public': {'task': task, 'test': 20, 'data_dir': str(DATA / task)}})
  context, steps = steps_of(config, tmp_path)
  step = steps[layout.problems(0, layout.transfer('public'))]
  step.run(context)
  problems = list(records.read(Problem, tmp_path / step.folder / layout.PROBLEMS))
  assert len({p.id for p in problems}) == 20 and all(p.text and p.gold for p in problems)


def test_problems_are_chosen_by_seed_and_question_set(runs):
  config = runs.tiny(question_sets=2, transfer={'short': {'task': 'arithmetic', 'test': 5, 'levels': ('s1r0',)}})
  chosen = []
  for s in (0, 1, 0):
    study = opened.open_study(config)
    step = next(x for x in study.graph.steps if x.folder == layout.problems(s, layout.transfer('short')))
    chosen.append([p.id for p in step.choose(study.tasks[step.split])])
  assert chosen[0] == chosen[2] != chosen[1] and len(chosen[0]) == 5


@pytest.mark.slow
def test_the_same_task_as_a_further_test_set_gives_the_verdicts_of_the_study(runs, tmp_path):
  config = runs.tiny(generators=(), budgets={}, transfer={'again': {'task': 'arithmetic', 'test': 10}})
  runs(tmp_path, config, ('evaluate',))
  ours, theirs = (
    verdicts_in(tmp_path / layout.scores(test, 0, 'wc', 'base') / layout.BASE / layout.GREEDY)
    for test in (layout.TEST, 'again')
  )
  assert ours == theirs and len(ours) == 10


def test_every_score_of_a_study_has_its_like_on_the_test_set(runs):
  config = runs.tiny(train__seeds=2, transfer={'short': {'task': 'arithmetic', 'test': 5, 'levels': ('s1r0',)}})
  steps = {s.folder: s for s in opened.open_study(config).graph.steps}
  own = [s for s in steps.values() if s.kind == 'scores' and s.test == layout.TEST]
  assert any(s.folder.endswith('.seed1') for s in own)
  for step in own:
    like = steps[step.folder.replace(f'/{layout.TEST}/', '/short/')]
    assert like.trained is step.trained and like.folder in {s.folder for s in steps[layout.REPORT].inputs}


def test_data_that_are_missing_are_named_by_their_field(runs):
  with pytest.raises(TaskError, match=r'config\.data_dir'):
    opened.open_study(runs.tiny(task__name='gsm8k'))
