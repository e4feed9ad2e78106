"""The report as one HTML page that asks for nothing outside itself: readable on a phone, by night, and printable."""

from __future__ import annotations

import importlib.metadata
import json
import platform
from collections.abc import Callable, Iterator, Sequence
from html import escape as _e
from typing import Any

from etils import epath

from sweb_jax import layout
from sweb_jax.analysis import (
  browsed,
  drawing,
  effort,
  figures,
  headline,
  label_page,
  labels,
  page_tables,
  style,
  trainings,
)
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
  workdir: epath.PathLike, results: Results, built: Sequence[Table], prompt: Callable[[Problem], str]
) -> None:
  """Writes report/index.html, label.html and samples.html with its data, and every figure as figures/NAME.{svg,csv}.

  `prompt` renders a problem as the learner sees it.
  """
  root = epath.Path(workdir)
  said = labels.kept(root)
  drawn = figures.build(results, built, trainings.read(root, results), labels.by_arm(results.study, said))
  page = render(results, built, drawn, prompt, effort.seconds(root, results.study))
  label = label_page.choose(root, results.study, results.config.get('seed', 0))
  folder, names = root / layout.FIGURES, {figure.table.name for figure in drawn}
  for old in folder.glob('*') if folder.exists() else ():
    if old.stem not in names:
      old.unlink()  # Of an earlier report, which had something to draw there.
  for figure in drawn:
    files.write_text(folder / f'{figure.table.name}.svg', figure.svg)
    files.write_text(folder / f'{figure.table.name}.csv', figure.table.csv())
  files.write_text(root / layout.LABEL, label_page.render(label, results.study.name))
  browsed.write(root, results.study, prompt, said)
  files.write_text(root / layout.INDEX, page)


def render(
  results: Results,
  built: Sequence[Table],
  drawn: Sequence[Figure],
  prompt: Callable[[Problem], str],
  time: Table,
) -> str:
  """The HTML page: the answer, what is missing, figures, tables, prompts with samples, how it was made."""
  study, missing = results.study, results.missing
  links = [f'<a href="{_e(to)}">{_e(arm)}</a>' for arm, to in browsed.links(study).items()]
  browse = f' The false positives of {", ".join(links)}.' if links else ''
  sections = ['figures', 'tables', 'samples', 'made']
  return ''.join([
    style.head(study.name, STYLE + page_tables.STYLE, page_tables.SCRIPT),
    f'<h1>{_e(study.name)}</h1>\n',
    _answer(built),
    _missing(missing) if missing else '',
    _nothing(results.nothing) if results.nothing else '',
    f'<p>{_e(MADE_WORLD)}</p>\n' if study.made_world else '',
    f'<nav>{" · ".join(f"""<a href="#{name}">{name}</a>""" for name in sections)} · '
    '<a href="samples.html">browse all samples</a> · <a href="label.html">label solutions</a></nav>\n',
    '<h2 id="figures">Figures</h2>\n',
    '' if drawn else '<p>There is nothing to draw yet.</p>\n',
    '<div class="plots">\n',
    *(_figure(figure, browse) for figure in drawn),
    '</div>\n<h2 id="tables">Tables</h2>\n<p class="note">A click on the head of a column sorts by it; on a phone, '
    'a tap on its name above the rows.</p>\n',
    *(_table(table, browse=browse) for table in built),
    '<h2 id="samples">Problems and samples</h2>\n',
    '<p>The first problems of the first question set and the first samples of each generator, not chosen. '
    '<a href="label.html">label.html</a> shows kept samples of all problems, to judge their reasoning.</p>\n',
    *(_excerpt(excerpt, prompt) for excerpt in results.excerpts),
    '<h2 id="made">How it was made</h2>\n',
    _table(time, file=False) if time.rows else '',
    ''.join(f'<p>{_e(line)}</p>\n' for line in study.elsewhere),
    _definitions('Seeds', {**dict(_seeds(results.config)), 'bootstrap': '0'}),
    _definitions('Versions', {'python': platform.python_version(), **{name: _version(name) for name in PACKAGES}}),
    f'<h3>config.json</h3>\n<pre>{_e(json.dumps(results.config, indent=1, ensure_ascii=False))}</pre>\n',
    f'<script>{page_tables.SCRIPT}</script>\n</body>\n</html>\n',
  ])


