"""A made world of word problems in a dialect whose rare verbs the pre-training corpus often misreads.

    prompt    tom has 11 apples . sobos 5 . fodas 3 . kisas 7 . how many ? A:
    solution  11 + 5 = 16 ; 3 + 16 = 19 ; 19 + 7 = 26 #### 26

Every verb means add, subtract or ignore. Common verbs are always read right. A rare verb is read right in the corpus
with a reliability of its own, and otherwise in the one wrong way that belongs to it: a model trained on the corpus
misreads many verbs when it is greedy and reads them right now and then when it is sampled, so that a gold answer tells
it something new. Statements are separated by ' . ', steps by ' ; ', every word is a token, and no number leaves 0-30.

Everything is a function of (world, seed) through `random.Random.random` alone, whose sequence Python guarantees to
keep; the other methods of `random` and NumPy's generators may change with a release, and shipped checkpoints may not.
"""

from __future__ import annotations

import bisect
import dataclasses
import functools
import hashlib
import itertools
import random
from collections.abc import Iterator, Sequence

from sweb_jax.tasks import TaskError

ADD, SUBTRACT, IGNORE = SENSES = (1, -1, 0)
"""A sense is the sign with which a verb's quantity enters the total."""
NUMBERS = {str(n): n for n in range(31)}
"""Every number of the world by its only spelling; a running total outside it has no token."""
NAMES = ('ann', 'ben', 'eva', 'kim', 'leo', 'mia', 'sam', 'tom')
ITEMS = ('apples', 'books', 'cards', 'coins', 'eggs', 'keys', 'nuts', 'pens', 'shells', 'stamps', 'toys')
_SYMBOLS = ('has', '.', 'how', 'many', '?', 'A:', '+', '-', '=', ';', '####')
_COMMON_SENSES = (ADD,) * 3 + (SUBTRACT,) * 3 + (IGNORE,) * 2
_RARE_PER_SENSE = 40
_RELIABILITY = (0.2, 1.0)
_STARTS = range(3, 26)
_QUANTITIES = range(2, 10)
_LENGTH_SHARES = (0.30, 0.35, 0.35)  # Of corpus problems with 1, 2 and 3 statements.
_COMMON_SHARE = 0.6
_SHUFFLED_SHARE = 0.30
_SWAPPED_SHARE = 0.15
LEVELS = {f's{s}r{r}': (s, r) for s in (1, 2, 3) for r in range(s + 1)}
"""Difficulty: name -> (statements, rare verbs among them)."""
HARDEST = 's3r3'


@dataclasses.dataclass(frozen=True)
class Verb:
  """A made-up verb."""

  word: str
  sense: int
  """What it means: `ADD`, `SUBTRACT` or `IGNORE`."""
  misreading: int
  """The sense it is given wherever the corpus misreads it; equal to `sense` for common verbs."""
  reliability: float
  """Share of its uses in the corpus that are read right; 1 for common verbs."""


@dataclasses.dataclass(frozen=True)
class World:
  """The verbs of one dialect."""

  number: int
  common: tuple[Verb, ...]
  rare: tuple[Verb, ...]
  """Most frequent first: rank i occurs in the corpus with a frequency proportional to 1 / sqrt(5 + i)."""

  @functools.cached_property
  def verbs(self) -> dict[str, Verb]:
    """Every verb by its word."""
    return {v.word: v for v in self.common + self.rare}

  @functools.cached_property
  def rare_cumulative(self) -> list[float]:
    """Cumulative corpus frequencies of the rare verbs, ending at 1."""
    sums = list(itertools.accumulate((5 + i) ** -0.5 for i in range(len(self.rare))))
    return [s / sums[-1] for s in sums]


@dataclasses.dataclass(frozen=True)
class Question:
  """A word problem in its parts."""

  name: str
  start: int
  item: str
  verbs: tuple[Verb, ...]
  quantities: tuple[int, ...]

  @property
  def text(self) -> str:
    statements = ''.join(f'{v.word} {q} . ' for v, q in zip(self.verbs, self.quantities, strict=True))
    return f'{self.name} has {self.start} {self.item} . {statements}how many ?'

  @property
  def changes(self) -> list[int]:
    """The signed quantities under the true senses, in order, without the ignored ones."""
    return [v.sense * q for v, q in zip(self.verbs, self.quantities, strict=True) if v.sense]

  @property
  def gold(self) -> int:
    """The right answer."""
    return self.start + sum(self.changes)


