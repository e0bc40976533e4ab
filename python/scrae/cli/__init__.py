"""The command line: ``main`` is the command ``scrae``, and each other file is one of its commands or a few."""

from scrae.cli.command import main, parser

__all__ = ["main", "parser"]
