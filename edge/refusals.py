"""The one exception for a request that is well formed but cannot be honoured."""


class RequestRefused(Exception):
    """A request names something that is not there or contradicts what is recorded; one sentence."""
