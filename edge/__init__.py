"""The edge daemon: readings, ledger, decisions and switch orders of one gateway."""

__version__ = "0.1.0"
