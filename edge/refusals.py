"""The exceptions for a request that is well formed but cannot be honoured."""


class RequestRefused(Exception):
    """A request contradicts what is recorded; one sentence."""


class NotThere(RequestRefused):
    """A request names something that is not there; one sentence."""
