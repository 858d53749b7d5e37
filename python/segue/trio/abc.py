"""`trio.abc`: what clocks, instruments, channels and streams have in common.

https://trio.readthedocs.io/en/stable/reference-io.html#abstract-base-classes
"""

from .._clock import Clock
from .._instruments import Instrument

__all__ = ["Clock", "Instrument"]

try:
    from ..abc import *
    from ..abc import __all__ as _abc_names
except ModuleNotFoundError:
    pass
else:
    __all__ += _abc_names
