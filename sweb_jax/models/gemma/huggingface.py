"""What Gemmas are like in Hugging Face directories: all that the reader and the writer of such directories ask."""

from __future__ import annotations

from sweb_jax.models.gemma.huggingface_config import control_ids, read, write
from sweb_jax.models.gemma.huggingface_tensors import parameter, shapes, tensors

__all__ = ['control_ids', 'parameter', 'read', 'shapes', 'tensors', 'write']

EMBEDDING, OUTPUT = 'model.embed_tokens.weight', 'lm_head.weight'
"""One table in two places; the second, which published Gemmas do not have, may be a copy of the first."""
PREFIXES = {
  'language_model.model.': 'model.',
  'model.language_model.': 'model.',
  'language_model.lm_head.': 'lm_head.',
}
"""Beginnings of names in a model that also sees to those in one that reads text only."""
OF_IMAGES = ('vision_tower.', 'multi_modal_projector.', 'model.vision_tower.', 'model.multi_modal_projector.')
"""Beginnings of the names of tensors that read images; they are passed over."""
