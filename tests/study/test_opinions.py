"""The steps of a judge, with a judge that knows the answer in place of a model's words."""

from __future__ import annotations

import concurrent.futures
import dataclasses
import json
import threading
import types
import zlib

import pytest
from etils import epath
from rich.console import Console

from sweb_jax import analysis, budget, layout, records
from sweb_jax.answers import judge
from sweb_jax.answers.judge import Opinion
from sweb_jax.config import ConfigError
from sweb_jax.models.tokenizer import TokenizerError
from sweb_jax.records import Example, Sample, Verdict
from sweb_jax.runtime.hosts import Hosts
from sweb_jax.study import STAGES, collect, opened, runner

KEPT, ALL = (layout.opinions(0, 'wc', of) for of in (layout.KEPT, layout.ALL))
LOW, HIGH = (layout.examples(0, arm) for arm in ('wc_low', 'wc_high'))
SAYS = {True: 'Verdict: right', False: 'Verdict: wrong', None: 'well'}
JUDGE = {'judge__model': 'se', 'judge__samples': 5, 'judge__max_new_tokens': 8, 'data__filter': 'judge'}


class Judged:
  """A workdir whose samples are drawn and graded, and its study's steps to come."""

  def __init__(self, root, config):
    self.root, self.study = root, opened.open_study(config)
    self.steps = {s.folder: s for s in self.study.graph.steps}
    self.context = self.study.context(root, Hosts())
    self.problems = self.context.problems(layout.problems(0, 'train'), 4)

  def run(self, *kinds, context=None):
    """Does what is not done of the steps of some kinds."""
    steps = [s for s in self.steps.values() if s.kind in kinds]
    runner.run(context or self.context, steps, STAGES, Console(quiet=True), 1, self.study.assumed(self.root))

  def opinions(self, folder):
    return list(records.read(Opinion, self.root / folder / layout.OPINIONS))

  def charged(self):
    """Tokens of the judge in the ledgers, by kind."""
    tokens = [e.tokens for e in budget.read(self.root) if e.model == 'se']
    return [sum(t.get(kind, 0) for t in tokens) for kind in ('judge', 'prompt', 'prefix')]


@pytest.fixture
def judged(runs, tmp_path, monkeypatch):
  """Four problems with four graded samples each: right, right by wrong steps, wrong, cut.

  The arm wc_low holds the first three of each, the arm wc_high all.
  """

  def draw(context, asked, requests, *_):
    assert asked.model == 'wc'
    problems = {p.id: p for p in context.problems(layout.problems(0, 'train'), 4)}
    for r in requests:
      p = problems[r.problem_id]
      chance = f' {p.solutions[0].split("####")[0].split()[0]} #### {p.gold}'
      drawn = (p.solutions[0], 'stop'), (chance, 'stop'), (' #### x', 'stop'), ('', 'length')
      text, finish = drawn[r.index]
      yield Sample(p.id, r.index, text, tuple(range(r.index + 1)), finish, -1.0)

  config = runs.tiny(task__train=4, generators=('wc',), budgets={'low': {'wc': 3}, 'high': {'wc': 4}}, **JUDGE)
  root = epath.Path(tmp_path / 'work')
  with monkeypatch.context() as patch:
    patch.setattr(collect, 'complete', draw)
    runs(root, config, ('plan', 'sample'))
  made = Judged(root, config)
  made.run('verdicts')
  return made


@pytest.fixture
def asked(judged, monkeypatch):
  """What the judge was asked: it says right where every step is right, and of the first problem it says nothing."""
  seen = []
  rows = records.read(Verdict, *(judged.root / layout.verdicts(0, 'wc')).glob(layout.VERDICTS))
  found = {(v.problem_id, v.index): v for v in rows}
  first = judged.problems[0].id
  assert {(v.correct, v.valid) for v in found.values()} == {(True, True), (True, False), (False, False)}

  def reply(context, asked, requests, *_):
    assert (asked.model, asked.max_new_tokens, asked.stop_strings) == ('se', 8, judge.STOP_STRINGS)
    for r in requests:
      seen.append((r, asked.renderer))
      problem, index = r.problem_id.rsplit('/', 1)
      v = found[problem, int(index)]
      text = SAYS[None if problem == first else bool(v.correct and v.valid)]
      yield Sample(r.problem_id, 0, text, (7, 8, 1), 'stop', -1.0)

  monkeypatch.setattr(collect, 'complete', reply)
  return seen


def test_a_judge_without_gold_decides_what_an_arm_keeps_and_is_charged(judged, asked):
  judged.run('opinions', 'examples')
  root, problems = judged.root, judged.problems
  for arm, sampled, silent in ((LOW, 12, 9), (HIGH, 16, 13)):
    kept = list(records.read(Example, root / arm / layout.EXAMPLES))
    # Right by right steps; not the first problem's, of which there is no opinion.
    assert [(e.problem_id, e.solution) for e in kept] == [(p.id, p.solutions[0]) for p in problems[1:]]
    counts = json.loads((root / arm / layout.COUNTS).read_text())
    assert counts == {'sampled': sampled, 'not judged right': silent, 'kept': 3, 'cut': sampled - 12}
  blind = judged.opinions(ALL)  # What was cut is not asked about.
  assert [(o.problem_id, o.index) for o in blind] == [(p.id, i) for p in problems for i in range(3)]
  assert [o.right for o in blind] == [None] * 3 + [True, False, False] * 3

  held = analysis.read(root).held[0, 'wc_low']
  sizes, cost = judged.study.parameters, judged.context.costs['flops']
  drawn = 4 * (1 + 2 + 3)
  assert held.samples == {'wc': 12}
  assert held.spent['tokens'] == drawn + 12 * 3
  assert held.spent['paper'] == 2 * (sizes['wc'] * drawn + sizes['se'] * 12 * 3)

  # What is read is charged where reading costs: the worked examples once, every prompt.
  def flops(model, prefix, prompts, lengths):
    read = cost.read(model, 0, prefix, last=False) + sum(cost.read(model, prefix, n, last=True) for n in prompts)
    return read + sum(cost.draw(model, prefix + n, k) for n in prompts for k in lengths)

  read = json.loads((root / layout.samples(0, 'wc') / layout.PROMPTS).read_text())
  judging = flops('se', len(asked[-1][1].prefix), [len(r.prompt) for r, _ in asked[5:]], [3])
  assert held.spent['flops'] == flops('wc', read['prefix'], read['prompts'].values(), [1, 2, 3]) + judging


