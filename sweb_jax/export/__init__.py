"""Data sets out of a workdir, for other trainers: the rows of an arm, and a card that says where they come from."""

from sweb_jax.export.dataset import Exported, export
from sweb_jax.export.formats import FORMATS
from sweb_jax.export.rows import PEOPLE, ExportError, Row

__all__ = ['FORMATS', 'PEOPLE', 'ExportError', 'Exported', 'Row', 'export']
