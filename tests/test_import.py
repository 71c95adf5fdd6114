"""Importing the package inside ComfyUI does next to nothing."""

from __future__ import annotations

import json
import subprocess
import sys

AS_COMFYUI_DOES = """
import json, sys, types
from aiohttp import web
server = types.ModuleType("server")
server.PromptServer = types.SimpleNamespace(
    instance=types.SimpleNamespace(routes=web.RouteTableDef(), app=web.Application())
)
sys.modules["server"] = server
before = set(sys.modules)
touched = []
sys.addaudithook(lambda event, arguments: touched.append(str(arguments[0])) if event == "open" else None)
import model_librarian
routes = [route.path for route in server.PromptServer.instance.routes]
print(json.dumps([sorted(set(sys.modules) - before), touched, routes, model_librarian.WEB_DIRECTORY]))
"""


def test_import_loads_and_opens_nothing_but_its_own_small_code():
    run = subprocess.run(
        [sys.executable, "-B", "-c", AS_COMFYUI_DOES], capture_output=True, text=True, check=True
    )
    modules, opened, routes, web = json.loads(run.stdout)
    heavy = {
        "httpx",
        "pydantic",
        "blake3",
        "sqlite3",
        "filelock",
        "psutil",
        "rapidfuzz",
        "send2trash",
        "torch",
    }
    assert not heavy & {module.split(".")[0] for module in modules}
    assert "model_librarian.core.librarian" not in modules
    assert not [path for path in opened if not path.endswith((".py", ".pyc", ".pth"))]
    assert "/librarian/models" in routes
    assert web == "./web"


def test_import_without_comfyui_touches_nothing():
    code = "import sys, model_librarian; assert 'aiohttp' not in sys.modules; print(model_librarian.__doc__)"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "Model Librarian" in run.stdout
