"""What Gemmas are like in Hugging Face directories: all that the reader and the writer of such directories ask."""

from __future__ import annotations

from sweb_jax.models.gemma.huggingface_config import control_ids, read, write
from sweb_jax.models.gemma.huggingface_tensors import parameter, shapes, tensors, unread

__all__ = ['control_ids', 'parameter', 'read', 'shapes', 'tensors', 'unread', 'write']

EMBEDDING, OUTPUT = 'model.embed_tokens.weight', 'lm_head.weight'
"""One table in two places; the second, which published Gemmas do not have, may be a copy of the first."""
SPARE_ROWS = False
"""The table may have more rows than `config.json` says."""
PREFIXES = {
  'language_model.model.': 'model.',
  'model.language_model.': 'model.',
  'language_model.lm_head.': 'lm_head.',
}
"""Beginnings of names in a model that also sees to those in one that reads text only."""
NOT_TEXT = tuple(
  f'{model}{part}.'
  for model in ('', 'model.')
  for part in ('vision_tower', 'multi_modal_projector', 'embed_vision', 'audio_tower', 'embed_audio')
)
"""Beginnings of the names of tensors that read images and sound; they are passed over."""
