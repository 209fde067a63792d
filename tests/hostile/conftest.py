"""Small recipes for the tests of what somebody else may have written."""

from tests.launch.conftest import recipe

__all__ = ["recipe"]
