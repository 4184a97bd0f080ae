"""`python -m hub_ext.service`, as JupyterHub starts it."""

from .app import GpucampService

if __name__ == "__main__":
    GpucampService.launch_instance()
