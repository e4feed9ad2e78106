"""A workdir is held against its checksums, and exactly what is damaged is made again."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from etils import epath
from rich.console import Console

from sweb_jax import budget, layout, records
from sweb_jax.records import RecordError, Sample
from sweb_jax.study import __main__ as command
from sweb_jax.study import check as check_lib

SAMPLES = layout.samples(0, 'wc')
CHUNK = f'{SAMPLES}/{layout.numbered(layout.CHUNKS, 0)}'
MODEL = layout.model(0, 'wc', 'wc_low')


def findings(root: Path) -> dict[str, str]:
  """File or folder -> what is said of it, of all that is not as it should be."""
  found = check_lib.check(epath.Path(root))
  return {'/'.join(filter(None, (f.folder, f.file))): f.what for f in found if f.what != 'finished'}


def flip(path: Path) -> None:
  data = bytearray(path.read_bytes())
  data[len(data) // 2] ^= 1
  path.write_bytes(bytes(data))


def lose(path: Path) -> None:
  path.unlink()


def cut(path: Path) -> None:
  path.write_bytes(path.read_bytes()[:-40])


DAMAGE = {
  'a flipped byte in a chunk': (flip, CHUNK, 'changed'),
  'a lost chunk': (lose, CHUNK, 'lost'),
  'a torn chunk': (cut, CHUNK, 'torn'),
  'lost problems': (lose, f'{layout.problems(0, "train")}/{layout.PROBLEMS}', 'lost'),
  'flipped verdicts': (flip, f'{layout.verdicts(0, "wc")}/{layout.numbered(layout.VERDICTS, 0)}', 'changed'),
  'torn examples': (cut, f'{layout.examples(0, "wc_low")}/{layout.EXAMPLES}', 'torn'),
  'a lost selection': (lose, f'{MODEL}/{layout.SELECTION}', 'lost'),
  'a torn result': (cut, f'{MODEL}/{layout.rate(2.5e-3)}/{layout.RESULT}', 'torn'),
  'a torn table': (cut, f'{layout.TABLES}/data.json', 'torn'),
}


@pytest.mark.slow
@pytest.mark.parametrize('name', DAMAGE)
def test_a_damage_is_named_and_exactly_it_is_mended(runs, done, copy, name):
  harm, file, what = DAMAGE[name]
  harm(copy / file)
  assert findings(copy) == {file: what}
  assert command.check(epath.Path(copy), Console(quiet=True), repair=False) == 1
  before = runs.listing(copy)
  assert command.check(epath.Path(copy), Console(quiet=True), repair=True) == 0
  assert findings(copy) == {}
  folder = next(f for f in map(str, Path(file).parents) if (copy / f / layout.MANIFEST).exists())
  after = runs.listing(copy)
  assert {n for n in before if after.get(n) != before[n]} <= {n for n in before if n.startswith(f'{folder}/')}
  assert rows(copy) == rows(done)
  assert runs.tables(copy) == runs.tables(done)
  runs(copy, runs.tiny())
  assert findings(copy) == {}


@pytest.mark.slow
def test_the_rows_of_a_lost_chunk_are_drawn_again_and_both_are_charged(runs, done, copy):
  before = sum(sum(e.tokens.values()) for e in budget.read(copy) if e.job == SAMPLES)
  lost = sum(len(s.tokens) for s in records.read(Sample, copy / CHUNK))
  assert lost
  (copy / CHUNK).unlink()
  command.check(epath.Path(copy), Console(quiet=True), repair=True)
  entries = [e for e in budget.read(copy) if e.job == SAMPLES]
  again = sum(sum(e.tokens.values()) for e in entries)
  assert again >= before + lost  # The prompts are read again too.
  assert rows(copy) == rows(done)


@pytest.mark.slow
def test_a_damaged_model_is_trained_again_to_the_same_parameters(runs, done, copy):
  best = copy / MODEL / layout.rate(2.5e-3) / layout.BEST
  victim = max((p for p in best.rglob('*') if p.is_file()), key=lambda p: p.stat().st_size)
  flip(victim)
  assert list(findings(copy).values()) == ['changed']
  assert command.check(epath.Path(copy), Console(quiet=True), repair=True) == 0
  config = runs.tiny(task__test=14)
  runs(copy, config)  # Draws from it.
  said = json.loads((copy / MODEL / layout.SELECTION).read_text())
  then = json.loads((done / MODEL / layout.SELECTION).read_text())
  assert [v['accuracy'] for v in said['validation']] == [v['accuracy'] for v in then['validation']]
  assert list((copy / layout.SUPERSEDED).rglob(victim.name))


@pytest.mark.slow
def test_a_file_that_is_damaged_twice_is_kept_twice(copy):
  victim = copy / layout.problems(0, 'test') / layout.PROBLEMS
  whole = victim.read_bytes()
  for _ in range(2):
    flip(victim)
    assert command.check(epath.Path(copy), Console(quiet=True), repair=True) == 0
    assert victim.read_bytes() == whole
  kept = list((copy / layout.SUPERSEDED).rglob(f'{layout.PROBLEMS}*'))
  assert len(kept) == 2 and all(path.read_bytes() != whole for path in kept)


@pytest.mark.slow
def test_files_of_unknown_origin_are_named_and_left_alone(copy):
  for name in ('notes.txt', f'{SAMPLES}/notes.txt', 'samples/set0/mine/a.jsonl'):
    (copy / name).parent.mkdir(parents=True, exist_ok=True)
    (copy / name).write_text('mine')
  (copy / layout.LABELS).write_text('')  # A person's, of no step.
  assert findings(copy) == dict.fromkeys(('notes.txt', f'{SAMPLES}/notes.txt', 'samples/set0/mine/a.jsonl'), 'unknown')
  assert command.check(epath.Path(copy), Console(quiet=True), repair=True) == 0
  assert (copy / 'notes.txt').read_text() == (copy / f'{SAMPLES}/notes.txt').read_text() == 'mine'


@pytest.mark.slow
def test_what_is_not_done_yet_is_no_damage(runs, copy, tmp_path):
  runs(tmp_path / 'part', runs.tiny(), ('plan', 'sample'))
  said = set(findings(tmp_path / 'part').values())
  assert said == {'missing'}
  runs(copy, runs.tiny(task__test=14), ('plan',))
  assert findings(copy)[layout.scores(layout.TEST, 0, 'wc', 'base')] == 'to be grown'


@pytest.mark.slow
def test_a_run_that_meets_a_torn_chunk_says_how_to_mend_it_and_that_works(runs, done, copy):
  path = copy / CHUNK
  path.write_bytes(path.read_bytes()[:-40])
  grown = runs.tiny(budgets={'low': {'se': 1}, 'high': {'se': 2}})
  with pytest.raises(RecordError, match=r'study check .* --repair'):
    runs(copy, grown)
  command.check(epath.Path(copy), Console(quiet=True), repair=True)
  runs(copy, grown)
  assert findings(copy) == {}


def rows(root: Path) -> set[tuple]:
  paths = (root / SAMPLES).glob(layout.CHUNKS)
  return {(s.problem_id, s.index, s.text) for p in paths for s in records.read(Sample, p)}
