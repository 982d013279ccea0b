"""Tables and artefacts by URI: locate, verify by digest, read."""

from .files import SourceError, copy, digest_of, locate, verify
from .tables import read_table

__all__ = ["SourceError", "copy", "digest_of", "locate", "read_table", "verify"]
