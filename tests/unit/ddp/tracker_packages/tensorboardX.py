"""Stands in for the package tensorboardX: writes each call to the file in $TRACKER_CALLS."""

import json
import os


class SummaryWriter:
    def __init__(self, folder):
        self.folder = folder

    def add_scalar(self, name, value, step):
        with open(os.environ["TRACKER_CALLS"], "a") as file:
            file.write(json.dumps({"scalar": name, "value": value, "step": step}) + "\n")

    def flush(self):
        pass

    def close(self):
        pass
