"""The report as one HTML page that asks for nothing outside itself: readable on a phone, printable, no scripts."""

from __future__ import annotations

import html
import importlib.metadata
import json
import platform
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from etils import epath

from sweb_jax import layout
from sweb_jax.analysis import effort, figures, label_page, plots
from sweb_jax.analysis.figures import Figure
from sweb_jax.analysis.results import Excerpt, Results
from sweb_jax.analysis.table import Table
from sweb_jax.records import Problem, Sample, Verdict
from sweb_jax.runtime import files

PACKAGES = ('sweb_jax', 'jax', 'jaxlib', 'numpy', 'scipy', 'gemma', 'optax', 'matplotlib')
MADE_WORLD = (
  'The problems of this study come from a made world: it demonstrates a mechanism and is no evidence about real models.'
)


def write(
  workdir: epath.PathLike, results: Results, built: Sequence[Table], answer: str, prompt: Callable[[Problem], str]
) -> None:
  """Writes report/index.html, report/label.html and every figure as report/figures/NAME.{svg,csv}.

  `prompt` renders a problem as the learner sees it.
  """
  root = epath.Path(workdir)
  drawn = figures.build(results, built)
  page = render(results, built, drawn, answer, prompt, effort.seconds(root, results.study))
  label = label_page.choose(root, results.study, results.config.get('seed', 0))
  folder, names = root / layout.FIGURES, {figure.table.name for figure in drawn}
  for old in folder.glob('*') if folder.exists() else ():
    if old.stem not in names:
      old.unlink()  # Of an earlier report, which had something to draw there.
  for figure in drawn:
    files.write_text(folder / f'{figure.table.name}.svg', figure.svg)
    files.write_text(folder / f'{figure.table.name}.csv', figure.table.csv())
  files.write_text(root / layout.LABEL, label_page.render(label, results.study.name))
  files.write_text(root / layout.INDEX, page)


def render(
  results: Results,
  built: Sequence[Table],
  drawn: Sequence[Figure],
  answer: str,
  prompt: Callable[[Problem], str],
  time: Table,
) -> str:
  """The HTML page: the answer, what is missing, figures, tables, prompts with samples, how it was made."""
  study, missing = results.study, results.missing
  ahead = headline(built)
  sections = ['figures', 'tables', 'samples', 'made']
  return ''.join([
    HEAD.replace('{title}', _e(study.name)),
    f'<h1>{_e(study.name)}</h1>\n',
    f'<p class="answer">{_e(ahead)}</p>\n<p>{_e(answer)}</p>\n' if ahead else f'<p class="answer">{_e(answer)}</p>\n',
    _missing(missing) if missing else '',
    _nothing(results.nothing) if results.nothing else '',
    f'<p>{_e(MADE_WORLD)}</p>\n' if study.made_world else '',
    f'<p class="nav">{" · ".join(f"""<a href="#{name}">{name}</a>""" for name in sections)} · '
    '<a href="label.html">label solutions</a></p>\n',
    '<h2 id="figures">Figures</h2>\n',
    '' if drawn else '<p>There is nothing to draw yet.</p>\n',
    '<div class="plots">\n',
    *map(_figure, drawn),
    '</div>\n<h2 id="tables">Tables</h2>\n<p>Each is also in <code>tables/</code> as CSV and JSON.</p>\n',
    *map(_table, built),
    '<h2 id="samples">Problems and samples</h2>\n',
    '<p>The first problems of the first question set and the first samples of each generator, not chosen. '
    '<a href="label.html">label.html</a> shows kept samples of all problems, to judge their reasoning.</p>\n',
    *(_excerpt(excerpt, prompt) for excerpt in results.excerpts),
    '<h2 id="made">How it was made</h2>\n',
    _table(time) if time.rows else '',
    ''.join(f'<p>{_e(line)}</p>\n' for line in study.elsewhere),
    _definitions('Seeds', {**dict(_seeds(results.config)), 'bootstrap': '0'}),
    _definitions('Versions', {'python': platform.python_version(), **{name: _version(name) for name in PACKAGES}}),
    f'<h3>config.json</h3>\n<pre>{_e(json.dumps(results.config, indent=1, ensure_ascii=False))}</pre>\n',
    '</body>\n</html>\n',
  ])


def headline(built: Sequence[Table]) -> str:
  """Which side's data is ahead by the mean, in how many cells (a budget and a learner), and how many are decided.

  A sentence for each way of matching in which two sides meet; '' where there is none.
  """
  table = next((t for t in built if t.name == 'differences'), None)
  rows = [dict(zip(table.columns, row, strict=True)) for row in table.rows] if table else []
  sentences = []
  for matched in dict.fromkeys(row['matched'] for row in rows):
    cells = [row for row in rows if row['matched'] == matched and row['difference'] is not None]
    sides = list(dict.fromkeys((row['side A'], row['side B']) for row in cells))
    if len(sides) != 1:
      continue
    ahead = Counter(row['side A'] if row['difference'] > 0 else row['side B'] for row in cells if row['difference'])
    decided = Counter(row['verdict'] for row in cells)
    a, b = sides[0]
    sentences.append(
      f'{f"{matched}-matched: ".capitalize() if matched else ""}{a} data is ahead in {ahead[a]} of {len(cells)} cells '
      f'({decided[a]} decided at 95 %), {b} data in {ahead[b]} ({decided[b]} decided).'
    )
  return ' '.join(sentences)


def _missing(lines: Sequence[str]) -> str:
  items = ''.join(f'<li>{_e(line)}</li>' for line in lines)
  return f'<div class="missing"><p><b>This study is not finished.</b> Not there yet:</p><ul>{items}</ul></div>\n'


