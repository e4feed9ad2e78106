"""The card of a data set: where its rows come from, what they cost, what was left out and why, and whose terms hold."""

from __future__ import annotations

import collections
import importlib.metadata
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from etils import epath

from sweb_jax import analysis, layout, records
from sweb_jax.answers.judge import Opinion
from sweb_jax.budget import UNITS
from sweb_jax.export import formats
from sweb_jax.export.rows import PEOPLE, Data, Row
from sweb_jax.runtime import files, manifest

MARK = 'python -m sweb_jax.export'
"""Stands in every card, and tells a data set of this command from other folders."""

_DATA_SETS = {
  'arithmetic': 'made by this project; no terms of others',
  'functional_math': 'made from MATH; its repository (github.com/ConsequentAI/fneval) says what holds',
  'gsm8k': 'MIT (github.com/openai/grade-school-math)',
  'humaneval': 'MIT (github.com/openai/human-eval)',
  'math': 'MIT (github.com/hendrycks/math)',
  'mbpp': 'CC BY 4.0 (github.com/google-research/google-research, mbpp)',
  'svamp': 'MIT (github.com/arkilpatel/SVAMP)',
}
"""Task -> the terms of its problems and solutions by people, as its authors give them."""
_GEMMA = (
  'if its weights are a Gemma 1, 2 or 3, or made from one, the Gemma Terms of Use hold (ai.google.dev/gemma/terms): '
  'the drawn texts are no Model Derivative, but a model that is trained on them to perform like it is one; of other '
  'weights, their own terms'
)


def card(
  data: Data, rows: Sequence[Row], shaped: Sequence[Mapping[str, Any]], form: str, folder: epath.Path, all_samples: bool
) -> str:
  """The Markdown text; the files of the data set lie in `folder` already."""
  what = 'pairs of a right and a wrong sample' if form == 'pairs' else (
    'samples, right and wrong' if all_samples else 'examples that its models are trained on'
  )
  name, s = data.arm.name, data.question_set
  parts = [
    f'# {data.study.name}, arm {name}, question set {s}',
    f'{len(shaped):,} {what}, of {len({r["problem_id"] for r in shaped}):,} problems.'
    + (' The problems come from a made world and say nothing of real ones.' if data.study.made_world else ''),
    '## Where the rows come from',
    _table(('', ''), _sources(data, rows)),
    '## Budget',
    *_budget(data),
    '## What the arm keeps',
    *_filters(data),
    '## False positives',
    *_false_positives(data, rows),
    '## Columns',
    _COLUMNS,
    '## Terms',
    _table(('of', 'what is known'), _terms(data, rows)),
    '## Files and versions',
    _table(('file', 'bytes', 'SHA-256'), _files(folder)),
    f'Made with sweb_jax {importlib.metadata.version("sweb_jax")}, step {data.folder} of version '
    f'{data.said(data.folder).version}, by `{MARK} WORKDIR --arm={name} --set={s} --format={form}'
    + ('' if form == 'pairs' or not all_samples else ' --all_samples')
    + '`.',
  ]
  return _front(form) + '\n\n'.join(parts) + '\n'


_COLUMNS = """\
`prompt` and `completion` are the texts of training; the completion follows the prompt directly, and has the white space
that it needs for that. In `messages` they are a user's and an assistant's turn, byte for byte. `generator`,
`problem_id`, `index` and `seed` name the sample. `correct`: its final answer is right and it was not cut. `valid`:
every step is right, where the task can tell. `cut`: it ended at the length limit. `cost` is that of drawing it, without
the prompt. Of solutions by people (`generator` is 'people') these are empty. Names that begin with `chosen_` and
`rejected_` say the same of the two sides of a pair."""


def _front(form: str) -> str:
  """What `datasets.load_dataset(FOLDER)` reads."""
  if form == 'tfds':
    return ''
  path = formats.file_name(form)
  return f'---\nconfigs:\n- config_name: default\n  data_files:\n  - split: {formats.SPLIT}\n    path: {path}\n---\n\n'


