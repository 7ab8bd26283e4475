"""Kills a process at a named step. Python imports this at its start where this folder is on `PYTHONPATH`.

`SEEDBED_DIES_AT` is a `Step` of `tests/faults/test_killed_at_each_step.py` as JSON. The step is a function; the process
is killed as `kill -9` does, before or after its n-th call, once: a file marks that it happened.
"""

import functools
import importlib.abc
import importlib.machinery
import importlib.util
import inspect
import json
import os
import signal
import sys
from collections.abc import Callable, Sequence
from types import ModuleType
from typing import Any

KILL = signal.SIGKILL


class Patching(importlib.abc.MetaPathFinder):
    """Wraps one function as soon as its module is imported."""

    def __init__(self, step: dict[str, Any]) -> None:
        self.step, self.calls = step, 0

    def find_spec(
        self, name: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        if name != self.step["module"]:
            return None
        spec = importlib.machinery.PathFinder.find_spec(name, path, target)
        assert spec is not None
        loader: Any = spec.loader
        execute = loader.exec_module

        def exec_module(module: ModuleType) -> None:
            execute(module)
            self.patch(module)

        loader.exec_module = exec_module
        return spec

    def patch(self, module: ModuleType) -> None:
        *path, name = self.step["function"].split(".")
        owner: Any = functools.reduce(getattr, path, module)
        setattr(owner, name, self.dying(getattr(owner, name)))

    def dying(self, function: Callable[..., Any]) -> Callable[..., Any]:
        if inspect.iscoroutinefunction(function):

            async def dies_waiting(*arguments: Any, **more: Any) -> Any:
                is_it = self.counted()
                if is_it and not self.step["is_after"]:
                    self.die()
                result = await function(*arguments, **more)
                if is_it:
                    self.die()
                return result

            return functools.wraps(function)(dies_waiting)

        def dies(*arguments: Any, **more: Any) -> Any:
            is_it = self.counted()
            if is_it and not self.step["is_after"]:
                self.die()
            result = function(*arguments, **more)
            if is_it:
                self.die()
            return result

        return functools.wraps(function)(dies)

    def counted(self) -> bool:
        self.calls += 1
        return bool(self.calls == self.step["call"])

    def die(self) -> None:
        try:
            os.close(os.open(self.step["mark"], os.O_CREAT | os.O_EXCL))
        except FileExistsError:
            return
        if "service" in self.step["who"] and self.step["is_child"]:
            os.kill(os.getppid(), KILL)
        if "child" in self.step["who"] or not self.step["is_child"]:
            os.kill(os.getpid(), KILL)


if text := os.environ.get("SEEDBED_DIES_AT"):
    sys.meta_path.insert(0, Patching(json.loads(text)))
