"""An option's value that is none of those that there are; argparse's parser has commands."""

import argparse
import sys

parser = argparse.ArgumentParser(prog="trainer")
commands = parser.add_subparsers(required=True)
train = commands.add_parser("train")
train.add_argument("--precision", choices=["fp32", "bf16"])
sys.argv[1:] = ["train", "--precision", "fp8"]
parser.parse_args()
