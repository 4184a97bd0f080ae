"""Weights & Biases and TensorBoard: where a key or a log folder is, rank 0's numbers go there, too.

choice.py decides which (pure), surroundings.py looks what there is, points.py finds the numbers in
a log (pure), forwarder.py hands them to write_points.py, which the user's own Python runs.
"""
