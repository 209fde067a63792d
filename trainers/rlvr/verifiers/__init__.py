"""Verifiers: pure functions (row, completion) -> Verdict; a row of the data names the ones that judge it."""
