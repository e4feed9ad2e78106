"""Gold answers with random edits through the grader: nothing is raised, and `equal` is reflexive and symmetric.

    python benchmarks/mutations.py --golds=FILE.jsonl.gz [--golds=...] [--count=200000] [--seed=0]

FILE holds rows with `solution`, whose boxes are the gold answers. Each round edits one of them and compares the two in
both orders, the edited one with itself, and grades a completion with it. Prints how many verdicts were given, how many
a second, the slowest, and every fault with the texts that show it; the exit code is 1 where there is one.
"""

from __future__ import annotations

import gzip
import json
import random
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from absl import app, flags

from sweb_jax.answers import extract
from sweb_jax.answers.grade import grade
from sweb_jax.answers.latex import MAX_CHARS
from sweb_jax.answers.math_equal import equal

GOLDS = flags.DEFINE_multi_string('golds', [], 'JSON lines with `solution`, plain or gzipped.')
COUNT = flags.DEFINE_integer('count', 200_000, 'Edited answers.', lower_bound=1)
SEED = flags.DEFINE_integer('seed', 0, 'Of the edits.')

FRAGMENTS = (
  r'\begin', r'\end', r'\boxed{', r'\text{', r'\frac', r'\sqrt', r'\left(', r'\right]', r'\begin{pmatrix}',
  r'\end{pmatrix}', r'\overline{', r'\pm', r'\le', r'\neq', r'\in', r'\cup', r'\setminus', r'\mid', r'\infty', r'\over',
  r'\choose', r'\Rightarrow', r'\mathbb', r'\mathbf{j}', r'\hat{i}', r'\dots', r'\dot', r'\bar', r'\$', r'\,', '\\\\',
  r'\{', r'\}', '{', '}', '(', ')', '[', ']', '$', ',', ';', ':', '|', '=', '<', '^', '_', '+', '-', '*', '/', '!', '%',
  '&', '#', '`', '**', '\\', '1,200', '0.(3)', '9999', '1e9', r'^\circ', '^T', 'x=', 'f(x)=', '(y,x)=', 'i', 'e', 'R',
  'inf', ' dozen', ' tenths', ' cm', ' million', ' and ', ' or ', ' base ', 'all real numbers', ' except ',
  'The answer is ', '\n', ' ', '\0', '\ud800', '²', '٣', '−', '…',
)  # fmt: skip
"""What is put into answers."""

Edit = tuple[int, int, str]
"""(place, how many characters go, what comes in their place); places count round the end of the text."""


def edited(text: str, edits: Sequence[Edit]) -> str:
  """The text after the edits, one after the other."""
  for place, gone, new in edits:
    at = place % (len(text) + 1)
    text = text[:at] + new + text[at + gone :]
  return text


def faults(gold: str, answer: str) -> list[str]:
  """What the grader does wrong with two texts; nothing is known of their verdict."""
  found = []
  try:
    if equal(gold, answer) != equal(answer, gold):
      found.append('not symmetric')
    if answer.strip() and len(answer) <= MAX_CHARS and not equal(answer, answer):
      found.append('not reflexive')
    for task, text in (('math', f'So $\\boxed{{{answer}}}$.'), ('math', f'The answer is ${answer}$.')):
      grade(task, gold, text)
    grade('gsm8k', '5', f'#### {answer}')
  except Exception as e:  # Any exception is the fault that is looked for.
    found.append(f'{type(e).__name__}: {e}')
  return found


def golds(paths: Sequence[str]) -> list[str]:
  """The distinct gold answers of files of solutions, in order."""
  found = {}
  for path in paths:
    raw = Path(path).read_bytes()
    raw = gzip.decompress(raw) if raw[:2] == b'\x1f\x8b' else raw
    for line in raw.splitlines():
      if answer := extract.boxed(json.loads(line)['solution']):
        found[answer] = True
  return list(found)


def main(_) -> None:
  if not GOLDS.value:
    raise app.UsageError('--golds is needed: a file with solutions of MATH')
  answers, rng = golds(GOLDS.value), random.Random(SEED.value)
  slowest, seen, begun = (0.0, ''), 0, time.monotonic()
  for _ in range(COUNT.value):
    gold = rng.choice(answers)
    some = range(rng.randint(1, 4))
    answer = edited(gold, [(rng.randrange(1 << 16), rng.choice((0, 0, 1, 2, 5)), rng.choice(FRAGMENTS)) for _ in some])
    start = time.process_time()
    for fault in faults(gold, answer):
      seen += 1
      print(f'{fault}: {gold!r} and {answer!r}')
    slowest = max(slowest, (time.process_time() - start, answer))
  seconds = time.monotonic() - begun
  print(
    f'{COUNT.value} edits of {len(answers)} gold answers in {seconds:.0f} s ({COUNT.value / seconds:.0f} a second); '
    f'{seen} faults; the slowest took {1e3 * slowest[0]:.0f} ms: {slowest[1]!r}'
  )
  sys.exit(1 if seen else 0)


if __name__ == '__main__':
  app.run(main)
