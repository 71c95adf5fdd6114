"""A custom node for tests: says what ComfyUI's own validation says of a prompt, and runs nothing."""

import execution
from aiohttp import web
from server import PromptServer

import nodes

NODE_CLASS_MAPPINGS = {}


@PromptServer.instance.routes.post("/test/validate")
async def validate(request):
    prompt = await request.json()
    valid, error, _, _ = await execution.validate_prompt("test", prompt, None)
    known = {key: node for key, node in prompt.items() if node["class_type"] in nodes.NODE_CLASS_MAPPINGS}
    for node in known.values():
        # ComfyUI goes no further where a node is not installed; here, the others are looked at all the same.
        node["inputs"] = {
            name: value
            for name, value in node["inputs"].items()
            if not isinstance(value, list) or len(value) != 2 or str(value[0]) in known
        }
    results, refused = {}, []
    for key in known:
        try:
            await execution.validate_inputs("test", known, key, results)
        except Exception as problem:
            results[key] = (False, [{"type": "exception", "details": str(problem)}], key)
    for key, (_, reasons, _) in results.items():
        refused += [
            {
                "node": key,
                "kind": known[key]["class_type"],
                "why": reason["type"],
                "value": reason.get("extra_info", {}).get("received_value"),
                "details": reason.get("details"),
            }
            for reason in reasons
        ]
    return web.json_response(
        {
            "valid": valid,
            "error": error and error["type"],
            "refused": refused,
            "unknown": sorted(
                {node["class_type"] for node in prompt.values()} - set(nodes.NODE_CLASS_MAPPINGS)
            ),
        }
    )
