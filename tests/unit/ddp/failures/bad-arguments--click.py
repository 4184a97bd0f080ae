"""As click ends a script; it is not in the image, so its words are written here."""

import sys

sys.stderr.write("Usage: train.py [OPTIONS]\nTry 'train.py --help' for help.\n\n")
sys.stderr.write("Error: No such option: --bacth-size Did you mean --batch-size?\n")
sys.exit(2)
