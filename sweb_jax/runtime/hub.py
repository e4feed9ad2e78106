"""Files from the Hugging Face hub: 'hf:OWNER/NAME' or 'hf:OWNER/NAME@REVISION', through `huggingface_hub`.

A branch or tag is resolved to the commit that it stands for, which names what was read from then on.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from etils import epath

PREFIX = 'hf:'
MODEL_FILES = ('*.safetensors', '*.json', 'tokenizer.model')
"""No pickles."""
DATA_FILES = ('*.jsonl', '*.jsonl.gz')

_NAMED = re.compile(r'hf:(?P<name>\w[\w.-]*/\w[\w.-]*)(?:@(?P<revision>[\w./-]+))?')


class HubError(ValueError):
  """Nothing can be fetched under this name; the message says why and what to do."""


def is_named(source: str) -> bool:
  """Whether a source is of the hub."""
  return str(source).startswith(PREFIX)


def fetch(source: str, kind: str, patterns: Sequence[str]) -> tuple[epath.Path, str]:
  """Fetches what is not in the cache of `huggingface_hub` yet.

  Args:
    source: 'hf:OWNER/NAME' or 'hf:OWNER/NAME@REVISION'.
    kind: 'model' or 'dataset'.
    patterns: names of the files.

  Returns:
    The folder; the source with the commit that was found: 'hf:OWNER/NAME@COMMIT'.

  Raises:
    HubError: `huggingface_hub` is not installed, the name is none, or the hub cannot be reached or does not give it.
  """
  named = _NAMED.fullmatch(source)
  if not named:
    raise HubError(f'{source!r}: names of the hub are hf:OWNER/NAME, or hf:OWNER/NAME@REVISION')
  try:
    import huggingface_hub
    from huggingface_hub.utils import disable_progress_bars
  except ImportError as e:
    raise HubError(f"{source}: needs the huggingface_hub package: pip install 'sweb_jax[hub]'") from e
  disable_progress_bars()
  try:
    folder = huggingface_hub.snapshot_download(
      named['name'], repo_type=kind, revision=named['revision'], allow_patterns=list(patterns)
    )
  except Exception as e:  # Of the hub, of the network, of the file system.
    reason = f'{type(e).__name__}: {e}'.strip().split('\n')[0]
    raise HubError(
      f'{source}: cannot be fetched from the hub ({reason:.300}); a machine without internet needs a folder in its '
      'place, and a gated model a login (hf auth login)'
    ) from e
  found = epath.Path(folder)
  return found, f'{PREFIX}{named["name"]}@{found.name}'  # A snapshot's folder has the name of its commit.
