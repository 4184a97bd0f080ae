"""Probes: I/O -> facts. Each module has `collect(arguments)`, which gives a dict (JSON) or yields
ever fuller ones, so that what hangs or crashes late does not lose the facts before it.
Standard library only, Python >= 3.8.

They are run by the kernel's Python as `python run_probe.py NAME ...`, each in a process of its
own. Guarantees: every fact carries its own error (`{"error": ...}`) rather than raising; nothing
is changed on the machine; no secret is read out (environment variables only from an allow-list).
"""