def _sources(data: Data, rows: Sequence[Row]) -> Iterator[tuple[str, str]]:
  task, sampling = data.config['task'], data.config['sampling']
  levels = ', '.join(task['levels'])
  yield 'problems', f'task {task["name"]}, {len(data.problems()):,} of its split train' + (levels and f', of {levels}')
  for (generator, model), count in collections.Counter((r.generator, r.model) for r in rows).items():
    yield generator, f'{model or "solutions that come with the problems"}; {count:,} rows'
  if data.arm.budget is not None:
    asked = 'after worked examples' if sampling['few_shot'] else 'without worked examples'
    rule = f'temperature {sampling["temperature"]:g}, top k {sampling["top_k"] or "off"}, top p {sampling["top_p"]:g}'
    yield 'drawn', f'{asked}, {rule}, at most {sampling["max_new_tokens"]} tokens'
    yield 'seed', str(data.config['seed'] + data.question_set)


def _budget(data: Data) -> Iterator[str]:
  """What the arm was given, and what its samples were charged, as in the report."""
  arm, s = data.arm, data.question_set
  if arm.budget is None:
    yield 'Solutions by people cost no compute.'
    return
  given = f'policy {arm.policy}' if arm.samples is None else f'{arm.samples:.4g} samples a problem'
  yield f'Budget {arm.budget}: {given}, matched by {arm.matched}.'
  held = analysis.read(data.root).held[s, arm.name]
  drawn = ', '.join(f'{n:,} samples of {g}' for g, n in held.samples.items())
  yield f'It holds {drawn}. Charged, prompts and samples, kept or not:'
  yield _table(
    ('definition of cost', 'spent', 'unit'), [(name, f'{spent:.6g}', UNITS[name]) for name, spent in held.spent.items()]
  )


def _filters(data: Data) -> Iterator[str]:
  said = data.said(data.folder)
  rules = [(name, str(value)) for name, value in said.settings.items() if name.startswith('data.')]
  if rules:
    yield _table(('rule', 'value'), rules)
  counts = files.read_json(data.root / data.folder / layout.COUNTS)
  if counts:
    yield 'Samples that were drawn, that each rule removed, and that are left:'
    yield _table(('count', 'samples'), [(name, f'{n:,}') for name, n in counts.items()])
  if not rules and not counts:
    yield 'Everything.'


def _false_positives(data: Data, rows: Sequence[Row]) -> Iterator[str]:
  """Right answers on wrong reasoning, among the rows with a right answer."""
  right = [r for r in rows if r.correct]
  if known := [r for r in right if r.valid is not None]:
    wrong = sum(not r.valid for r in known)
    yield f'By the task itself, which checks every step: {wrong:,} of {len(known):,} rows with a right answer.'
  said = {}
  for generator in {r.generator for r in right}:
    for of in (layout.ALL, layout.KEPT):
      path = data.root / layout.opinions(data.question_set, generator, of) / layout.OPINIONS
      for o in records.read(Opinion, path) if path.exists() else ():
        said[generator, o.problem_id, o.index] = o.right
  asked = [said[key] for r in right if (key := (r.generator, r.problem_id, r.index)) in said]
  if told := [x for x in asked if x is not None]:
    judge, wrong = data.study.judge, told.count(False)
    yield f'By the judge model {judge}: {wrong:,} of {len(told):,} rows with a right answer that it was asked about.'
  if not known and not told:
    yield 'Not measured: only final answers were checked, and a right answer may stand on wrong reasoning.'


def _terms(data: Data, rows: Sequence[Row]) -> Iterator[tuple[str, str]]:
  task = data.config['task']['name']
  yield f'problems ({task})', _DATA_SETS.get(task, 'a file of your own: its terms hold')
  for model in dict.fromkeys(r.model for r in rows if r.generator != PEOPLE):
    yield model, 'made by this project; no terms of others' if model.startswith('embedded:') else _GEMMA


def _files(folder: epath.Path) -> list[tuple[str, str, str]]:
  return [
    (str(p.relative_to(folder)), f'{p.stat().length:,}', manifest.checksum(p)) for p in manifest.below(folder)
  ]


def _table(head: Sequence[str], rows: Sequence[Sequence[str]] | Iterator[Sequence[str]]) -> str:
  lines = [head, ['---'] * len(head), *rows]
  return '\n'.join('| ' + ' | '.join(str(cell).replace('|', '\\|') for cell in line) + ' |' for line in lines)
