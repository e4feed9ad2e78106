"""From verdicts to examples: which samples pass a filter, and which of those are trained on. Free of JAX."""

from sweb_jax.curation.filters import FILTERS, accepted
from sweb_jax.curation.selection import balance, select

__all__ = ['FILTERS', 'accepted', 'balance', 'select']
