"""Never runs: torchrun itself cannot be imported, because a package that it needs is too old."""
