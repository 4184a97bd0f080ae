"""What can go wrong, by layer: CASES of each module are run by test_checks.py."""
