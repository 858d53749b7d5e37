"""The exceptions of structured concurrency, with Trio's names and meanings.

https://trio.readthedocs.io/en/stable/reference-core.html#exceptions-and-warnings
"""


class WouldBlock(Exception):
    """A `..._nowait` method would have had to wait."""


class EndOfChannel(Exception):
    """Everything was received, and nobody can send any more."""


class BusyResourceError(Exception):
    """Another task is using the object in a way that excludes this one: a mistake of the program."""


class ClosedResourceError(Exception):
    """The object was closed, by this program: before the call, or by another task during it."""


class BrokenResourceError(Exception):
    """The object can't be used any more through no fault of this call: the other side left or broke it."""


class RunFinishedError(RuntimeError):
    """`from_thread.run` and the like: the loop has ended."""


class NeedHandshakeError(Exception):
    """A TLS stream was asked for what is known only after the handshake."""


class InternalError(Exception):
    """Segue has met something that cannot be; please report it."""
