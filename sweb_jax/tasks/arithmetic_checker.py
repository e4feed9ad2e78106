"""Checks a worked solution of the dialect step by step, so that a right answer for wrong reasons is found out.

It reads the words against one fixed form and evaluates nothing.
"""

from __future__ import annotations

from collections.abc import Sequence

from sweb_jax.answers.extract import marked_integer as extract
from sweb_jax.tasks.dialect import NUMBERS

__all__ = ['extract', 'first_fault']


def first_fault(start: int, changes: Sequence[int], text: str) -> str | None:
  """What is wrong with the first wrong step of a solution, in a few words; None where every step is right.

  A right solution begins at `start`, applies each of `changes` (signed quantities) exactly once, in any order, with
  true arithmetic; the operands of + may be swapped. It ends with '#### ' and the last total. White space is free.
  Numbers outside 0-30 are no words of the world, so a solution that passes through one is faulty.
  """
  words = text.split()
  if len(words) < 2 or words[-2] != '####':
    return 'does not end with #### and a number'
  body, answer = words[:-2], words[-1]
  # A step is 5 words, and a semicolon stands between two steps: 5, 11, 17, ... words in all, or none.
  if body and (len(body) % 6 != 5 or any(w != ';' for w in body[5::6])):
    return 'not a list of steps'
  total, open_changes = start, list(changes)
  for number, i in enumerate(range(0, len(body), 6), 1):
    left, operator, right, equals, result = body[i : i + 5]
    if operator not in ('+', '-') or equals != '=' or not {left, right, result} <= NUMBERS.keys():
      return f'step {number}: not an addition or a subtraction'
    a, b, c = NUMBERS[left], NUMBERS[right], NUMBERS[result]
    if c != (a + b if operator == '+' else a - b):
      return f'step {number}: wrong arithmetic'
    if operator == '+' and a != total:
      a, b = b, a
    if a != total:
      return f'step {number}: does not continue from {total}'
    change = b if operator == '+' else -b
    if change not in open_changes:
      return f'step {number}: no such change is left'
    open_changes.remove(change)
    total = c
  if open_changes:
    return 'a change is missing'
  if answer != str(total):
    return 'the answer is not the last total'
  return None
