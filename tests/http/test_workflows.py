from __future__ import annotations


async def test_a_whole_workflow_is_resolved(api, make_model, models_folder):
    make_model(models_folder / "loras" / "styles" / "pixel.safetensors")
    _, answer = await api("POST", "/scan", {"kind": "quick"})
    await api.finished(answer["job"])
    workflow = {"nodes": [{"type": "LoraLoader", "widgets_values": ["pixel.safetensors", 1, 1]}]}
    status, answer = await api("POST", "/resolve", {"workflow": workflow})
    assert status == 200
    [result] = answer["results"]
    assert (result["state"], result["value"]) == ("elsewhere", "styles/pixel.safetensors")

    ours = {"1": {"class_type": "LibrarianLoadLora", "inputs": {"model_id": "pixel.safetensors"}}}
    status, answer = await api("POST", "/resolve", {"workflow": ours})
    [result] = answer["results"]
    assert (result["state"], result["identity"], result["folder"]) == (
        "present",
        "pixel.safetensors",
        "loras",
    )

    references = [{"folder": "loras", "name": "styles/pixel.safetensors"}, {"folder": "vae", "name": "ae.pt"}]
    status, answer = await api("POST", "/resolve", {"references": references})
    assert [one["state"] for one in answer["results"]] == ["present", "unknown"]


async def test_neither_or_both_are_refused(api):
    for body in ({}, {"references": [{"name": "a.pt"}], "workflow": {}}, {"workflow": {"a": 1}}):
        status, answer = await api("POST", "/resolve", body)
        assert status == 400, answer
