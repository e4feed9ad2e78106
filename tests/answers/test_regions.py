"""A set of reals means the same numbers in every notation: against membership of points, which needs no intervals."""

import itertools
import random
from fractions import Fraction

import pytest

from sweb_jax.answers import regions, structure
from sweb_jax.answers.math_equal import equal

POINTS = [Fraction(n, 2) for n in range(-9, 10)]


def random_set(rng: random.Random, depth: int):
  """(text, membership) of a set in a random notation."""
  simple, joined = ('interval', 'points', 'ray', 'set', 'hole'), (r'\cup', r'\cap', r'\setminus')
  kind = rng.choice(joined if depth and rng.random() < 0.7 else simple)
  a, b = sorted(rng.sample(range(-4, 5), 2))
  left, right = rng.choice('(['), rng.choice(')]')

  def inside(x):
    return (a < x or (left == '[' and x == a)) and (x < b or (right == ']' and x == b))

  if kind == 'interval':
    return f'{left}{a},{b}{right}', inside
  if kind == 'set':
    signs = {'(': '<', '[': r'\le', ')': '<', ']': r'\le'}
    return rf'\{{x \mid {a} {signs[left]} x {signs[right]} {b}\}}', inside
  if kind == 'ray':
    return rf'({a},\infty)', lambda x: x > a
  if kind == 'points':
    return rf'\{{{a},{b}\}}', lambda x: x in (a, b)
  if kind == 'hole':
    return rf'\{{x \in \mathbb{{R}} : x \neq {a}\}}', lambda x: x != a
  (one, in_one), (other, in_other) = (random_set(rng, depth - 1) for _ in range(2))
  member = {
    r'\cup': lambda x: in_one(x) or in_other(x),
    r'\cap': lambda x: in_one(x) and in_other(x),
    r'\setminus': lambda x: in_one(x) and not in_other(x),
  }[kind]
  return f'{one} {kind} {other}', member


def holds(region: regions.Region, x: Fraction) -> bool:
  """Whether x is in one of the pieces."""
  for piece in region.pieces:
    low, high = (complex(end.values[0]).real for end in (piece.low, piece.high))
    if (low < x or (piece.low_closed and low == x)) and (x < high or (piece.high_closed and x == high)):
      return True
  return False


def test_random_sets_hold_the_points_that_their_parts_say():
  rng = random.Random(0)
  sets = [random_set(rng, 1) for _ in range(300)]
  for text, member in sets:
    found = regions.region(structure.read(text, True, 3.14))
    assert found is not None, text
    assert [holds(found, x) for x in POINTS] == [member(x) for x in POINTS], text


def test_random_sets_are_equal_where_they_hold_the_same_points():
  rng = random.Random(1)
  sets = [(t, tuple(map(m, POINTS))) for t, m in (random_set(rng, 1) for _ in range(60)) if 'cup' in t or 'infty' in t]
  assert len(sets) > 10
  seen = {True: 0, False: 0}
  # Ends are whole numbers, so that points at every half tell two sets from each other within the range of the points.
  for (one, in_one), (other, in_other) in itertools.combinations_with_replacement(sets, 2):
    assert equal(one, other) == (in_one == in_other), (one, other)
    seen[in_one == in_other] += 1
  assert all(seen.values())


@pytest.mark.parametrize(
  ('text', 'is_one'),
  [('(1,2)', False), ('[1,2)', True), ('x = 1', False), ('x > 1', True), ('1,2', False), (r'(1,\infty)', True)],
)
def test_what_may_be_a_point_or_a_list_is_not_taken_for_a_set_of_reals(text, is_one):
  assert regions.is_region(structure.read(text, True, 3.14)) == is_one
