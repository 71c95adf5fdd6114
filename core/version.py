VERSION = "0.1.0"
"""The version of this package; `pyproject.toml` says the same, and a test holds them together."""
