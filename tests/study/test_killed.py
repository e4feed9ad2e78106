"""Kills at any moment, while a study grows, lose nothing that was finished."""

from __future__ import annotations

import random
import runpy
import time
from pathlib import Path

import pytest
from etils import epath

from sweb_jax import layout, records
from sweb_jax.records import Sample
from sweb_jax.study import check as check_lib

SCRIPT = Path(__file__).with_name('growing_study.py')
SIZES = runpy.run_path(str(SCRIPT))['SIZES']
KILLS = 15


def drawn(root: Path) -> list[tuple]:
  paths = sorted(p for p in root.rglob(layout.CHUNKS))
  rows = ((str(p.parent.relative_to(root)), s.problem_id, s.index) for p in paths for s in records.read(Sample, p))
  return sorted(rows)


@pytest.mark.slow
def test_kills_at_random_moments_with_growth_in_between_lose_nothing(begun, runs, tmp_path):
  rng, root = random.Random(0), tmp_path / 'workdir'
  kept: set[tuple] = set()
  for n in range(KILLS):
    (tmp_path / 'size').write_text(str(n * len(SIZES) // KILLS))
    with begun(SCRIPT, root) as process:
      time.sleep(rng.uniform(0.0, 1.5))
      process.kill()
    rows = set(drawn(root)) if root.exists() else set()
    assert kept <= rows, 'something that was drawn is gone'
    kept = rows
  with begun(SCRIPT, root) as process:
    pass
  assert process.returncode == 0
  assert len(drawn(root)) == len(set(drawn(root))), 'something was drawn twice'
  assert {f.what for f in check_lib.check(epath.Path(root))} <= {'finished'}
  runs(tmp_path / 'undisturbed', runs.tiny(**SIZES[-1], train__save_seconds=0.001))
  assert runs.tables(root) == runs.tables(tmp_path / 'undisturbed')
