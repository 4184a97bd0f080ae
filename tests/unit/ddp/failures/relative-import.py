"""A file of a package, started as a script."""

from .models import Net  # noqa: F401
