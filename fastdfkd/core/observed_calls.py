"""Base of contexts that observe the calls of torch's functions inside a network's forward.

Calls are observed, not modules, so that any network that runs in Python is understood: modules,
functional calls and exported graphs alike.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch.overrides import TorchFunctionMode


class ObservedCalls(TorchFunctionMode):
    """A context in which `before` and `after` see every call of a torch function."""

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Any,
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        """Make the call, between `before` and `after`."""
        kwargs = kwargs or {}
        self.before(func, args, kwargs)
        result = func(*args, **kwargs)
        self.after(func, args, result)
        return result

    def before(
        self, func: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> None:
        """See a call before it is made."""

    def after(self, func: Callable[..., Any], args: tuple[Any, ...], result: Any) -> None:
        """See a call and its result."""
