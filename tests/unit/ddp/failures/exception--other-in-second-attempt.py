"""Fails, is started again, and fails otherwise."""

import os
import time

rank = os.environ["RANK"]
if os.environ["TORCHELASTIC_RESTART_COUNT"] == "0":
    if rank == "1":
        raise ValueError("the first attempt")
elif rank == "0":
    raise TypeError("the second attempt")
time.sleep(30)
