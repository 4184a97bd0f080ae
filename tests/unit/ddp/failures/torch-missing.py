"""Never runs: the Python that is to start it has no torch."""
