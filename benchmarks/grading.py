"""Speed of the grader beside math-verify's, and the pool of second opinions under stress.

    python benchmarks/grading.py --labelled=FILE.jsonl.gz [--task=math] [--rounds=5]
    python benchmarks/grading.py --stress=100000 [--labelled=FILE.jsonl.gz] [--workers=2] [--deadline=1]

FILE holds rows with `gold` and `solution` (a completion). The first extracts the answers once and compares them to the
gold answers, the own grader and math-verify (parse, parse, verify; its own time limits on) by turns in one process. It
prints verdicts a second (median of the rounds), the time of one verdict, and the ratio of the medians: for the rows as
they come, for distinct pairs, and for gold answers with answers of other problems, the last two with the own grader's
caches emptied before each verdict. Then extraction and comparison together, and each hostile answer.

The second sends requests through the pool, one in a hundred of them hostile, and prints how many were answered, how
long it took, and the memory of caller and workers at the start, at most and at the end. Reads /proc.
"""

from __future__ import annotations

import collections
import gzip
import json
import logging
import os
import statistics
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from absl import app, flags

from sweb_jax.answers import grade as grading
from sweb_jax.answers.extract import extract
from sweb_jax.answers.pool import Pool

LABELLED = flags.DEFINE_string('labelled', None, 'JSON lines with `gold` and `solution`, plain or gzipped.')
TASK = flags.DEFINE_enum('task', 'math', grading.TASKS, 'How answers are written and compared.')
ROUNDS = flags.DEFINE_integer('rounds', 5, 'Timed rounds over the file, of either grader.')
STRESS = flags.DEFINE_integer('stress', 0, 'Requests to send through the pool; 0: measure the speed of the grader.')
WORKERS = flags.DEFINE_integer('workers', 2, 'Processes of the pool.')
DEADLINE = flags.DEFINE_float('deadline', 1.0, 'Seconds a request.')

HOSTILE = (
  '9^{9^{9^9}}',
  '(' * 5000 + '1' + ')' * 5000,
  '(' * 400 + '1' + ')' * 400,
  '7' * 10**6,
  '7' * 990,
  '1e1000000000',
  '\\frac{1}{2',
  '{' * 400 + '}' * 400,
  "__import__('os').system('touch x')",
  '2^{10^9}',
  '\\binom{10^9}{10^8}',
  '(x+1)^{10000}',
  '10000000!',
  '\\frac{1}{' * 35 + '2' + '}' * 35,
  '\\sqrt{' * 35 + '2' + '}' * 35,
  '\\sum_{n=1}^{10000000} \\frac{1}{n^n}',
  '\\{' + ','.join(map(str, range(250))) + '\\}',
  'a' * 990,
)


def main(_) -> None:
  if STRESS.value:
    stress(_pairs() if LABELLED.value else [(f'\\frac{{{i}}}{{2}}', str(i / 2)) for i in range(1000)])
  elif LABELLED.value:
    speed(_pairs())
  else:
    raise app.UsageError('--labelled or --stress is needed')


def speed(pairs: list[tuple[str, str]]) -> None:
  import math_verify

  logging.disable(logging.CRITICAL)
  how = [math_verify.LatexExtractionConfig(boxed_match_priority=0)]

  def theirs(gold: str, answer: str) -> bool:
    return math_verify.verify(*(math_verify.parse(f'\\boxed{{{text}}}', how) for text in (gold, answer)))

  def own(gold: str, answer: str) -> bool:
    return grading.same(TASK.value, gold, answer)

  def whole(gold: str, text: str) -> bool:
    return grading.grade(TASK.value, gold, text).correct

  distinct = list(dict.fromkeys(pairs))
  step = len(distinct) // 3
  turned = [distinct[k * step + 1 :] + distinct[: k * step + 1] for k in range(3)]
  others = [(gold, answer) for t in turned for (gold, _), (_, answer) in zip(distinct, t, strict=True)]
  sets = {'rows of the file': pairs, 'distinct pairs, new': distinct, 'answers of other problems, new': others}
  graders = {'own': own, 'math-verify': theirs}
  for grader in graders.values():  # Compiles patterns and parsers.
    _timed(grader, pairs[:20])
  print('| compared | grader | n | verdicts/s | ratio | p50 ms | p99.9 ms | max ms |')
  print('| --- | --- | --- | --- | --- | --- | --- | --- |')
  for what, some in sets.items():
    times: dict[str, list[list[float]]] = {name: [] for name in graders}
    for _ in range(ROUNDS.value):
      for name, grader in graders.items():
        times[name].append(_timed(grader, some, new=some is not pairs))
    unit = _rate(times['math-verify'])
    for name, rounds in times.items():
      _show(what, name, rounds, unit)
  texts = [(row['gold'], row['solution']) for row in _rows()]
  _show('completions, extraction included', 'own', [_timed(whole, texts, new=True) for _ in range(ROUNDS.value)], None)
  print('\n| hostile answer | own ms |\n| --- | --- |')
  for answer in HOSTILE:
    # Against another spelling of itself too: both sides are hostile then.
    most = max(_timed(own, [(gold, answer)], new=True)[0] for gold in ('4', f'{answer} ') if _is_gold(gold))
    print(f'| `{answer[:30]}`, {len(answer)} characters | {1e3 * most:.2f} |')


