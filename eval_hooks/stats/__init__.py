"""Statistics of arrays: neither models nor files are known here."""
