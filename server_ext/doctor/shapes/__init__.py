"""What each probe always tells: declared.py says which facts, of which kinds (kinds.py), and
conditions.py when at all; problems.py holds what a probe told against that.

A check that reads what is declared here and finds it missing, an error or of another kind has not
looked, whatever it makes of that (report.py): what was not told never counts as well. What may be
missing by right is said here, too, or is not here.
"""
