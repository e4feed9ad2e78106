"""Every field of an experiment, with its default.

A config file calls `default()` and changes what differs. Which step's result depends on which field is said in
`study/fields.py`.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from ml_collections import ConfigDict

RECORDED, ENDPOINT = 'samples:', 'endpoint:'
"""How the sources of recorded samples and of endpoints begin, in place of a model's."""

RECORDED_FIELDS = {
  'fields': {},  # What a row has -> the name of the field in these files; '': there is none.
  'tokenizer': '',  # Counts tokens where rows do not say: a model's, or a tokenizer.model file.
  'parameters': 0,  # Their number, or a model of that shape, for the costs that need it; 0: not known.
  'n': 0,  # Samples of a request, with each of which its prompt was billed; 0: prompts are charged once.
  'allow_fewer': False,  # Arms may hold fewer samples than their budget pays for.
}
ENDPOINT_FIELDS = {
  'n': 1,  # Samples of a request; its prompt is billed with each request.
  'concurrency': 8,  # Requests on their way at once, of each job.
  'retries': 8,  # After a time-out, a refusal for too many requests, or an error of the server.
  'timeout': 600.0,  # Seconds until a request is given up.
  'seeds': True,  # Requests hold a seed; of use where the server knows them.
  'key': 'SWEB_ENDPOINT_KEY',  # The variable of the environment that has the key.
  'limit': 0.0,  # Dollars that this model may cost, by config.cost.prices; 0: none.
  'tokenizer': '',  # Counts tokens in place of what the server says.
  'parameters': 0,
}


class ConfigError(ValueError):
  """A field of the config that makes no sense; the message names it and what to do."""


