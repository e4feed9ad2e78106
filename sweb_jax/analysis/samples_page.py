"""A page that shows problems with what was drawn for them, by verdict: no server, no network, a few texts at a time.

Beside the page stand scripts that hold its data, as a page that is opened from a folder may load nothing else: one
with the state of every sample, a letter each, and one for every `CHUNK` characters of text.
"""

from __future__ import annotations

import html
import json
from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple

from etils import epath

from sweb_jax import layout, records
from sweb_jax.analysis import style
from sweb_jax.analysis.label_page import verdicts
from sweb_jax.analysis.study import Study, done
from sweb_jax.records import Problem, Sample, Verdict
from sweb_jax.runtime import files

LIMIT = 50_000
"""Samples that a report holds; of a larger study those of its first problems."""
CHUNK = 200_000
STATES = {
  'r': 'right',
  'f': 'false positive: right answer, wrong reasoning',
  'w': 'wrong answer',
  'n': 'no answer',
  't': 'truncated',
  'u': 'could not be graded',
}

Labels = Mapping[tuple[str, int, str, int], str]
"""Generator, question set, problem id and index of a sample -> what a person said of its reasoning."""


def write(root: epath.Path, study: Study, prompt: Callable[[Problem], str], labels: Labels) -> None:
  """Writes report/samples.html and its data, of the generators and question sets that are drawn and graded.

  `prompt` renders a problem as the learner sees it.
  """
  folder, kept = root / layout.BROWSED, {layout.BROWSED_INDEX}
  counts = _counts(root, study)
  most = max(1, LIMIT // max(1, sum(n for drawn in counts.values() for n in drawn.values())))
  index: dict[str, Any] = {'states': STATES, 'sets': [], 'chunks': 0, 'problems': 0}
  for s, problems, drawn in _sets(root, study, counts, most):
    shown, chunk, size = problems[:most], [], 0
    found = {'set': s, 'problems': [p.id for p in shown], 'chunk': [], 'states': dict.fromkeys(drawn, '')}
    index['problems'] += len(problems)
    for p in shown:
      row = {'text': prompt(p), 'gold': p.gold, 'solution': (p.solutions or ('',))[0], 'level': p.level, 'samples': {}}
      for g, (samples, graded) in drawn.items():
        pairs = [(samples[p.id, i], graded[p.id, i], labels.get((g, s, p.id, i))) for i in range(counts[s][g])]
        found['states'][g] += ''.join(_state(*pair) for pair in pairs)
        row['samples'][g] = [_shown(*pair) for pair in pairs]
      chunk.append(json.dumps(row))
      found['chunk'].append(index['chunks'])
      size += len(chunk[-1])
      if size > CHUNK or p is shown[-1]:
        name = layout.numbered(layout.BROWSED_TEXTS, index['chunks'])
        files.write_text(folder / name, f'texts({index["chunks"]}, [{", ".join(chunk)}]);\n')
        kept.add(name)
        index['chunks'] += 1
        chunk, size = [], 0
    index['sets'].append(found)
  files.write_text(folder / layout.BROWSED_INDEX, f'const index = {json.dumps(index)};\n')
  for old in folder.glob('*'):
    if old.name not in kept:
      old.unlink()  # Of an earlier report, which had more to show.
  files.write_text(root / layout.BROWSER, render(study.name))


def render(title: str) -> str:
  """The page; its data are loaded."""
  head = style.head(f'Samples: {title}', STYLE, SCRIPT, loads=True)
  return f'{head}{BODY.replace("{title}", html.escape(title))}<script>{SCRIPT}</script>\n</body>\n</html>\n'


def _counts(root: epath.Path, study: Study) -> dict[int, dict[str, int]]:
  """Question set -> generator -> samples a problem, of those that are drawn and graded."""
  finished, extents = done(root, study), {step.folder: step.extent for step in study.steps}
  found: dict[int, dict[str, int]] = {}
  for s in study.question_sets:
    for g in study.generators:
      needs = layout.problems(s, 'train'), layout.samples(s, g), layout.verdicts(s, g)
      if all(finished.get(folder) == '' for folder in needs):
        found.setdefault(s, {})[g] = extents[layout.verdicts(s, g)]['samples']
  return found


def _sets(
  root: epath.Path, study: Study, counts: Mapping[int, Mapping[str, int]], most: int
) -> Iterator[tuple[int, list[Problem], dict[str, tuple[dict, dict]]]]:
  """(question set, its problems, generator -> samples and verdicts of the first `most`), one set after the other."""
  extents = {step.folder: step.extent for step in study.steps}
  for s, generators in counts.items():
    asked = layout.problems(s, 'train')
    problems = list(records.read(Problem, root / asked / layout.PROBLEMS))[: extents[asked]['problems']]
    ids = {p.id for p in problems[:most]}
    yield s, problems, {g: (_samples(root, s, g, ids), verdicts(root, s, g)) for g in generators}


class Drawn(NamedTuple):
  """What the page shows of a sample; its tokens would take ten times as much."""

  text: str
  cut: bool
  tokens: int


def _samples(root: epath.Path, question_set: int, generator: str, ids: set[str]) -> dict[tuple[str, int], Drawn]:
  found: dict[tuple[str, int], Drawn] = {}
  for path in sorted((root / layout.samples(question_set, generator)).glob(layout.CHUNKS)):
    for sample in records.read(Sample, path):
      key = sample.problem_id, sample.index
      if sample.problem_id in ids and key not in found:  # Of one drawn twice, around a restart, the first.
        found[key] = Drawn(sample.text, sample.finish == 'length', len(sample.tokens))
  return found


def _state(sample: Drawn, verdict: Verdict, label: str | None) -> str:
  """The letter of `STATES`. On reasoning, a person's word stands before the checker's."""
  if verdict.correct:
    return 'f' if label == 'wrong' or (label != 'right' and verdict.valid is False) else 'r'
  if verdict.reason.startswith(records.UNGRADED):
    return 'u'
  return 't' if sample.cut else 'n' if verdict.answer is None else 'w'


def _shown(sample: Drawn, verdict: Verdict, label: str | None) -> list[Any]:
  """Text, answer, and what is said of it."""
  same = verdict.reason == STATES[_state(sample, verdict, label)]
  said = [*([] if same else [verdict.reason]), f'{sample.tokens} tokens']
  if verdict.valid is not None:
    said.append(f'reasoning {"right" if verdict.valid else "wrong"} by the checker')
  if label:
    said.append(f'reasoning {label} by a person')
  if verdict.second_reason == 'differs':
    said.append('math-verify differs')
  return [sample.text, verdict.answer, '; '.join(said)]


STYLE = """
form { display: flex; flex-wrap: wrap; gap: .5rem 1rem; align-items: end; margin: 1rem 0; }
label { display: grid; font-size: .85rem; min-width: 0; }
nav { display: flex; flex-wrap: wrap; gap: .5rem; align-items: center; }
h2 { font-size: 1rem; }
summary { cursor: pointer; }
"""

BODY = """<h1>Samples of {title}</h1>
<p class="note"><a href="index.html">The report</a>. Everything that was drawn for training problems, as it was drawn.
<span id="held"></span></p>
<noscript><p>This page needs JavaScript; it asks for nothing but the files beside it.</p></noscript>
<form id="filters">
<label>Verdict <select id="state"></select></label>
<label>Generator <select id="generator"></select></label>
<label>Question set <select id="set"></select></label>
<label>Problem id holds <input id="problem" type="search" size="12"></label>
</form>
<nav><button id="back" type="button">← back</button> <button id="next" type="button">next →</button>
<span id="place" role="status"></span></nav>
<main id="found"></main>
"""

SCRIPT = """
'use strict';
const SHOWN = 20;
const by = id => document.getElementById(id);
const CLASSES = {r: 'right', f: 'false', w: 'wrong', n: 'wrong', t: 'cut', u: 'cut'};
const RIGHT = 'rf', FILTERS = ['state', 'generator', 'set', 'problem'];
const arrived = new Map(), chunks = new Map();
let matches = [], page = 0, drawing = 0;

function element(tag, text, name) {
  const made = document.createElement(tag);
  if (text !== undefined) made.textContent = text;
  if (name) made.className = name;
  return made;
}

function script(source) {
  return new Promise((resolve, reject) => {
    const made = element('script');
    made.src = source;
    made.onload = () => { made.remove(); resolve(); };
    made.onerror = () => reject(new Error(source + ' is missing: copy the whole folder of the report'));
    document.head.append(made);
  });
}

window.texts = (number, rows) => arrived.set(number, rows);

function chunk(number) {
  if (!chunks.has(number)) {
    if (chunks.size > 8) chunks.delete(chunks.keys().next().value);  // A phone has little memory.
    chunks.set(number, script(`samples/texts-${String(number).padStart(6, '0')}.js`).then(() => {
      const rows = arrived.get(number);
      arrived.delete(number);
      return rows;
    }));
  }
  return chunks.get(number);
}

function filter() {
  const [state, generator, set, problem] = FILTERS.map(name => by(name).value);
  const wanted = state === 'right-answer' ? RIGHT : state;
  matches = [];
  for (const found of index.sets) {
    if (set && String(found.set) !== set) continue;
    found.problems.forEach((id, p) => {
      if (problem && !id.includes(problem)) return;
      for (const [g, states] of Object.entries(found.states)) {
        if (generator && g !== generator) continue;
        const count = states.length / found.problems.length;
        for (let i = 0; i < count; i++) {
          const is = states[p * count + i];
          if (!wanted || wanted.includes(is)) matches.push([found, p, g, i, is]);
        }
      }
    });
  }
}

async function show() {
  const mine = ++drawing, from = page * SHOWN, shown = matches.slice(from, from + SHOWN);
  by('place').textContent = matches.length
    ? `${from + 1} to ${from + shown.length} of ${matches.length} samples` : 'No sample is like this.';
  by('back').disabled = page === 0;
  by('next').disabled = from + SHOWN >= matches.length;
  const parts = [];
  let last;
  try {
    for (const [found, p, g, i, is] of shown) {
      const first = found.chunk.indexOf(found.chunk[p]);
      const row = (await chunk(found.chunk[p]))[p - first];
      if (mine !== drawing) return;  // Another page was asked for meanwhile.
      if (last !== row) parts.push(...problem(found, p, row));
      last = row;
      const [text, answer, said] = row.samples[g][i];
      const line = element('p', undefined, CLASSES[is]);
      line.append(element('b', `${g} sample ${i}: ${index.states[is]}`), ` (${answer === null ? 'no answer' :
        'answer ' + answer}; ${said})`);
      parts.push(line, element('pre', text));
    }
  } catch (error) {
    if (mine !== drawing) return;
    parts.push(element('p', error.message, 'wrong'));
  }
  by('found').replaceChildren(...parts);
}

function problem(found, p, row) {
  const level = row.level ? `, ${row.level}` : '';
  const parts = [element('h2', `Problem ${found.problems[p]} of question set ${found.set}${level}`),
    element('pre', row.text), element('p', `Right answer: ${row.gold}`)];
  if (row.solution) {
    const more = element('details');
    more.append(element('summary', 'a right solution'), element('pre', row.solution));
    parts.push(more);
  }
  return parts;
}

function go(number) {
  page = Math.min(Math.max(number, 0), Math.max(0, Math.ceil(matches.length / SHOWN) - 1));
  const kept = new URLSearchParams(FILTERS.filter(name => by(name).value).map(name => [name, by(name).value]));
  if (page) kept.set('page', page);
  history.replaceState(null, '', '#' + kept);
  show();
  scrollTo(0, 0);
}

function options(id, pairs) {
  for (const [value, text] of pairs) {
    const made = element('option', text);
    made.value = value;
    by(id).append(made);
  }
}

function take() {
  const asked = new URLSearchParams(location.hash.slice(1));
  for (const name of FILTERS) by(name).value = asked.get(name) ?? '';
  filter();
  go(Number(asked.get('page')) || 0);
}

script('samples/index.js').then(() => {
  const states = Object.entries(index.states);
  options('state', [['', 'all'], ['right-answer', 'right answer'], ...states]);
  const generators = new Set(index.sets.flatMap(s => Object.keys(s.states)));
  options('generator', [['', 'all'], ...[...generators].map(g => [g, g])]);
  options('set', [['', 'all'], ...index.sets.map(s => [s.set, s.set])]);
  const held = index.sets.reduce((sum, s) => sum + s.problems.length, 0);
  if (held < index.problems)
    by('held').textContent = `Here are the first ${held} of ${index.problems} problems; the workdir has all.`;
  for (const name of FILTERS) by(name).addEventListener('input', () => { filter(); go(0); });
  by('filters').addEventListener('submit', event => event.preventDefault());
  by('back').onclick = () => go(page - 1);
  by('next').onclick = () => go(page + 1);
  document.addEventListener('keydown', event => {
    if (event.ctrlKey || event.metaKey || event.altKey || event.target.closest('input, select')) return;
    if (event.key === 'ArrowLeft' && page) go(page - 1);
    if (event.key === 'ArrowRight' && (page + 1) * SHOWN < matches.length) go(page + 1);
  });
  addEventListener('hashchange', take);
  take();
}).catch(error => by('found').append(element('p', error.message, 'wrong')));
"""
