"""A page that shows problems with what was drawn for them, by verdict: no server, no network, a few texts at a time.

Beside the page stand scripts that hold its data (`browsed.py`), as a page that is opened from a folder may load nothing
else.
"""

from __future__ import annotations

import html

from sweb_jax.analysis import style


def render(title: str) -> str:
  """The page; its data are loaded."""
  head = style.head(f'Samples: {title}', STYLE, SCRIPT, loads=True)
  return f'{head}{BODY.replace("{title}", html.escape(title))}<script>{SCRIPT}</script>\n</body>\n</html>\n'


STYLE = """
form { display: flex; flex-wrap: wrap; gap: .5rem 1rem; align-items: end; margin: 1rem 0; }
label { display: grid; font-size: .85rem; min-width: 0; }
nav { display: flex; flex-wrap: wrap; gap: .5rem; align-items: center; }
h2 { font-size: 1rem; }
summary { cursor: pointer; }
"""

BODY = """<h1>Samples of {title}</h1>
<p class="note"><a href="index.html">The report</a>. Everything that was drawn for training problems, and
what each model answered to the test problems by greedy decoding, as it was drawn. <span id="held"></span></p>
<noscript><p>This page needs JavaScript; it asks for nothing but the files beside it.</p></noscript>
<form id="filters">
<label>Verdict <select id="state"></select></label>
<label>Problems <select id="of"></select></label>
<label>Model <select id="generator"></select></label>
<label>Data of arm <select id="arm"></select></label>
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
const RIGHT = 'rf', FILTERS = ['state', 'of', 'generator', 'arm', 'set', 'problem'];
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
  const [state, of, generator, arm, set, problem] = FILTERS.map(name => by(name).value);
  const wanted = state === 'right-answer' ? RIGHT : state;
  const [by_arm, first] = index.arms[arm] ?? ['', Infinity];
  matches = [];
  for (const found of index.sets) {
    if ((set && String(found.set) !== set) || (of && found.of !== of)) continue;
    if (by_arm && found.of !== 'training problems') continue;
    found.problems.forEach((id, p) => {
      if (problem && !id.includes(problem)) return;
      for (const [g, states] of Object.entries(found.states)) {
        if ((generator && g !== generator) || (by_arm && g !== by_arm)) continue;
        const count = states.length / found.problems.length;
        for (let i = 0; i < Math.min(count, first); i++) {
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
      const one = found.states[g].length === found.problems.length;
      line.append(element('b', `${g}${one ? '' : ' sample ' + i}: ${index.states[is]}`),
        ` (${answer === null ? 'no answer' : 'answer ' + answer}; ${said})`);
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
  const parts = [element('h2', `${found.of}, question set ${found.set}: problem ${found.problems[p]}${level}`),
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
  options('arm', [['', 'all'], ...Object.keys(index.arms).map(a => [a, a])]);
  for (const name of ['of', 'set'])
    options(name, [['', 'all'], ...[...new Set(index.sets.map(s => s[name]))].map(x => [x, x])]);
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