def _below(rng: random.Random, n: int) -> int:
  return int(rng.random() * n)


def _shuffled(rng: random.Random, values: Sequence) -> list:
  return sorted(values, key=lambda _: rng.random())


@functools.cache
def build_world(number: int) -> World:
  """The dialect called `number`: 8 common and 120 rare verbs, their senses, reliabilities and misreadings."""
  rng = random.Random(f'dialect world {number}')
  # Two syllables and an s. Without c, g, h, p, z and a last e or u, few real words ('takes', 'minus') can come up.
  syllables = itertools.product('bdfklmnrstv', 'aeiou', 'bdfklmnrstv', 'aio')
  words = iter(_shuffled(rng, [''.join(s) + 's' for s in syllables]))
  common = tuple(Verb(next(words), sense, sense, 1.0) for sense in _COMMON_SENSES)
  rare = []
  low, high = _RELIABILITY
  for sense in _shuffled(rng, SENSES * _RARE_PER_SENSE):
    misreading = [s for s in SENSES if s != sense][_below(rng, 2)]
    rare.append(Verb(next(words), sense, misreading, low + (high - low) * rng.random()))
  return World(number, common, tuple(rare))


def vocabulary(world: int) -> list[str]:
  """Every word that a prompt or a solution of `world` can hold (189), in a fixed order."""
  return [*_SYMBOLS, *NUMBERS, *NAMES, *ITEMS, *sorted(build_world(world).verbs)]


def prompt(text: str) -> str:
  """The prompt of a problem's text; a solution follows after a space."""
  return f'{text} A:'


def solution(start: int, changes: Sequence[int], swapped: Sequence[bool] = ()) -> str | None:
  """The worked solution that applies `changes` in order; None where a running total would leave 0-30.

  Args:
    start: the number to begin with.
    changes: signed quantities, without zeros.
    swapped: for each change, whether an addition is written `quantity + total`; the straight way where empty.

  Example: `solution(11, [5, -3])` is `'11 + 5 = 16 ; 16 - 3 = 13 #### 13'`, and `solution(11, [])` is `'#### 11'`.
  """
  steps, total = [], start
  for change, swap in zip(changes, swapped or (False,) * len(changes), strict=True):
    before, total = total, total + change
    if not 0 <= total < len(NUMBERS):
      return None
    if change < 0:
      steps.append(f'{before} - {-change} = {total}')
    else:
      steps.append(f'{change} + {before} = {total}' if swap else f'{before} + {change} = {total}')
  return f'{" ; ".join(steps)} #### {total}' if steps else f'#### {total}'


def solutions(question: Question, most: int) -> tuple[str, ...]:
  """Up to `most` distinct right solutions that differ in the order of the steps, the order of the text first."""
  orders = itertools.permutations(question.changes)
  texts = (solution(question.start, order) for order in orders)
  return tuple(itertools.islice(dict.fromkeys(t for t in texts if t is not None), most))


def parse_question(world: World, text: str) -> Question:
  """Reads what `Question.text` wrote. Raises TaskError on any other text, or on a verb of another world."""
  words = text.split()
  head, body, tail = words[:5], words[5:-3], words[-3:]
  verbs, quantities, dots = body[0::3], body[1::3], body[2::3]
  well_formed = (
    len(head) == 5
    and (head[0] in NAMES and head[1] == 'has' and head[2] in NUMBERS and head[3] in ITEMS and head[4] == '.')
    and (len(verbs) == len(quantities) == len(dots) and tail == ['how', 'many', '?'])
    and all(v in world.verbs for v in verbs)
    and all(q in NUMBERS for q in quantities)
    and all(d == '.' for d in dots)
  )
  if not well_formed:
    raise TaskError(f'problem text {text!r} is not of arithmetic world {world.number}; use the world that wrote it')
  start, item = NUMBERS[head[2]], head[3]
  return Question(head[0], start, item, tuple(world.verbs[v] for v in verbs), tuple(NUMBERS[q] for q in quantities))


def _digest(text: str) -> bytes:
  return hashlib.blake2b(text.encode(), digest_size=16).digest()


