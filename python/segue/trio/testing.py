"""`trio.testing`: `segue.testing` under Trio's name.

https://trio.readthedocs.io/en/stable/reference-testing.html
"""

from ..testing import *  # noqa: F403  (all of it)
from ..testing import __all__ as __all__