def default() -> ConfigDict:
  """The fields common to all experiments; a config file fills in what has no sensible default."""
  return ConfigDict(
    {
      'name': '',
      'seed': 0,  # Of sampling and training; question set j adds j.
      'preset': '',  # One of `presets`.
      'presets': ConfigDict(),  # Sizes of the study: name -> ((field, value), ...).
      # Folder of public files, 'tfds:DIR' or 'hf:OWNER/NAME' (docs/data.md); generated tasks need none.
      'data_dir': '',
      'question_sets': 1,  # Replicates of the whole study: other problems, other seeds.
      'task': {
        'name': '',
        'world': 0,  # Which made world, of a generated task.
        'made_world': False,  # The report says that its problems are made up.
        'levels': (),  # Difficulties to draw problems from; (): the task's default.
        'template': '',  # Prompts by it, with '{question}' in it, in place of the task's own.
        # Of the task 'jsonl', one's own problems (docs/own_tasks.md):
        'files': ConfigDict(),  # Split, or 'all' -> file.
        'fields': ConfigDict(),  # question, answer, id, solution, level, choices, tests -> the file's name for it.
        'answer': '',  # Form of the answers: number, mathematical, choice, text, program or instructions.
        'shots': 0,  # Worked examples for base models, taken from the problems with a solution.
        'train': 0,  # Problems a question set.
        'validation': 0,
        'test': 0,
      },
      # Name -> 'embedded:NAME', 'gguf:gemma3_270m', 'hf:OWNER/NAME' or a model folder; or several, which question sets
      # take in turn. 'size:gemma2_9b' is a shape without weights, for a plan; 'samples:FILE' are samples that were
      # drawn elsewhere; 'endpoint:URL#MODEL' is a server that speaks OpenAI's protocol.
      'models': ConfigDict(),
      # Model -> how its recorded samples are read and charged: {'fields': {...}, 'tokenizer': '', 'parameters': 0,
      # 'n': 0, 'allow_fewer': False}; and how an endpoint is asked, of `ENDPOINT_FIELDS` (docs/own_data.md).
      'recorded': ConfigDict(),
      'endpoints': ConfigDict(),
      # Of the models: 'native', 'gemma' (the library's), or '': native where it can, the library where only it can.
      'implementation': '',
      'implementations': ConfigDict(),  # Model -> its own.
      'chat': (),  # Names of the models that read and write chat turns (instruction-tuned Gemmas).
      'generators': (),  # Names of the models that draw data; (): learners are only evaluated, or trained on gold.
      'learners': (),  # Names of the models that are fine-tuned.
      # Name -> {generator: samples a problem}; the others get as much compute. Or {unit: amount} a question set.
      'budgets': ConfigDict(),
      # Name -> {'kind': ..., ...}: further arms that spend each budget as a policy decides (docs/budgets.md).
      'policies': ConfigDict(),
      'cost': {  # What counts as equal cost, and what policies are charged (docs/budgets.md).
        'name': 'paper',  # paper, flops, price, seconds or tokens.
        'exact_ratio': False,  # A ratio of 2.95 is met by giving some problems one sample more; else it is 3.
        'share_prefix': True,  # Worked examples are charged once a job; else once a problem.
        'prices': ConfigDict(),  # Model -> (dollars a million input tokens, and output tokens).
        'seconds': ConfigDict(),  # Model -> device seconds a drawn token.
      },
      'rounds': 1,  # Of drawing and training: in later ones what was trained draws (docs/rounds.md).
      'round': {
        'arm': '',  # Of the first round: its models draw in the second.
        'by': 'self',  # Each learner draws for itself; or the name of the learner that draws for all.
        'samples': (),  # A problem, in each later round; (): as many as the arm's.
        'keep': False,  # Examples of earlier rounds stay.
      },
      'number_matched': False,  # Also compare equal numbers of samples.
      'gold': True,  # Also train on solutions by people.
      'sampling': {
        'few_shot': False,  # Base models read the task's worked examples first.
        'temperature': 0.7,
        'top_k': 0,  # 0: off.
        'top_p': 1.0,
        'max_new_tokens': 0,
        'dtype': 'float32',  # Of weights and caches while data is drawn and tests are taken; 'bfloat16': half of both.
      },
      'grading': {
        'second_opinion': True,  # Verdicts also hold math-verify's opinion, where the task's answers are mathematical.
      },
      'data': {
        'filter': 'answer',  # What is kept (docs/filters.md): answer, none, majority or judge.
        'max_per_problem': 0,  # Keep the first so many of what the filter leaves of a problem; 0: all.
        'dedupe': False,  # Drop a solution whose text the problem has already.
        'balance': False,  # Keep of each problem as many as the median solved problem has.
        'mix_gold': False,  # Add the solutions by people to every arm's own examples.
      },
      # Name -> fields of `data` that differ: further arms, of the same samples by other rules. 'budgets': names, for
      # these only. 'one_kept': {'max_per_problem': 1}.
      'variants': ConfigDict(),
      'train': {
        'seeds': 1,  # Each learner is fine-tuned so many times on each arm's data, in another order.
        'batch': 0,  # Examples a step.
        'batches': ConfigDict(),  # Learner -> its own batch; its steps are as many as see the same number of examples.
        'tensor': ConfigDict(),  # Learner -> `tensor` of its own mesh, at most so much; `fsdp` takes what is left.
        'steps': ConfigDict(),  # Budget name, or 'gold' -> steps; the paper's: as many for both arms of a comparison.
        'epochs': 0,  # Train so many times over each arm's examples, at most `steps`; 0: `steps` of them.
        'unique_examples': 0,  # Take so many of each arm's examples, drawn by the seed; 0: all.
        'learning_rates': (),  # The best on validation problems is taken.
        'checkpoints': 10,  # Scored on validation problems, evenly spaced; the best is kept.
        'row_length': 0,  # Tokens a packed row.
        'too_long': 'refuse',  # An example that does not fit a row: 'refuse', or 'leave_out', which is counted.
        'warmup': 0,
        'final': 1.0,  # The cosine ends at this share of the peak; 1: constant.
        'b2': 0.95,
        'weight_decay': 0.0,
        'clip_norm': 1.0,
        'optimizer': 'adamw',  # Or 'adafactor': less memory.
        'micro_batches': 1,  # Parts of a batch, one after another; the update is that of the whole.
        # Trainings of a learner in one program, on a part of the mesh each; 0: as many as are worth while and fit into
        # a device's memory, where it tells how much that is, else 1.
        'side_by_side': 0,
        'remat': 'none',  # What the backward pass recomputes to save memory: 'none', 'dots' or 'full'.
        'dtype': 'float32',  # Of the computation; the weights that are trained are float32. 'bfloat16' on accelerators.
        'lora': {
          'rank': 0,  # 0: all weights are trained; else adapters of this rank.
          'alpha': 16.0,  # They are added times alpha / rank.
          'targets': 'einsum|linear',  # Regular expression for names as 'layer_0/attn/q_einsum/w'; all projections.
        },
        'peak_flops': 0.0,  # FLOP/s that one device could do, for MFU; 0: unknown, not given.
        'save_seconds': 300.0,  # Save the state when the last save is older.
        'wandb': '',  # Project of Weights & Biases that follows the trainings; '': none.
      },
      'evaluate': {
        'maj_k': (),  # Majority vote over the first k samples a test problem at sampling.temperature; (): greedy only.
      },
      'judge': {  # A model that says whether reasoning is right (docs/filters.md).
        'model': '',  # Name in config.models; '': none.
        'max_new_tokens': 256,
        'samples': 500,  # So many kept samples of a generator and question set are judged, for the FPR.
        'gold': True,  # For the FPR the judge also reads a right solution.
      },
      # Name -> {'task': ..., 'test': n, 'data_dir': ..., 'levels': ()}: further test sets (docs/filters.md). Without
      # a data_dir of their own they are looked for in the study's.
      'transfer': ConfigDict(),
      'mesh': {'data': 1, 'fsdp': 1, 'tensor': 1},  # data=-1: all devices that are left.
      'engine': {
        'slots': 0,  # Completions decoded together; 0: as many as are of use and fit into memory.
        'steps': 16,  # Tokens between two refills.
        # What draws as one: 'slice', all chips of a slice; 'hosts', each host by itself, or those that mesh.tensor
        # spans; '': a slice where its chips run nothing else (v5e, v6e), else hosts.
        'draw_on': '',
        'kernels': True,  # Draw with kernels of this project where there are TPUs; False: as XLA does it by itself.
        'jobs': 1,  # Jobs of a stage side by side, in threads; for small models on several CPU cores.
      },
      'estimate': {  # For the plan: what was measured on this kind of machine.
        'prompt_tokens': 0,
        'few_shot_tokens': 0,
        'completion_tokens': 0,
        'sampling_flops': 0.0,  # FLOP/s reached while sampling.
        'training_flops': 0.0,
      },
    }
  )


