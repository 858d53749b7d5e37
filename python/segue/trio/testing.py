"""`trio.testing`: `segue.testing` under Trio's name.

https://trio.readthedocs.io/en/stable/reference-testing.html
"""

from .. import testing as _testing
from ..testing import *  # noqa: F403  (all of it)

__all__ = _testing.__all__
