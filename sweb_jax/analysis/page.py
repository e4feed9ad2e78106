"""The report as one HTML page that asks for nothing outside itself: readable on a phone, printable, no scripts."""

from __future__ import annotations

import html
import importlib.metadata
import json
import platform
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from sweb_jax.analysis import plots
from sweb_jax.analysis.results import Excerpt, Results
from sweb_jax.analysis.table import Table
from sweb_jax.records import Problem, Sample, Verdict

PACKAGES = ('sweb_jax', 'jax', 'jaxlib', 'numpy', 'scipy', 'gemma', 'optax', 'matplotlib')
MADE_WORLD = (
  'The problems of this study come from a made world: it demonstrates a mechanism and is no evidence about real models.'
)


def render(results: Results, built: Sequence[Table], answer: str, prompt: Callable[[Problem], str]) -> str:
  """The HTML page: the answer, plots, tables, prompts with samples, config, versions and seeds."""
  plan, named = results.plan, {table.name: table for table in built}
  main = named.get('differences', named['minus_base'])
  figures = [
    (
      plots.accuracy(named['accuracy'], results),
      'Accuracy by learner and source, with 95 % intervals; coloured by who drew the data.',
    ),
    (
      plots.forest(main),
      f'{main.title}. Thick: the interval that decides (blue where it leaves 0 out); thin: bootstrap within the sets.',
    ),
  ]
  if results.held:
    figures.insert(0, (
      plots.arms(results),
      'What each arm bought with what it was charged. Bars: 95 % bootstrap over the problems, the sets held fixed. '
      'Arms of nearly one cost stand side by side.',
    ))
  if results.generators:
    band = 'Line: mean over question sets; thin: each set; band: 95 % for new problems, sets held fixed; dots: arms.'
    figures[:0] = [(plots.curve(results, m), f'{m.capitalize()} at cost. {band}') for m in ('coverage', 'diversity')]
  return ''.join([
    HEAD.replace('{title}', _e(plan.name)),
    f'<h1>{_e(plan.name)}</h1>\n<p class="answer">{_e(answer)}</p>\n',
    f'<p>{_e(MADE_WORLD)}</p>\n' if plan.made_world else '',
    '<div class="plots">\n',
    *(f'<figure>{svg}<figcaption>{_e(caption)}</figcaption></figure>\n' for svg, caption in figures),
    '</div>\n<h2>Tables</h2>\n<p>Each is also in <code>tables/</code> as CSV and JSON.</p>\n',
    *map(_table, built),
    '<h2>Problems and samples</h2>\n',
    '<p>The first problems of the first question set and the first samples of each generator, not chosen.</p>\n',
    *(_excerpt(excerpt, prompt) for excerpt in results.excerpts),
    '<h2>How it was made</h2>\n',
    _definitions('Models (parameters)', {name: f'{count:,}' for name, count in plan.parameters.items()}),
    _definitions('Seeds', {**dict(_seeds(results.config)), 'bootstrap': '0'}),
    _definitions('Versions', {'python': platform.python_version(), **{name: _version(name) for name in PACKAGES}}),
    f'<h3>config.json</h3>\n<pre>{_e(json.dumps(results.config, indent=1, ensure_ascii=False))}</pre>\n',
    '</body>\n</html>\n',
  ])


def _table(table: Table) -> str:
  headers, rows = table.readable()
  head = ''.join(f'<th>{_e(h)}</th>' for h in headers)
  body = '\n'.join(f'<tr>{"".join(f"<td>{_e(cell)}</td>" for cell in row)}</tr>' for row in rows)
  return (
    f'<h3 id="{table.name}">{_e(table.title)}</h3>\n<div class="wide"><table>\n<thead><tr>{head}</tr></thead>\n'
    f'<tbody>\n{body}\n</tbody></table></div>\n<p class="note">{_e(table.note)}</p>\n'
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
.plots { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(100%, 26rem), 1fr)); gap: 1rem; }
figure { margin: 0; break-inside: avoid; }
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
@media print { .wide { overflow: visible; } td, th { white-space: normal; padding: .1rem .2rem; font-size: .6rem; } }
</style>
</head>
<body>
"""
