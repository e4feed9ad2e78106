"""The job of a judge, with a judge that knows the answer in place of a model's words."""

from __future__ import annotations

import concurrent.futures
import copy
import importlib.util
import json
import threading
import types
import zlib
from pathlib import Path

import pytest
from sweb_jax.jobs import Jobs

from sweb_jax import budget, judging, records
from sweb_jax.answers import judge
from sweb_jax.answers.judge import Opinion
from sweb_jax.config import ConfigError, resolve
from sweb_jax.models.tokenizer import TokenizerError
from sweb_jax.records import Example, Sample, Verdict
from sweb_jax.sampling import Store
from sweb_jax.study import Study

METER = types.SimpleNamespace(skip=lambda *_, **__: None, add=lambda *_, **__: None)
ARM = budget.Arm('wc_low', 'wc', 3, 'low', 'compute')
SAYS = {True: 'Verdict: right', False: 'Verdict: wrong', None: 'well'}


def configured(**fields):
  path = Path(__file__).parents[1] / 'configs/quickstart.py'
  spec = importlib.util.spec_from_file_location('quickstart', path)
  module = importlib.util.module_from_spec(spec)
  spec.loader.exec_module(module)
  config = resolve(module.get_config(), ())
  config.task.update({'train': 4, 'validation': 2, 'test': 3})
  config.judge.update({'model': 'se', 'samples': 5, 'max_new_tokens': 8})
  config.update_from_flattened_dict({'data.filter': 'judge'} | fields)
  return config


@pytest.fixture
def jobs(tmp_path):
  """Four problems with four graded samples each: right, right by wrong steps, wrong, cut."""
  jobs = Jobs(configured(), tmp_path / 'work')
  jobs.write_problems(jobs.workdir / 'problems/set0', 0)
  store = Store(jobs.workdir / 'samples/set0/wc')
  for p in jobs.problems(0, 'train'):
    chance = f' {p.solutions[0].split("####")[0].split()[0]} #### {p.gold}'
    drawn = (p.solutions[0], 'stop'), (chance, 'stop'), (' #### x', 'stop'), ('', 'length')
    for i, (text, finish) in enumerate(drawn):
      store.add(Sample(p.id, i, text, tuple(range(i + 1)), finish, -1.0))
  store.flush()
  jobs.write_grades(jobs.workdir / 'grades/set0/wc', 0, 'wc', [])
  return jobs


@pytest.fixture
def asked(jobs, monkeypatch):
  """What the judge was asked: it says right where every step is right, and of the first problem it says nothing."""
  seen = []
  verdicts = {(v.problem_id, v.index): v for v in records.read(Verdict, jobs.workdir / 'grades/set0/wc.jsonl')}
  first = jobs.problems(0, 'train')[0].id
  assert {(v.correct, v.valid) for v in verdicts.values()} == {(True, True), (True, False), (False, False)}

  def reply(self, model, question_set, renderer, requests, stop_strings, max_new_tokens):
    assert (model, max_new_tokens, stop_strings) == ('se', 8, judge.STOP_STRINGS)
    for r in requests:
      seen.append((r, renderer))
      problem, index = r.problem_id.rsplit('/', 1)
      v = verdicts[problem, int(index)]
      text = SAYS[None if problem == first else bool(v.correct and v.valid)]
      yield Sample(r.problem_id, 0, text, (7, 8, 1), 'stop', -1.0)

  monkeypatch.setattr(Jobs, 'reply', reply)
  return seen


def run(jobs, arms=(ARM,)):
  folder = jobs.workdir / 'judge/set0/wc'
  judging.run(folder, jobs, 0, 'wc', arms, METER)
  return folder


def test_a_judge_without_gold_decides_what_an_arm_keeps_and_is_charged(jobs, asked):
  folder = run(jobs)
  problems = jobs.problems(0, 'train')
  kept = list(records.read(Example, folder / 'wc_low.jsonl'))
  # Right by right steps; not the first problem's, of which there is no opinion.
  assert [(e.problem_id, e.solution) for e in kept] == [(p.id, p.solutions[0]) for p in problems[1:]]
  assert json.loads((folder / 'wc_low.rules.json').read_text()) == {'sampled': 12, 'not judged right': 9, 'kept': 3}
  blind = list(records.read(Opinion, folder / 'blind.jsonl'))
  assert [(o.problem_id, o.index) for o in blind] == [(p.id, i) for p in problems for i in range(3)]
  assert [o.right for o in blind] == [None] * 3 + [True, False, False] * 3

  charge = json.loads((folder / 'wc_low.charge.json').read_text())
  sizes = {name: jobs.models[name].config.parameters for name in ('wc', 'se')}
  drawn = 4 * (1 + 2 + 3)
  assert charge['samples'] == {'wc': 12} and charge['judge']['tokens'] == 12 * 3
  assert charge['spent']['tokens'] == drawn + 12 * 3
  assert charge['spent']['paper'] == 2 * (sizes['wc'] * drawn + sizes['se'] * 12 * 3)
  # What is read is charged where reading costs: the worked examples once, every prompt.
  cost, prefix = jobs.costs['flops'], len(asked[-1][1].prefix)
  prompts = [len(r.prompt) for r, _ in asked[5:]]
  read = cost.read('se', 0, prefix, last=False) + sum(cost.read('se', prefix, n, last=True) for n in prompts)
  assert charge['judge']['spent']['flops'] == read + sum(cost.draw('se', prefix + n, 3) for n in prompts)


