"""A ledger that is killed again and again charges what an undisturbed run is charged, each token once."""

from __future__ import annotations

import collections
import json
import pathlib
import random
import time

import pytest

from sweb_jax import budget, layout, records
from sweb_jax.records import Sample

SCRIPT = pathlib.Path(__file__).with_name('spend_by_policy.py')
KILLS = 10


def charged(workdir: pathlib.Path) -> dict[tuple[str, str, str], int]:
  """Tokens by job, model and kind."""
  tokens = collections.Counter()
  for e in budget.read(workdir):
    for kind, n in e.tokens.items():
      tokens[e.job, e.model, kind] += n
  return dict(tokens)


def stored(workdir: pathlib.Path) -> int:
  """Tokens of all samples in chunks."""
  return sum(len(s.tokens) for p in workdir.rglob(layout.CHUNKS) for s in records.read(Sample, p))


@pytest.mark.slow
def test_a_run_killed_at_random_moments_is_charged_what_an_undisturbed_one_is(begun, tmp_path):
  with begun(SCRIPT, tmp_path / 'whole') as process:
    pass
  assert process.returncode == 0
  whole, folder = charged(tmp_path / 'whole'), tmp_path / 'killed'
  assert {job for job, _, _ in whole} == {
    layout.samples(0, 'se'), layout.samples(0, 'wc'),
    f'{layout.allocation(0, "until_solved_high")}/wc', f'{layout.allocation(0, "wc_high")}/wc',
  }  # fmt: skip
  draw = random.Random(3)
  for _ in range(KILLS):
    with begun(SCRIPT, folder) as process:
      goal = len(list(folder.glob('**/*.jsonl'))) + draw.choice([0, 1, 2, 4])
      while len(list(folder.glob('**/*.jsonl'))) < goal and process.poll() is None:
        time.sleep(0.005)
      time.sleep(draw.uniform(0.0, 0.05))
      process.kill()
    # At any moment: every stored token is charged, once, line or no line.
    drawn = sum(n for (_, _, kind), n in charged(folder).items() if kind == 'completion')
    assert drawn == stored(folder)
  with begun(SCRIPT, folder) as process:
    pass
  assert process.returncode == 0
  assert charged(folder) == whole
  name = f'{layout.allocation(0, "until_solved_high")}/{layout.ALLOCATION}'
  assert json.loads((folder / name).read_text()) == json.loads((tmp_path / 'whole' / name).read_text())