def _nothing(lines: Sequence[str]) -> str:
  items = ''.join(f'<li>{_e(line)}</li>' for line in lines)
  return f'<div class="missing"><p><b>Without a result.</b></p><ul>{items}</ul></div>\n'


def _figure(figure: Figure) -> str:
  table, beside = figure.table, ''
  if figure.beside:
    beside = _cells(figure.beside) + f'<p class="note">{_e(figure.beside.note)}</p>'
  return (
    f'<figure><h3>{_e(table.title)}</h3>\n{plots.inline(figure.svg)}<figcaption>{_e(table.note)} '
    f'<a href="figures/{table.name}.csv">CSV</a> <a href="figures/{table.name}.svg">SVG</a></figcaption>\n{beside}'
    '</figure>\n'
  )


def _table(table: Table) -> str:
  return (
    f'<h3 id="{table.name}">{_e(table.title)}</h3>\n{_cells(table)}<p class="note">{_e(table.note)}</p>\n'
  )


def _cells(table: Table) -> str:
  headers, rows = table.readable()
  head = ''.join(f'<th>{_e(h)}</th>' for h in headers)
  body = '\n'.join(f'<tr>{"".join(f"<td>{_e(cell)}</td>" for cell in row)}</tr>' for row in rows)
  return (
    f'<div class="wide"><table>\n<thead><tr>{head}</tr></thead>\n<tbody>\n{body}\n</tbody></table></div>\n'
  )


def _excerpt(excerpt: Excerpt, prompt: Callable[[Problem], str]) -> str:
  problem = excerpt.problem
  gold = f'\n{problem.solutions[0]}' if problem.solutions else ''
  parts = [
    f'<section><h3>Problem {_e(problem.id)}</h3>\n<pre>{_e(prompt(problem))}</pre>\n',
    f'<p>Right answer: <b>{_e(problem.gold)}</b></p>{f"<pre>{_e(gold.strip())}</pre>" if gold else ""}\n',
  ]
  for generator, pairs in excerpt.samples.items():
    parts += [_sample(generator, sample, verdict) for sample, verdict in pairs]
  return ''.join([*parts, '</section>\n'])


def _sample(generator: str, sample: Sample, verdict: Verdict) -> str:
  mark = 'right' if verdict.correct else 'wrong'
  reasoning = {True: ', reasoning valid', False: ', reasoning wrong', None: ''}[verdict.valid]
  reply = 'no answer' if verdict.answer is None else f'answer {verdict.answer}'
  reply += ', math-verify differs' if verdict.second_reason == 'differs' else ''
  return (
    f'<p class="{mark}"><b>{_e(generator)}</b> sample {sample.index}: {_e(verdict.reason)} ({_e(reply)}{reasoning}, '
    f'{len(sample.tokens)} tokens)</p>\n<pre>{_e(sample.text)}</pre>\n'
  )


def _definitions(title: str, items: dict[str, str]) -> str:
  rows = ''.join(f'<tr><td>{_e(k)}</td><td>{_e(v)}</td></tr>' for k, v in items.items())
  return f'<h3>{_e(title)}</h3>\n<table><tbody>{rows}</tbody></table>\n'


def _seeds(config: Any, path: str = 'config') -> Iterator[tuple[str, str]]:
  """Every field of the config whose name holds 'seed'."""
  for key, value in config.items():
    if isinstance(value, dict):
      yield from _seeds(value, f'{path}.{key}')
    elif 'seed' in key:
      yield f'{path}.{key}', str(value)


def _version(package: str) -> str:
  try:
    return importlib.metadata.version(package)
  except importlib.metadata.PackageNotFoundError:
    return 'not installed'


def _e(text: str) -> str:
  return html.escape(text)


HEAD = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}</title>
<style>
body { font: 16px/1.5 system-ui, sans-serif; color: #222; background: #fff; max-width: 72rem; margin: auto;
  padding: 1rem; }
h1, h2, h3 { line-height: 1.2; margin: 1.6em 0 .4em; }
.answer { font-size: 1.25rem; font-weight: 600; }
.missing { border-left: 4px solid #E69F00; padding-left: .8rem; }
.nav { font-size: .95rem; }
.plots { columns: 2 26rem; column-gap: 2rem; }
figure { margin: 0 0 2.5rem; break-inside: avoid; }
figure td, figure th { white-space: normal; padding: .2rem .4rem; }
figure h3 { margin-top: 0; }
figure svg { width: 100%; height: auto; }
figcaption, .note { font-size: .85rem; color: #555; }
.wide { overflow-x: auto; }
table { border-collapse: collapse; font-size: .85rem; font-variant-numeric: tabular-nums; }
th, td { padding: .2rem .6rem; text-align: left; border-bottom: 1px solid #ddd; white-space: nowrap; }
th { border-bottom: 2px solid #888; }
pre { background: #f5f5f5; padding: .6rem; white-space: pre-wrap; overflow-wrap: anywhere; font-size: .85rem; }
p.right { border-left: 4px solid #009E73; padding-left: .5rem; }
p.wrong { border-left: 4px solid #D55E00; padding-left: .5rem; }
section { break-inside: avoid; }
@media print {
  body { max-width: none; padding: 0; font-size: 12px; }
  .plots { columns: 2; }
  figure { break-inside: auto; }
  figure svg { max-height: 20cm; break-inside: avoid; }
  h1, h2, h3 { break-after: avoid; }
  .nav { display: none; }
  .wide { overflow: visible; }
  td, th { white-space: normal; padding: .1rem .2rem; font-size: .6rem; }
}
</style>
</head>
<body>
"""