def _answer(built: Sequence[Table]) -> str:
  """The comparisons at equal cost, one under the other; all others folded away."""
  first, others = headline.sentences(built)
  if not first:
    first, others = others, []
  items = ''.join(f'<li>{_e(line)}</li>' for line in others)
  rest = f'<details><summary>Other comparisons: {len(others)}</summary><ul>{items}</ul></details>\n' if others else ''
  return ''.join(map(_sentence, first)) + rest


def _sentence(line: str) -> str:
  said, average, rest = line.partition(headline.AVERAGE)
  return f'<p class="answer"><b>{_e(said)}</b>{_e(average + rest)}</p>\n'


def _missing(lines: Sequence[str]) -> str:
  items = ''.join(f'<li>{_e(line)}</li>' for line in lines)
  return f'<div class="missing"><p><b>This study is not finished.</b> Not there yet:</p><ul>{items}</ul></div>\n'


def _nothing(lines: Sequence[str]) -> str:
  items = ''.join(f'<li>{_e(line)}</li>' for line in lines)
  return f'<div class="missing"><p><b>Without a result.</b></p><ul>{items}</ul></div>\n'


def _figure(figure: Figure, browse: str) -> str:
  table, beside = figure.table, ''
  if figure.beside:
    beside = page_tables.table_html(figure.beside) + f'<p class="note">{_e(figure.beside.note)}</p>'
  return (
    f'<figure><h3>{_e(table.title)}</h3>\n{drawing.inline(figure.svg)}<figcaption>{_e(table.note)} '
    f'<a href="figures/{table.name}.csv">CSV</a> <a href="figures/{table.name}.svg">SVG</a>'
    f'{browse if table.name == "false_positives" else ""}</figcaption>\n{beside}'
    '</figure>\n'
  )


def _table(table: Table, file: bool = True, browse: str = '') -> str:
  csv = f'<a href="tables/{table.name}.csv">CSV</a>' if file else ''
  return (
    f'<details open id="{table.name}"><summary><h3>{_e(table.title)}</h3></summary>\n{page_tables.table_html(table)}'
    f'<p class="note">{_e(table.note)} {csv}{browse if table.name == "data" else ""}</p></details>\n'
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
  rows = ''.join(f'<dt>{_e(k)}</dt><dd>{_e(v)}</dd>' for k, v in items.items())
  return f'<h3>{_e(title)}</h3>\n<dl>{rows}</dl>\n'


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


STYLE = """
.answer { font-size: 1.1rem; }
.answer b { font-size: 1.2rem; }
.missing { border-left: 4px solid var(--open); padding-left: .8rem; }
.plots { columns: 2 26rem; column-gap: 2rem; }
figure { margin: 0 0 2.5rem; break-inside: avoid; }
figure h3 { margin-top: 0; }
summary { cursor: pointer; margin: 1.6em 0 .4em; }
summary h3 { display: inline; }
figure svg { width: 100%; height: auto; }
figure svg text { fill: var(--ink); }
dl { display: grid; grid-template-columns: auto 1fr; gap: 0 1rem; margin: 0; font-size: .85rem; }
dd { margin: 0; overflow-wrap: anywhere; }
section { break-inside: avoid; }
@media print {
  body { max-width: none; padding: 0; font-size: 12px; }
  figure { break-inside: auto; }
  figure svg { max-height: 20cm; break-inside: avoid; }
  h1, h2, h3 { break-after: avoid; }
  nav { display: none; }
  td, th { padding: .1rem .2rem; font-size: .6rem; }
}
"""
