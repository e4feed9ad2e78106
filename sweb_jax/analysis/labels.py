"""Reads what a person said of kept solutions on report/label.html: how many rest on wrong reasoning.

    python -m sweb_jax.analysis labels WORKDIR --labels=labels.jsonl
"""

from __future__ import annotations

import sys
from typing import Any

from absl import app, flags
from etils import epath

from sweb_jax import records
from sweb_jax.analysis import label_page, tables
from sweb_jax.analysis.intervals import Estimate, wilson
from sweb_jax.analysis.study import AnalysisError, Study, read_study
from sweb_jax.analysis.table import Table

LABELS = ('right', 'wrong', 'unsure')
Key = tuple[str, int, str, int]
"""Generator, question set, problem id, index."""

_FIELDS = {'generator': str, 'question_set': int, 'problem_id': str, 'index': int, 'label': str}

_LABELS = flags.DEFINE_string('labels', None, 'Of the command labels: the file that report/label.html saved.')


def main(argv: list[str]) -> None:
  """`argv`: the command's name and a workdir; the labels come from --labels."""
  if len(argv) != 2 or not _LABELS.value:
    raise app.UsageError('give labels WORKDIR --labels=FILE')
  try:
    table = label_table(argv[1], _LABELS.value)
  except (AnalysisError, records.RecordError) as e:
    print(f'Error: {e}', file=sys.stderr)
    sys.exit(1)
  headers, rows = table.readable()
  widths = [max(map(len, column)) for column in zip(headers, *rows, strict=True)]
  for row in (headers, *rows):
    print('  '.join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())
  print(table.note)


def label_table(workdir: epath.PathLike, labels: epath.PathLike) -> Table:
  """The false positive rate by generator as a person sees it, and how often the task's checker says the same.

  Raises AnalysisError or RecordError, which name the line at fault: not a label, a solution that this workdir has not
  kept, or one that is labelled twice.
  """
  root, path = epath.Path(workdir), epath.Path(labels)
  study = read_study(root)
  found: dict[Key, str] = {}
  lines: dict[Key, str] = {}
  for number, row in records.read_json_lines(path):
    key, label = _read(row, study, where := f'{path}, line {number}')
    if key in found:
      raise AnalysisError(f'{where}: the solution was labelled on an earlier line too; keep one of the two')
    found[key], lines[key] = label, where
  if not found:
    raise AnalysisError(f'{path}: no label in it; label some solutions on report/label.html and save them')
  valid = _opinions(root, found)
  for key, where in lines.items():
    if key not in valid:
      raise AnalysisError(f'{where}: {root} has no correct solution {key}; give the workdir that the page belongs to')
  rows = []
  for g in (g for g in study.generators if any(key[0] == g for key in found)):
    mine = {key: label for key, label in found.items() if key[0] == g}
    right, wrong, unsure = (sum(label == name for label in mine.values()) for name in LABELS)
    same = [(label == 'right') == valid[k] for k, label in mine.items() if label != 'unsure' and valid[k] is not None]
    rates = [_rate(wrong, right + wrong), _rate(sum(same), len(same))]
    rows.append((g, len(mine), right, wrong, unsure, *tables.cells(rates), len(same)))
  return Table(
    'labels',
    'What a person says of the reasoning',
    ('generator', 'labelled', *LABELS, *tables.with_bounds(['FPR', 'agreement']), 'checked'),
    tuple(rows),
    "FPR: wrong / (right + wrong) among the labelled solutions, whose answer is right. agreement: share of the checked "
    "ones on which the task's own checker says the same; checked: labelled right or wrong, and the checker can tell. "
    "Intervals: 95 %, Wilson's.",
  )


def _read(row: dict[str, Any], study: Study, where: str) -> tuple[Key, str]:
  """The solution a row is about, and its label."""
  for field, kind in _FIELDS.items():
    if type(row.get(field)) is not kind:
      raise AnalysisError(f'{where}: {field} is {row.get(field)!r}; expected what report/label.html saves')
  if row['label'] not in LABELS:
    raise AnalysisError(f'{where}: label is {row["label"]!r}; labels are {", ".join(LABELS)}')
  if row['generator'] not in study.generators:
    raise AnalysisError(f'{where}: generator {row["generator"]!r}; this study has {", ".join(study.generators)}')
  return (row['generator'], row['question_set'], row['problem_id'], row['index']), row['label']


def _opinions(root: epath.Path, keys: dict[Key, str]) -> dict[Key, bool | None]:
  """The checker's opinion of those of `keys` that are correct solutions."""
  found = {}
  for g, s in sorted({(g, s) for g, s, _, _ in keys}):
    for v in label_page.verdicts(root, s, g).values():
      if v.correct and (key := (g, s, v.problem_id, v.index)) in keys:
        found[key] = v.valid
  return found


def _rate(count: int, n: int) -> Estimate | None:
  return Estimate(count / n, wilson(count, n), n) if n else None


if __name__ == '__main__':
  app.run(main)
