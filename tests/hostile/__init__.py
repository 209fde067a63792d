"""What strangers hand in: run folders, recipes, data files and checkpoints, wrong or hostile, each made by code.

Every command that takes one is run on it (`python -m tests.hostile` prints the table): no code of theirs runs, nothing
in the user's home changes, no traceback, no hang.
"""
