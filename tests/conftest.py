"""How deep the searches go: `--hypothesis-profile nightly` goes a hundred times deeper than the default, and elsewhere each time.

What runs on the compiled build of the package stands in `builds.py`.
"""

from hypothesis import settings

from tests.builds import pytest_collection_modifyitems, pytest_report_header

__all__ = ["pytest_collection_modifyitems", "pytest_report_header"]

settings.register_profile("default", derandomize=True, deadline=None, print_blob=True)
settings.register_profile("nightly", max_examples=100 * settings.get_profile("default").max_examples, deadline=None, print_blob=True)
settings.load_profile("default")
