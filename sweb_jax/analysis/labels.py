"""Takes what a person said of kept solutions on report/label.html: how many rest on wrong reasoning.

    python -m sweb_jax.analysis labels WORKDIR --labels=labels.jsonl

keeps the labels in the workdir and writes its report anew, which holds them from then on.
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterable, Mapping
from typing import Any

from etils import epath

from sweb_jax import layout, records
from sweb_jax.analysis import label_page, tables
from sweb_jax.analysis.intervals import Estimate, wilson
from sweb_jax.analysis.study import AnalysisError, Study, read_study
from sweb_jax.analysis.table import Cell, Table
from sweb_jax.runtime import files

NAME = 'labels'
LABELS = ('right', 'wrong', 'unsure')
Key = tuple[str, int, str, int]
"""Generator, question set, problem id, index."""

_FIELDS = {'generator': str, 'question_set': int, 'problem_id': str, 'index': int, 'label': str}


def keep(workdir: epath.PathLike, labels: epath.PathLike) -> str:
  """Adds a file of labels to those that the workdir keeps; returns what was done, in a sentence.

  A solution that was labelled before has the new label. Raises AnalysisError or RecordError, which name the line at
  fault: not a label, a solution that this workdir has not kept, or one that is labelled twice.
  """
  root, path = epath.Path(workdir), epath.Path(labels)
  study = read_study(root)
  new, old = _checked(root, study, path), kept(root)
  changed = sum(old.get(key, label) != label for key, label in new.items())
  rows = (dict(zip(_FIELDS, (*key, label), strict=True)) for key, label in sorted((old | new).items()))
  files.write_text(root / layout.LABELS, ''.join(json.dumps(row) + '\n' for row in rows))
  return f'{len(new)} labels taken, {changed} of them instead of another; {root / layout.LABELS} has {len(old | new)}.'


def kept(root: epath.Path) -> dict[Key, str]:
  """The labels that a workdir keeps. Raises AnalysisError or RecordError for a line that is none."""
  path = root / layout.LABELS
  return {key: label for key, label, _ in _lines(path)} if path.exists() else {}


def build(root: epath.Path, study: Study) -> list[Table]:
  """The table of the labels that the workdir keeps; none where there is none.

  Labels of solutions that are not there any more are left out, and counted in the note.
  """
  found = kept(root)
  valid = _opinions(root, found)
  there = {key: label for key, label in found.items() if key in valid}
  gone = len(found) - len(there)
  note = f' {gone} labels are of solutions that this workdir does not hold any more.' if gone else ''
  return [_table(study, there, valid, note)] if found else []


def by_arm(study: Study, labels: Mapping[Key, str]) -> list[tuple[Cell, ...]]:
  """Arm, generator, false positive rate with Wilson's interval, and how many were judged; of arms with a label.

  Every kept solution of a generator has the same chance to be chosen for the page (`label_page.choose`), so those
  among an arm's first k samples are a fair choice of the arm's.
  """
  rows = []
  for arm in study.drawn_arms:
    mine = [x for (g, _, _, i), x in labels.items() if g == arm.generator and i < arm.samples and x != 'unsure']
    if mine:
      rows.append((arm.name, arm.generator, *tables.cells([_rate(mine.count('wrong'), len(mine))]), len(mine)))
  return rows


def _table(study: Study, found: Mapping[Key, str], valid: Mapping[Key, bool | None], more: str) -> Table:
  rows = []
  for g in (g for g in study.generators if any(key[0] == g for key in found)):
    mine = {key: label for key, label in found.items() if key[0] == g}
    right, wrong, unsure = (sum(label == name for label in mine.values()) for name in LABELS)
    same = [(label == 'right') == valid[k] for k, label in mine.items() if label != 'unsure' and valid[k] is not None]
    rates = [_rate(wrong, right + wrong), _rate(sum(same), len(same))]
    rows.append((g, len(mine), right, wrong, unsure, *tables.cells(rates), len(same)))
  return Table(
    NAME,
    'What a person says of the reasoning',
    ('generator', 'labelled', *LABELS, *tables.with_bounds(['FPR', 'agreement']), 'checked'),
    tuple(rows),
    "FPR: wrong / (right + wrong) among the labelled solutions, whose answer is right. agreement: share of the checked "
    "ones on which the task's own checker says the same; checked: labelled right or wrong, and the checker can tell. "
    "Intervals: 95 %, Wilson's." + more,
  )


def _checked(root: epath.Path, study: Study, path: epath.Path) -> dict[Key, str]:
  """The labels of a file, all of solutions that the workdir holds, none twice."""
  found: dict[Key, str] = {}
  lines: dict[Key, str] = {}
  for key, label, where in _lines(path):
    if key[0] not in study.generators:
      raise AnalysisError(f'{where}: generator {key[0]!r}; this study has {", ".join(study.generators)}')
    if key in found:
      raise AnalysisError(f'{where}: the solution was labelled on an earlier line too; keep one of the two')
    found[key], lines[key] = label, where
  if not found:
    raise AnalysisError(f'{path}: no label in it; label some solutions on report/label.html and save them')
  valid = _opinions(root, found)
  for key, where in lines.items():
    if key not in valid:
      raise AnalysisError(f'{where}: {root} has no correct solution {key}; give the workdir that the page belongs to')
  return found


def _lines(path: epath.Path) -> Iterable[tuple[Key, str, str]]:
  """Yields solution, label and place of every line."""
  for number, line in records.read_lines(path, records.MAX_UNPACKED):
    where = f'{path}, line {number}'
    try:
      key, label = _read(records.json_object(line, where), where)
    except (AnalysisError, records.RecordError) as e:
      raise AnalysisError(f'{e}; delete this line, or have report/label.html save the labels again') from e
    yield key, label, where


def _read(row: dict[str, Any], where: str) -> tuple[Key, str]:
  """The solution a row is about, and its label."""
  for field, kind in _FIELDS.items():
    if type(row.get(field)) is not kind:
      raise AnalysisError(f'{where}: {field} is {row.get(field)!r}; expected what report/label.html saves')
  if row['label'] not in LABELS:
    raise AnalysisError(f'{where}: label is {row["label"]!r}; labels are {", ".join(LABELS)}')
  return (row['generator'], row['question_set'], row['problem_id'], row['index']), row['label']


def _opinions(root: epath.Path, keys: Mapping[Key, str]) -> dict[Key, bool | None]:
  """The checker's opinion of those of `keys` that are correct solutions."""
  found = {}
  for g, s in sorted({(g, s) for g, s, _, _ in keys}):
    names = {name for of, at, name, _ in keys if (of, at) == (g, s)}
    for v in itertools.chain.from_iterable(label_page.verdicts(root, s, g, names).read(sorted(names))):
      if v.correct and (key := (g, s, v.problem_id, v.index)) in keys:
        found[key] = v.valid
  return found


def _rate(count: int, n: int) -> Estimate | None:
  return Estimate(count / n, wilson(count, n), n) if n else None
