"""Puts Segue's objects into `sys.modules` under the names that Trio's tests import.

`trio` and every module of it but the test packages become stand-ins: they look a name up in `PRIVATE`, then in the
public modules of `segue.trio`. The wheel is found but never executed, except for its tests.
"""

from __future__ import annotations

import importlib
import importlib.machinery
import importlib.util
import re
import sys
import types
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from private_names import OWN_NAMES, PRIVATE, PRIVATE_ATTRIBUTES, SAME_MODULES

WHERE_NAMES_ARE = (
    "segue.trio",
    "segue.trio.lowlevel",
    "segue.trio.abc",
    "segue.trio.testing",
    "segue.trio.to_thread",
    "segue.trio.from_thread",
    "segue.trio.socket",
)

PUBLIC_MODULES = ("testing", "lowlevel", "abc", "to_thread", "from_thread")


def wheel() -> Path:
    """The folder of the installed wheel's package; it is found without being imported."""
    finder = importlib.machinery.PathFinder
    spec = finder.find_spec("trio")
    if spec is None or spec.origin is None:
        sys.exit("error: the trio wheel, whose tests these are, is not installed here: pip install trio==0.35.0")
    return Path(spec.origin).parent


def look_up(module: str, name: str) -> Any:
    """What `name` is in Trio's module `module`. AttributeError if Segue has nothing for it."""
    for table in (module, "*"):
        if name in PRIVATE.get(table, {}):
            found = PRIVATE[table][name]
            if isinstance(found, str):
                where, _, attribute = found.partition(":")
                try:
                    return getattr(importlib.import_module(where), attribute)
                except ModuleNotFoundError:
                    break
            return found
    own = "segue." + module
    for place in dict.fromkeys((own, *WHERE_NAMES_ARE)):
        try:
            source = importlib.import_module(place)
        except ModuleNotFoundError:
            continue
        if not (isinstance(value := getattr(source, name, None), types.ModuleType) or not hasattr(source, name)):
            return value
    raise AttributeError(f"segue.trio has nothing for {module}.{name}")


def missing(module: str, name: str) -> type:
    """A class in the place of what Segue doesn't have, so that the tests that don't need it can run."""

    def refuse(*args: Any, **kwargs: Any) -> Any:
        raise NotImplementedError(f"segue.trio has nothing for {module}.{name}")

    return type(name, (), {"__new__": refuse, "__class_getitem__": classmethod(lambda cls, item: cls)})


class StandIn(types.ModuleType):
    """One of Trio's modules."""

    def __getattr__(self, name: str) -> Any:
        if name == "__all__":
            return self._public_names()
        if name.startswith("__"):
            raise AttributeError(name)
        if name == "trio":
            return sys.modules["trio"]
        if hasattr(self, "__path__") and is_a_module(Path(self.__path__[0]) / name):
            return importlib.import_module(f"{self.__name__}.{name}")
        try:
            return look_up(self.__name__, name)
        except AttributeError:
            if not re.search(rf"\b{re.escape(name)}\b", Path(self.__file__ or "").read_text()):
                raise  # nor has Trio
            return missing(self.__name__, name)

    def _public_names(self) -> list[str]:
        names: dict[str, None] = dict.fromkeys(PRIVATE.get(self.__name__, {}))
        if self.__name__ != "trio.testing":
            names["trio"] = None
        for place in ("segue." + self.__name__, *WHERE_NAMES_ARE[:4]):
            try:
                names.update(dict.fromkeys(importlib.import_module(place).__all__))
            except (ModuleNotFoundError, AttributeError):
                continue
        return [n for n in names if n == "trio" or (n not in PUBLIC_MODULES and self._has(n))]

    def _has(self, name: str) -> bool:
        try:
            look_up(self.__name__, name)
        except AttributeError:
            return False
        return True


def is_a_module(path: Path) -> bool:
    return path.with_name(path.name + ".py").is_file() or (path / "__init__.py").is_file()


class Alias(importlib.machinery.SourceFileLoader):
    """Puts a module of Segue under another name, with its source."""

    def __init__(self, name: str, target: str) -> None:
        self.target = importlib.import_module(target)
        assert self.target.__file__ is not None
        super().__init__(name, self.target.__file__)

    def create_module(self, spec: importlib.machinery.ModuleSpec) -> types.ModuleType:
        return self.target

    def exec_module(self, module: types.ModuleType) -> None:
        pass


class Finder:
    """Finds the stand-ins; the test packages are left to Python."""

    def __init__(self) -> None:
        self.folder = wheel()

    def find_spec(
        self, name: str, path: Sequence[str] | None = None, target: object = None
    ) -> importlib.machinery.ModuleSpec | None:
        parts = name.split(".")
        if parts[0] != "trio" or "_tests" in parts:
            return None
        if name in SAME_MODULES:
            return importlib.util.spec_from_loader(name, Alias(name, SAME_MODULES[name]))
        place = self.folder.joinpath(*parts[1:])
        if not is_a_module(place):
            return None
        is_package = place.is_dir()
        file = place / "__init__.py" if is_package else place.with_name(place.name + ".py")
        spec = importlib.machinery.ModuleSpec(name, self, origin=str(file), is_package=is_package)
        if is_package:
            spec.submodule_search_locations = [str(place)]
        spec.has_location = True
        return spec

    def create_module(self, spec: importlib.machinery.ModuleSpec) -> types.ModuleType:
        return StandIn(spec.name)

    def exec_module(self, module: types.ModuleType) -> None:
        pass


def install() -> None:
    sys.meta_path.insert(0, Finder())  # type: ignore[arg-type]
    for place, value in (*OWN_NAMES.items(), *PRIVATE_ATTRIBUTES.items()):
        module, _, path = place.partition(":")
        *owners, name = path.split(".")
        target: Any = importlib.import_module(module)
        for owner in owners:
            target = getattr(target, owner)
        setattr(target, name, value)
