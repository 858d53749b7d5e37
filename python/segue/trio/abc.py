"""`trio.abc`: what clocks, instruments, channels and streams have in common.

https://trio.readthedocs.io/en/stable/reference-io.html#abstract-base-classes
"""

from .._clock import Clock
from .._instruments import Instrument

__all__ = ["Clock", "Instrument"]

try:
    from .. import abc as _abc
except ImportError:
    pass
else:
    from ..abc import *

    __all__ += _abc.__all__
