"""A package that nobody has installed."""

import a_package_of_nobody  # noqa: F401