def test_the_ledger_has_what_the_judge_read_and_drew_and_a_second_run_asks_nothing(jobs, asked):
  run(jobs)
  tokens = [e.tokens for e in budget.read(jobs.workdir) if e.model == 'se']
  assert sum(t['judge'] for t in tokens) == 3 * len(asked)
  assert sum(t['prompt'] for t in tokens) == sum(len(r.prompt) for r, _ in asked)
  assert sum(t['prefix'] for t in tokens) == sum(len(p) for p in {r.prefix for _, r in asked})
  before = len(asked)
  run(jobs)
  assert len(asked) == before == 12 + 5
  assert sum(e.tokens['judge'] for e in budget.read(jobs.workdir) if e.model == 'se') == 3 * before


def test_kept_samples_are_chosen_by_the_seed_and_read_beside_a_right_solution(jobs, asked, monkeypatch):
  golds, real = {}, judge.prompt
  monkeypatch.setattr(judge, 'prompt', lambda text, *a: golds.setdefault(text, []).append(a[1]) or real(text, *a))
  problems = jobs.problems(0, 'train')
  chosen = []
  for seed in (0, 0, 1):
    jobs.config.seed = seed
    chosen.append([(o.problem_id, o.index) for o in records.read(Opinion, run(jobs) / 'judged.jsonl')])
    (jobs.workdir / 'judge').rmtree()
  assert chosen[0] == chosen[1] != chosen[2]
  assert all(len(c) == 5 and all(index < 2 for _, index in c) for c in chosen)  # Of the eight that were kept.
  for p in problems:
    read = [c for c in chosen for problem, _ in c if problem == p.id]
    assert golds[p.text].count(p.solutions[0]) == len(read) and golds[p.text].count(None) == 3 * 3


def test_two_processes_share_the_asking_and_the_first_writes_the_same(jobs, asked):
  folder = run(jobs)
  files = ('judged.jsonl', 'blind.jsonl', 'wc_low.jsonl', 'wc_low.rules.json', 'wc_low.charge.json')
  alone = [(folder / name).read_bytes() for name in files]
  folder.rmtree()
  del asked[:]
  meeting = threading.Barrier(2, timeout=30)

  def process(index: int) -> None:
    mine = copy.copy(jobs)
    mine.hosts = types.SimpleNamespace(
      count=2,
      leads=index == 0,
      speaks=True,
      meet=lambda name: None,
      prefix=f'{index:03d}-',
      mine=lambda name: zlib.crc32(name.encode()) % 2 == index,
      barrier=lambda name: meeting.wait(),
    )
    run(mine)

  with concurrent.futures.ThreadPoolExecutor(2) as pool:
    list(pool.map(process, range(2)))
  assert [(folder / name).read_bytes() for name in files] == alone
  assert len(asked) == len({(r.problem_id, r.prompt) for r, _ in asked}) == 12 + 5
  assert len(list(folder.glob('all/se/chunk-00*-*.jsonl'))) == 2
  assert sum(e.tokens['judge'] for e in budget.read(jobs.workdir) if e.model == 'se') == 3 * 17


def test_a_real_model_is_asked_and_says_nothing_that_counts(jobs):
  """The embedded model has never seen a verdict: no opinion, counted and charged."""
  found = list(records.read(Opinion, run(jobs, arms=()) / 'judged.jsonl'))
  assert {o.right for o in found} == {None} and all(0 < o.tokens <= 8 and o.read > 0 for o in found)


@pytest.mark.parametrize(
  ('fields', 'message'),
  [
    ({'cost.exact_ratio': True}, r"config\.data\.filter='judge': arm 'wc_high' has a policy"),
    ({'cost.name': 'price'}, r"no price for 'wc'"),
  ],
)
def test_an_arm_that_a_judge_cannot_filter_or_charge_is_refused(tmp_path, fields, message):
  with pytest.raises(ValueError, match=message):
    Study(configured(**fields), tmp_path)


def test_a_judge_that_is_to_read_chat_turns_needs_their_marks(tmp_path):
  with pytest.raises(TokenizerError, match='not a vocabulary for chat turns'):
    Study(configured(chat=('se',)), tmp_path)


def test_votes_are_no_filter_of_programs(tmp_path, monkeypatch):
  from sweb_jax import jobs as jobs_lib

  monkeypatch.setattr(jobs_lib.tasks, 'get', lambda *_, **__: types.SimpleNamespace(same=None))
  config = configured(**{'data.filter': 'majority', 'evaluate.maj_k': ()})
  with pytest.raises(ConfigError, match=r"config\.data\.filter='majority': answers of arithmetic are programs"):
    Jobs(config, tmp_path)
