"""A custom node for benchmarks: says how long ComfyUI's event loop was held, by whichever thread."""

import asyncio
import gc
import time
from itertools import accumulate

from aiohttp import web
from server import PromptServer

NODE_CLASS_MAPPINGS = {}

SLEEP_S = 0.005
STEP_S = 0.0001

_running = set()
_counts = {}
"""How many wakes there were by their lateness in steps; a list of each would take long to hand out."""
_collections = []
"""How long each full collection of garbage took; it halts every thread, whoever's objects brought it on."""


async def _probe():
    """Count by how much each wake from a sleep is late, as far as this process ran meanwhile.

    What is late while nothing of the process runs is the doing of other programs on the machine.
    """
    while True:
        started, ran = time.perf_counter(), time.process_time()
        await asyncio.sleep(SLEEP_S)
        late = time.perf_counter() - started - SLEEP_S
        held = round(min(late, time.process_time() - ran) / STEP_S)
        _counts[held] = _counts.get(held, 0) + 1


def _note_collection(phase, details):
    global _began
    if details["generation"] == 2:
        if phase == "start":
            _began = time.perf_counter()
        else:
            _collections.append(time.perf_counter() - _began)


async def _start(_app):
    _running.add(asyncio.ensure_future(_probe()))


@PromptServer.instance.routes.get("/loop_probe")
async def _take(_request):
    """The longest hold since the last call, and that which one in a hundred was longer than, in seconds."""
    counts = sorted(_counts.items(), reverse=True)
    _counts.clear()
    together = accumulate(count for _, count in counts)
    rare = sum(count for _, count in counts) // 100
    usual = next((held for (held, _), above in zip(counts, together, strict=True) if above > rare), 0)
    collections = _collections[:]
    del _collections[: len(collections)]
    return web.json_response(
        {
            "worst": counts[0][0] * STEP_S if counts else 0,
            "p99": usual * STEP_S,
            "collections": collections,
        }
    )


gc.callbacks.append(_note_collection)
PromptServer.instance.app.on_startup.append(_start)