def stress(pairs: list[tuple[str, str]]) -> None:
  """Sends `--stress` requests, every hundredth hostile, and prints what became of them."""
  seen: collections.Counter[str] = collections.Counter()
  begun = time.monotonic()
  hostile_equal = 0
  with Pool(WORKERS.value, DEADLINE.value) as pool:
    memory: list[tuple[float, float]] = []

    def requests() -> Iterator[tuple[str, str]]:
      for i in range(STRESS.value):
        yield ('4', HOSTILE[i // 100 % len(HOSTILE)]) if i % 100 == 50 else pairs[i % len(pairs)]

    for i, opinion in enumerate(pool.second_opinions(requests())):
      seen[opinion.reason] += 1
      hostile_equal += i % 100 == 50 and opinion.equal is True
      if i % max(1, STRESS.value // 50) == min(2000, STRESS.value // 100):
        memory.append((_rss_mb(os.getpid()), sum(map(_rss_mb, pool.pids))))
        print(f'{i}: {time.monotonic() - begun:.0f} s, caller and workers {memory[-1]} MB', file=sys.stderr)
    seconds = time.monotonic() - begun
    pids, started = pool.pids, pool.started
  left = sum(Path(f'/proc/{pid}').exists() for pid in pids)
  print(
    f'{sum(seen.values())} of {STRESS.value} requests answered in {seconds:.0f} s ({WORKERS.value} workers, deadline '
    f'{DEADLINE.value} s); {started} workers started, {left} left; hostile answers found equal: {hostile_equal}\n'
  )
  print('| opinion | requests |\n| --- | --- |')
  for reason, count in seen.most_common():
    print(f'| {reason} | {count} |')
  print('\n| memory, MB | start | most | end |\n| --- | --- | --- | --- |')
  for name, column in zip(('caller', 'workers together'), zip(*memory, strict=True), strict=True):
    print(f'| {name} | {column[0]:.0f} | {max(column):.0f} | {column[-1]:.0f} |')


def _timed(grader: Callable[[str, str], bool], pairs: list[tuple[str, str]], new: bool = False) -> list[float]:
  """Seconds of each verdict; `new`: the own grader has forgotten all it read before, each time."""
  caches = [c for name in sys.modules if new and name.startswith('sweb_jax.answers') for c in _caches(name)]
  seconds = []
  for gold, answer in pairs:
    for clear in caches:
      clear()
    begun = time.perf_counter()
    grader(gold, answer)
    seconds.append(time.perf_counter() - begun)
  return seconds


def _caches(module: str) -> list[Callable[[], None]]:
  return [v.cache_clear for v in vars(sys.modules[module]).values() if hasattr(v, 'cache_clear')]


def _rate(rounds: list[list[float]]) -> float:
  return statistics.median(len(t) / sum(t) for t in rounds)


def _show(what: str, name: str, rounds: list[list[float]], unit: float | None) -> None:
  every = sorted(t for r in rounds for t in r)
  p50, p999, most = (1e3 * every[min(len(every) - 1, int(q * len(every)))] for q in (0.5, 0.999, 1.0))
  ratio = f'{_rate(rounds) / unit:.1f}' if unit else ''
  print(f'| {what} | {name} | {len(rounds[0])} | {_rate(rounds):.0f} | {ratio} | {p50:.3f} | {p999:.2f} | {most:.2f} |')


def _is_gold(text: str) -> bool:
  try:
    grading.same(TASK.value, text, '4')
  except ValueError:
    return False
  return True


def _rows() -> list[dict]:
  raw = Path(LABELLED.value).read_bytes()
  raw = gzip.decompress(raw) if raw[:2] == b'\x1f\x8b' else raw
  return [json.loads(line) for line in raw.splitlines() if line.strip()]


def _pairs() -> list[tuple[str, str]]:
  """(gold answer, extracted answer) of every row that has one; a `pred` of the file's makers goes before our own."""
  found = ((row['gold'], row.get('pred') or extract(TASK.value, row['solution']).strict) for row in _rows())
  return [(gold, answer) for gold, answer in found if answer]


def _rss_mb(pid: int) -> float:
  try:
    return int(Path(f'/proc/{pid}/statm').read_text().split()[1]) * os.sysconf('SC_PAGE_SIZE') / 2**20
  except FileNotFoundError:
    return 0.0


if __name__ == '__main__':
  app.run(main)
