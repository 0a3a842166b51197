"""The command line: parses options, calls the library and shows progress and results."""

from refilm.cli.app import main

__all__ = ["main"]
