"""The command line: thin. It parses, calls what the library offers, and shows how it goes."""

from refilm.cli.app import main

__all__ = ["main"]