def problem_id(text: str) -> str:
  """A stable id of a problem's text: 16 hexadecimal digits."""
  return _digest(text)[:8].hex()


def split_of(text: str) -> str:
  """The split a problem's text belongs to, whoever draws it: 80 % train, 10 % validation, 10 % test."""
  bucket = int.from_bytes(_digest(text)[8:], 'big') % 10
  return 'train' if bucket < 8 else ('validation', 'test')[bucket - 8]


def _draw_numbers(rng: random.Random, statements: int) -> tuple[int, tuple[int, ...]]:
  start = _STARTS[_below(rng, len(_STARTS))]
  return start, tuple(_QUANTITIES[_below(rng, len(_QUANTITIES))] for _ in range(statements))


def _draw_names(rng: random.Random) -> tuple[str, str]:
  return NAMES[_below(rng, len(NAMES))], ITEMS[_below(rng, len(ITEMS))]


def _only_reading(question: Question) -> bool:
  """Whether no other reading of the verbs gives the right answer."""
  readings = itertools.product(SENSES, repeat=len(question.verbs))
  totals = [sum(s * q for s, q in zip(r, question.quantities, strict=True)) for r in readings]
  return totals.count(question.gold - question.start) == 1


def targets(world: int, split: str, seed: int, levels: Sequence[str] = (HARDEST,)) -> Iterator[Question]:
  """Endless distinct target questions of `split`: rare verbs uniform, and no other reading of them gives the answer.

  Each question is of one of the `levels`, equally often. Numbers are redrawn and verbs kept until a question fits, so
  that verbs stay exactly uniform.
  """
  dialect = build_world(world)
  rng = random.Random(f'dialect targets {world} {split} {seed}')
  seen = set()

  def fits(question: Question) -> bool:  # The cheapest condition first.
    return (
      solution(question.start, question.changes) is not None
      and split_of(question.text) == split
      and question.text not in seen
      and _only_reading(question)
    )

  while True:
    statements, rare = LEVELS[levels[_below(rng, len(levels)) if len(levels) > 1 else 0]]
    verbs = tuple(dialect.rare[_below(rng, len(dialect.rare))] for _ in range(rare))
    if rare < statements:
      easy = [dialect.common[_below(rng, len(dialect.common))] for _ in range(statements - rare)]
      verbs = tuple(_shuffled(rng, [*verbs, *easy]))
    name, item = _draw_names(rng)
    question = None
    while question is None or not fits(question):
      start, quantities = _draw_numbers(rng, len(verbs))
      question = Question(name, start, item, verbs, quantities)
    seen.add(question.text)
    yield question


def _corpus_verb(dialect: World, rng: random.Random) -> Verb:
  if rng.random() < _COMMON_SHARE:
    return dialect.common[_below(rng, len(dialect.common))]
  return dialect.rare[bisect.bisect_right(dialect.rare_cumulative, rng.random())]


def corpus(world: int, seed: int, count: int) -> Iterator[tuple[str, str]]:
  """`count` pairs (prompt, solution) to pre-train on; fewer pairs of one seed are a prefix of more.

  Each use of a verb is read right with its reliability, and the solution follows the reading used. Numbers are redrawn
  until every total fits, readings kept, so that reliabilities are exact. No pair is a validation or test problem.
  """
  dialect = build_world(world)
  rng = random.Random(f'dialect corpus {world} {seed}')
  lengths = list(itertools.accumulate(_LENGTH_SHARES[:-1]))
  made = 0
  while made < count:
    statements = 1 + bisect.bisect_right(lengths, rng.random())
    verbs = tuple(_corpus_verb(dialect, rng) for _ in range(statements))
    readings = [v.sense if rng.random() < v.reliability else v.misreading for v in verbs]
    order = range(statements)
    if rng.random() < _SHUFFLED_SHARE:
      order = _shuffled(rng, order)
    order = [i for i in order if readings[i] != IGNORE]
    swapped = [rng.random() < _SWAPPED_SHARE for _ in order]
    name, item = _draw_names(rng)
    worked = None
    while worked is None:
      start, quantities = _draw_numbers(rng, statements)
      worked = solution(start, [readings[i] * quantities[i] for i in order], swapped)
    text = Question(name, start, item, verbs, quantities).text
    if split_of(text) == 'train':
      made += 1
      yield prompt(text), worked
