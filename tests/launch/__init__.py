"""Loading, checking, listing and the command line."""
