"""The name of every file in a workdir. No other module spells one.

    problems -> samples -> verdicts -> examples -> models -> scores -> report

    config.json, study.json               the config of the last run, and the list of the study's steps
    progress.json                         how far the last run is
    KIND/setS/.../manifest.json           one folder a step; its manifest says of which version, and whether it is done
    labels.jsonl                          what a person said of kept solutions, where somebody did
    superseded/                           what was made for another version, or found damaged; never read
    compiled/, tokenised/, second_opinions/, lengths.json   what was found once; may be deleted
    curves/                               all trainings for TensorBoard, and what W&B keeps; may be deleted

    problems/set0/train                   problems.jsonl
    samples/set0/wc                       chunk-*.jsonl, ledger-*.jsonl, prompts.json
    verdicts/set0/wc                      verdicts-*.jsonl
    opinions/set0/wc/kept                 of a judge: opinions.jsonl, beside chunks and ledger
    allocations/set0/cascade_high         of a policy: allocation.json, and of each generator held, graded and drawn
    examples/set0/wc_high                 examples.jsonl, counts.json
    models/set0/student/wc_high           selection.json; rate_0.001/ with result.json, metrics and best/, the model
    scores/test/set0/student/wc_high      of each checkpoint that was chosen greedy/ and drawn/, each like samples
    report                                index.html, label.html, samples.html, samples/, figures/, tables/

Folders are given as texts relative to the workdir, as object stores have them.
"""

from __future__ import annotations

from collections.abc import Iterable

CONFIG = 'config.json'
STUDY = 'study.json'
PROGRESS = 'progress.json'
"""How far the last run is, written while it runs."""
LOCK = '.lock'
MANIFEST = 'manifest.json'
COMPILED = 'compiled'
"""Programs, so that a restart does not wait for the compiler."""
LABELS = 'labels.jsonl'
"""What a person said of the reasoning of kept solutions."""
TOKENISED = 'tokenised'
"""Ids of examples, by what they and their tokenizer are."""
IDS, SPANS = 'ids.bin', 'spans.npz'
LENGTHS = 'lengths.json'
"""Tokens of each prompt and each solution by people, by what they and their tokenizer are."""
SECOND_OPINIONS = 'second_opinions'
"""What math-verify said of a gold answer and an answer, whichever step asked: no step waits for it again."""
PAIRS = 'pairs-*.jsonl'
CURVES, EVENTS = 'curves', 'events.out.tfevents.0.metrics'
"""What trainings measured, for TensorBoard and Weights & Biases. No step reads it."""
SUPERSEDED = 'superseded'
DAMAGED = 'damaged'
"""Below a step's folder in SUPERSEDED: what a repair has put aside."""
ARRIVING = '.arriving'
"""What is being taken over from another workdir."""

PROBLEMS = 'problems.jsonl'
PROMPTS = 'prompts.json'
"""How many tokens were read before the samples of each problem."""
CHUNKS = 'chunk-*.jsonl'
LEDGERS = 'ledger-*.jsonl'
VERDICTS = 'verdicts-*.jsonl'
OPINIONS = 'opinions.jsonl'
ALLOCATION = 'allocation.json'
HELD = 'held.jsonl'
GRADED = 'graded.jsonl'
EXAMPLES = 'examples.jsonl'
COUNTS = 'counts.json'
SELECTION = 'selection.json'
RESULT = 'result.json'
METRICS = 'metrics.jsonl'
"""Of a training: a line a step."""
STATE = 'state'
"""Of a training that is not over; it goes when the training is done."""
BEST = 'best'

BASE = 'base'
"""Source, and checkpoint, of a learner before fine-tuning."""
TEST = 'test'
"""The test set of the study's own task."""
KEPT, ALL = 'kept', 'all'
"""What a judge is asked about: some of the kept samples, or all of them."""
GREEDY, DRAWN = 'greedy', 'drawn'
"""Completions of test problems at temperature 0, and at the study's."""

REPORT = 'report'
INDEX, LABEL, BROWSER = (f'{REPORT}/{name}.html' for name in ('index', 'label', 'samples'))
BROWSED = f'{REPORT}/samples'
BROWSED_INDEX = 'index.js'
BROWSED_TEXTS = 'texts-*.js'
"""Of the page that shows samples: what there is, and the texts."""
TABLES, FIGURES = f'{REPORT}/tables', f'{REPORT}/figures'


def problems(question_set: int, split: str) -> str:
  return f'problems/set{question_set}/{split}'


def transfer(name: str) -> str:
  """The split of a further test set."""
  return f'transfer_{name}'


def samples(question_set: int, generator: str) -> str:
  return f'samples/set{question_set}/{generator}'


def verdicts(question_set: int, generator: str) -> str:
  return f'verdicts/set{question_set}/{generator}'


def opinions(question_set: int, generator: str, of: str) -> str:
  """`of` is KEPT or ALL."""
  return f'opinions/set{question_set}/{generator}/{of}'


def allocation(question_set: int, arm: str) -> str:
  return f'allocations/set{question_set}/{arm}'


def examples(question_set: int, arm: str) -> str:
  return f'examples/set{question_set}/{arm}'


def run(source: str, seed: int) -> str:
  """A learner's training on an arm with seed number 0, 1, ...: 'wc_low', 'wc_low.seed1'."""
  return f'{source}.seed{seed}' if seed else source


def model(question_set: int, learner: str, run: str) -> str:
  return f'models/set{question_set}/{learner}/{run}'


def rate(learning_rate: float) -> str:
  """The folder of one learning rate below a model's, which is also the name of its checkpoint."""
  return f'rate_{learning_rate:g}'


def training(model: str, learning_rate: float) -> str:
  """Of a training below CURVES; `model` is its folder: 'set0/student/wc_low/rate_0.001'."""
  return f'{model.partition("/")[2]}/{rate(learning_rate)}'


def scores(test: str, question_set: int, learner: str, run: str) -> str:
  """`test` is TEST or the name of a further test set."""
  return f'scores/{test}/set{question_set}/{learner}/{run}'


def numbered(pattern: str, number: int, prefix: str = '') -> str:
  """A file of CHUNKS, LEDGERS or VERDICTS; `prefix` tells the files of several processes apart."""
  return pattern.replace('*', f'{prefix}{number:06d}')


def number_of(name: str) -> int:
  """The number of such a file; -1 where somebody named it otherwise, as a copy."""
  number = name.rpartition('.')[0].rpartition('-')[2]
  return int(number) if number.isdecimal() else -1


def next_number(pattern: str, names: Iterable[str], prefix: str = '') -> int:
  """The number of the next such file in a folder that holds `names`."""
  return 1 + max((n for name in names if numbered(pattern, n := number_of(name), prefix) == name), default=-1)


def kind_of(folder: str) -> str:
  """'samples' of 'samples/set0/wc': the word that a step's folder begins with."""
  return folder.partition('/')[0]
