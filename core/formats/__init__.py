"""What is in a file: its format by content, its header, and what kind of model that makes it."""

from .classify import Guess, classify
from .facts import FileFacts, FileFormat, ModelFormat, SecurityTier, Tensor
from .identify import identify

__all__ = [
    "FileFacts",
    "FileFormat",
    "Guess",
    "ModelFormat",
    "SecurityTier",
    "Tensor",
    "classify",
    "identify",
]