def test_the_ledger_has_what_the_judge_read_and_drew_and_a_second_run_asks_nothing(judged, asked):
  judged.run('opinions')
  prompts = sum(len(r.prompt) for r, _ in asked)
  prefixes = sum(len(p) for p in {r.prefix for _, r in asked})
  assert judged.charged() == [3 * len(asked), prompts, prefixes]
  before = len(asked)
  for folder in (KEPT, ALL):
    judged.steps[folder].run(judged.context)
  assert len(asked) == before == 12 + 5
  assert judged.charged() == [3 * before, prompts, prefixes]


def test_kept_samples_are_chosen_by_the_seed_and_read_beside_a_right_solution(judged, asked, monkeypatch):
  golds, real = {}, judge.prompt
  monkeypatch.setattr(judge, 'prompt', lambda text, *a: golds.setdefault(text, []).append(a[1]) or real(text, *a))
  chosen = []
  for seed in (0, 0, 1):
    for folder in (KEPT, ALL):
      step = judged.steps[folder]
      dataclasses.replace(step, settings={**step.settings, 'seed': seed}).run(judged.context)
    chosen.append([(o.problem_id, o.index) for o in judged.opinions(KEPT)])
    (judged.root / 'opinions').rmtree()
  assert chosen[0] == chosen[1] != chosen[2]
  assert all(len(c) == 5 and all(index < 2 for _, index in c) for c in chosen)  # Of the eight that were kept.
  for p in judged.problems:
    read = [c for c in chosen for problem, _ in c if problem == p.id]
    assert golds[p.text].count(p.solutions[0]) == len(read) and golds[p.text].count(None) == 3 * 3


def test_two_processes_share_the_asking_and_the_first_writes_the_same(judged, asked):
  files = [f'{folder}/{name}' for folder in (KEPT, ALL) for name in (layout.OPINIONS, layout.PROMPTS)]
  files += [f'{folder}/{name}' for folder in (LOW, HIGH) for name in (layout.EXAMPLES, layout.COUNTS)]
  judged.run('opinions', 'examples')
  alone = [(judged.root / name).read_bytes() for name in files]
  for kind in ('opinions', 'examples'):
    (judged.root / kind).rmtree()
  del asked[:]
  meeting = threading.Barrier(2, timeout=30)

  def process(index: int) -> None:
    hosts = types.SimpleNamespace(
      count=2,
      together=1,
      leads=index == 0,
      stop=threading.Event(),
      meet=lambda name: None,
      prefix=f'{index:03d}-',
      ours=lambda name: zlib.crc32(name.encode()) % 2 == index,
      mine=lambda name: zlib.crc32(name.encode()) % 2 == index,
      barrier=lambda name: meeting.wait(),
      progressed=lambda: None,
    )
    judged.run('opinions', 'examples', context=judged.study.context(judged.root, hosts))

  with concurrent.futures.ThreadPoolExecutor(2) as pool:
    list(pool.map(process, range(2)))
  assert [(judged.root / name).read_bytes() for name in files] == alone
  assert len(asked) == len({(r.problem_id, r.prompt) for r, _ in asked}) == 12 + 5
  assert len(list((judged.root / ALL).glob('chunk-00*-*.jsonl'))) == 2
  assert judged.charged()[0] == 3 * 17


@pytest.mark.slow
def test_a_real_model_is_asked_and_says_nothing_that_counts(judged):
  """The embedded model has never seen a verdict: no opinion, counted and charged."""
  judged.steps[KEPT].run(judged.context)
  found = judged.opinions(KEPT)
  assert {o.right for o in found} == {None} and all(0 < o.tokens <= 8 and o.read > 0 for o in found)
  assert judged.charged()[0] == sum(o.tokens for o in found)


@pytest.mark.parametrize(
  ('fields', 'message'),
  [
    ({'cost__exact_ratio': True}, r"config\.data\.filter='judge': arm 'wc_low' has a policy"),
    ({'cost__name': 'price'}, r"no price for 'wc'"),
  ],
)
def test_an_arm_that_a_judge_cannot_filter_or_charge_is_refused(runs, fields, message):
  with pytest.raises(ValueError, match=message):
    opened.open_study(runs.tiny(**JUDGE, **fields))


def test_a_judge_that_is_to_read_chat_turns_needs_their_marks(runs):
  with pytest.raises(TokenizerError, match='not a vocabulary for chat turns'):
    opened.open_study(runs.tiny(**JUDGE, chat=('se',)))


def test_votes_are_no_filter_of_programs(runs, monkeypatch):
  monkeypatch.setattr(opened.tasks, 'get', lambda *_, **__: types.SimpleNamespace(same=None))
  with pytest.raises(ConfigError, match=r"config\.data\.filter='majority': answers of arithmetic are not compared"):
    opened.open_study(runs.tiny(data__filter='majority'))
