"""Samples on which the grader failed are counted, and named in the report."""

from __future__ import annotations

import dataclasses

from sweb_jax import layout, records
from sweb_jax.analysis import read, write
from sweb_jax.records import UNGRADED, Verdict


def test_a_sample_that_could_not_be_graded_is_counted_where_it_was_drawn(make_workdir):
  root = make_workdir()
  assert read(root).nothing == ()
  path = next((root / layout.verdicts(0, 'wc')).glob(layout.VERDICTS))
  first, *rest = records.read(Verdict, path)
  failed = dataclasses.replace(first, correct=False, answer=None, vote=None, reason=f'{UNGRADED}: ValueError: no')
  path.write_text(records.dumps([failed, *rest]))
  (line,) = read(root).nothing
  assert line.startswith('1 of 16 samples of training problems could not be graded and count as wrong')
  write(root)
  assert line in (root / layout.INDEX).read_text()
