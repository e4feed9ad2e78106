"""Converts models between forms, says what a model is, and compares its two implementations.

    python -m sweb_jax.models convert --from=SOURCE --to=FOLDER --format=hf
    python -m sweb_jax.models convert --from=TRAINED --base=SOURCE --to=FOLDER --format=peft
    python -m sweb_jax.models convert --from=SOURCE --to=FILE.gguf --format=gguf --type=Q8_0
    python -m sweb_jax.models inspect SOURCE
    python -m sweb_jax.models compare SOURCE

SOURCE is what `config.models` takes: 'embedded:NAME', 'gguf:gemma3_270m', a *.gguf file, a Hugging Face directory, a
model folder of this project (as a study's `models/.../best`), or an Orbax folder of the gemma library or of Kaggle.
`convert` compares the logits of both sides and fails where they differ; docs/checkpoints.md has the recipes. `compare`
does so with this project's forward pass and the gemma library's own modules (docs/models.md).
"""

from __future__ import annotations

import os
import sys

os.environ.setdefault('TF_CPP_MIN_LOG_LEVEL', '3')

from absl import app, flags, logging

from sweb_jax.models import conversion, families, gguf_file
from sweb_jax.models.source import check_model
from sweb_jax.models.tokenizer import TokenizerError
from sweb_jax.runtime import terminal

_FROM = flags.DEFINE_string('from', None, 'convert: the model to read.')
_TO = flags.DEFINE_string('to', None, 'convert: the folder to write; it must not exist.')
_FORMAT = flags.DEFINE_enum(
  'format', None, conversion.FORMATS, 'convert: Hugging Face directory, our model folder, adapters alone, or GGUF file.'
)
_BASE = flags.DEFINE_string('base', '', 'convert to peft: the model that was trained, before it was.')
_TYPE = flags.DEFINE_enum('type', 'F16', gguf_file.KINDS, 'convert to gguf: type of the matrices.')
_CHAT = flags.DEFINE_bool('chat', False, 'convert to hf or gguf: it was tuned on chat turns; write their template.')


def main(argv: list[str]) -> None:
  logging.set_verbosity(logging.ERROR)  # Libraries warn of what is then refused in one message.
  try:
    match argv[1:]:
      case ['convert']:
        _convert()
      case ['inspect', source]:
        _inspect(source)
      case ['compare', source]:
        _compare(source)
      case _:
        raise app.UsageError(
          'give `convert --from=SOURCE --to=FOLDER --format=hf|orbax|peft|gguf`, `inspect SOURCE` or `compare SOURCE`'
        )
  except KeyboardInterrupt:
    sys.exit(130)
  except (ValueError, OSError) as e:
    print(f'Error: {e}', file=sys.stderr)
    sys.exit(1)


def _convert() -> None:
  for flag in (_FROM, _TO, _FORMAT):
    if flag.value is None:
      raise app.UsageError(f'convert: --{flag.name} is needed')
  if _CHAT.value and _FORMAT.value not in ('hf', 'gguf'):
    raise app.UsageError('convert: --chat is for --format=hf and gguf; other forms have no template')
  if bool(_BASE.value) != (_FORMAT.value == 'peft'):
    raise app.UsageError('convert: --format=peft needs --base, the model before it was trained, and no other form does')
  found = conversion.convert(
    _FROM.value, _TO.value, _FORMAT.value, chat=_CHAT.value, base=_BASE.value, kind=_TYPE.value
  )
  print(f'{_TO.value}: written; largest difference of a logit {found.largest:.3g}, KL {found.divergence:.3g} nats')


def _inspect(source: str) -> None:
  model, stored = check_model(source)
  c, t = model.config, model.tokenizer
  try:
    turns = 'turn marks {} and {}'.format(*t.turn_ids())
  except TokenizerError:
    turns = 'no turn marks'
  for name, value in (
    ('form', model.kind),
    *families.facts(c).items(),
    ('parameters', f'{c.parameters:,}, {c.embedding_parameters:,} of them embedding; a token has to do with '
     f'{c.active_parameters:,}'),
    ('stored', ', '.join(f'{n:,} {dtype}' for dtype, n in stored.items())),
    ('tokenizer', f'{t.vocab_size:,} pieces for {c.vocab_size:,} rows, BOS {t.bos_id}, EOS {t.eos_id}, PAD {t.pad_id}, '
     f'{turns}; fingerprint {t.fingerprint}'),
    ('checks', 'every tensor is there and of the right shape; the tokenizer fits'),
  ):  # fmt: skip
    print(f'{name:<13}{value}')


def _compare(source: str) -> None:
  from sweb_jax import comparison  # It draws and trains, which the other commands do not.

  found = comparison.compare(source)
  native, gemma, logits = found.native, found.gemma, found.logits
  for name, value in (
    ('logits', f'largest difference {logits.largest:.3g}, largest logit {found.largest_logit:.3g}, '
     f'KL {logits.divergence:.3g} nats'),
    ('greedy text', f'{found.equal_texts} of {len(gemma.texts)} are equal, {found.drawn} tokens'),
    ('loss', f'native {native.loss:.6f}, gemma {gemma.loss:.6f}'),
    ('gradient', f'norm native {native.gradient_norm:.6g}, gemma {gemma.gradient_norm:.6g}'),
    ('drawing', _speeds(found.drawn, native.draw_seconds, gemma.draw_seconds)),
    ('training', _speeds(found.trained, native.step_seconds, gemma.step_seconds)),
  ):  # fmt: skip
    print(f'{name:<13}{value}')
  if not found.agree:
    raise ValueError(
      f'{source}: the implementations differ by more than {comparison.TOLERANCE:g} of the largest logit or the loss, '
      'or in a text'
    )


def _speeds(tokens: int, native: float, gemma: float) -> str:
  return f'native {tokens / native:,.1f} tokens/s, gemma {tokens / gemma:,.1f}: {gemma / native:.2f} times the time'


if __name__ == '__main__':
  terminal.start(main)
