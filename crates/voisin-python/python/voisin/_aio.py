"""Searches that asyncio awaits."""

from __future__ import annotations

import asyncio
from functools import partial
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from voisin._voisin import Searcher


async def search(searcher: Searcher, vector: Any, k: int, **options: Any) -> Any:
    """Searches in a thread of the default executor. If the task is cancelled, so is the search."""
    from voisin._voisin import CancelToken

    token = options.pop("cancel", None) or CancelToken()
    work = partial(searcher.search, vector, k, cancel=token, **options)
    try:
        return await asyncio.get_running_loop().run_in_executor(None, work)
    except asyncio.CancelledError:
        token.cancel()
        raise
