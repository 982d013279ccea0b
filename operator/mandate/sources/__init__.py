"""Tables and artefacts by URI: locate, verify by digest, read."""

from .errors import SourceError
from .files import copy, digest_of, locate, verify
from .place import Place
from .reader import Reader
from .spilled import Spill
from .tables import read_table

__all__ = ["Place", "Reader", "SourceError", "Spill", "copy", "digest_of", "locate", "read_table", "verify"]
