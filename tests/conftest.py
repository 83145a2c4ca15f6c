"""How deep the searches go: `--hypothesis-profile nightly` goes a hundred times deeper than the default, and elsewhere each time."""

from hypothesis import settings

settings.register_profile("default", derandomize=True, deadline=None, print_blob=True)
settings.register_profile("nightly", max_examples=100 * settings.get_profile("default").max_examples, deadline=None, print_blob=True)
settings.load_profile("default")