def elsewhere(source: Any) -> str:
  """RECORDED or ENDPOINT where a value of `config.models` is one of these, '' for a model that is computed here."""
  sources = (source,) if isinstance(source, str) else source
  return next((kind for kind in (RECORDED, ENDPOINT) for s in sources if isinstance(s, str) and s.startswith(kind)), '')


def samples_a_request(config: ConfigDict, model: str) -> int:
  """Samples that share one reading of a prompt, where a service billed or bills requests; 0: all of a problem."""
  kind = elsewhere(config.models.get(model, ()))
  said = {RECORDED: config.recorded, ENDPOINT: config.endpoints}.get(kind, {}).get(model, {})
  return said.get('n', {RECORDED: RECORDED_FIELDS, ENDPOINT: ENDPOINT_FIELDS}[kind]['n']) if kind else 0


def resolve(config: ConfigDict, overridden: Collection[str]) -> ConfigDict:
  """The config with the values of its preset, but for fields `overridden` on the command line.

  Raises ConfigError for an unknown preset.
  """
  config = config.copy_and_resolve_references()
  presets = config.presets
  config.presets = ConfigDict()  # What was not chosen is no part of the experiment.
  if not presets and not config.preset:
    return config
  if config.preset not in presets:
    raise ConfigError(f'config.preset={config.preset!r}: presets of this config are {", ".join(presets) or "none"}')
  with config.unlocked():
    for field, value in presets[config.preset]:
      if field not in overridden:
        within = {o: get(config, o) for o in overridden if o.startswith(f'{field}.')}
        for name, chosen in {field: value, **within}.items():
          section, _, last = name.rpartition('.')
          get(config, section)[last] = chosen
  return config


def steps_of(config: ConfigDict, learner: str, budget: str) -> int:
  """Steps of a learner on an arm of a budget (or 'gold'): with a batch of its own, as many as see as many examples."""
  t = config.train
  return t.steps[budget] * t.batch // t.batches.get(learner, t.batch)


def mesh_of(config: ConfigDict, model: str) -> dict[str, int]:
  """Axis of the mesh that a model is trained on -> devices along it; as many in all as of `config.mesh`."""
  axes = config.mesh.to_dict()
  tensor = min(axes['tensor'], config.train.tensor.get(model, axes['tensor']))
  return axes | {'fsdp': axes['fsdp'] * axes['tensor'] // tensor, 'tensor': tensor}


def rules_of(config: ConfigDict, variant: str | None) -> dict[str, Any]:
  """The fields of `config.data` as an arm's variant has them."""
  changed = config.variants[variant].to_dict() if variant else {}
  return config.data.to_dict() | {k: v for k, v in changed.items() if k != 'budgets'}


def transfer_task(config: ConfigDict, name: str) -> dict[str, Any]:
  """A section like `config.task` for a further test set, of `config.transfer`."""
  said = {field: value for field, value in config.transfer[name].to_dict().items() if field not in ('task', 'data_dir')}
  own = {'name': config.transfer[name].task, 'world': config.task.world, 'levels': tuple(said.get('levels', ()))}
  return default().task.to_dict() | said | own


def get(config: ConfigDict, field: str) -> Any:
  """The value of 'section.field'; the whole config for ''."""
  for part in filter(None, field.split('.')):
    config = config[part]
  return config
