"""Which models a workflow wants, and where they are."""

from .reading import references_in
from .records import ModelReference, Resolution, ResolvedModel
from .resolver import Resolver

__all__ = ["ModelReference", "Resolution", "ResolvedModel", "Resolver", "references_in"]
