"""What people would use in the judge's place, each asked in a Python of its own (tests/benchmarks/verdict_rivals.py).

`ask_<name>.py` is run by the rival's Python and imports nothing of ours but `asked`; `installed` makes that Python.
"""
