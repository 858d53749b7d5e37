"""`trio.testing`: `segue.testing` under Trio's name.

https://trio.readthedocs.io/en/stable/reference-testing.html
"""

from .. import testing as _testing
from ..testing import *

__all__ = _testing.__all__
