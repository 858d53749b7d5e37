"""`trio.abc`: what clocks, instruments, channels and streams have in common.

https://trio.readthedocs.io/en/stable/reference-io.html#abstract-base-classes
"""

from ..abc import *  # noqa: F403
from ..abc import __all__ as __all__
