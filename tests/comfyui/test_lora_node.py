"""The LoRA loader on a real diffusion model: the shape of Stable Diffusion 1.5, all zeros, a sparse file."""

from __future__ import annotations

import os
import subprocess
import time
from pathlib import Path

from _real_comfyui import SERVER_PATH, core_dir, server_python

WRITE_MODELS = """
import json, struct, sys, torch
sys.argv, (unet_path, lora_path) = sys.argv[:1] + ["--cpu"], sys.argv[1:]
import comfy.options
comfy.options.enable_args_parsing()
import comfy.ops
from comfy.ldm.modules.diffusionmodules.openaimodel import UNetModel
from safetensors.torch import save_file

unet = UNetModel(
    image_size=32, in_channels=4, out_channels=4, model_channels=320, num_res_blocks=[2, 2, 2, 2],
    channel_mult=[1, 2, 4, 4], num_heads=8, use_spatial_transformer=True, context_dim=768,
    transformer_depth=[1, 1, 1, 1, 1, 1, 0, 0], transformer_depth_middle=1,
    transformer_depth_output=[1, 1, 1, 1, 1, 1, 1, 1, 1, 0, 0, 0], use_linear_in_transformer=False,
    dtype=torch.float16, device="meta", operations=comfy.ops.disable_weight_init,
)
header, end = {}, 0
for name, value in unet.state_dict().items():
    size = value.numel() * 2
    header["model.diffusion_model." + name] = {
        "dtype": "F16", "shape": list(value.shape), "data_offsets": [end, end + size],
    }
    end += size
text = json.dumps(header).encode()
with open(unet_path, "wb") as file:
    file.write(struct.pack("<Q", len(text)) + text)
    file.truncate(8 + len(text) + end)
name = "lora_unet_input_blocks_1_1_transformer_blocks_0_attn1_to_q"
save_file({name + ".lora_up.weight": torch.ones(320, 1), name + ".lora_down.weight": torch.ones(1, 320),
           name + ".alpha": torch.tensor(1.0)}, lora_path)
"""


def workflow(model_id: str) -> dict[str, object]:
    return {
        "1": {
            "class_type": "UNETLoader",
            "inputs": {"unet_name": "zeros.safetensors", "weight_dtype": "default"},
        },
        "2": {
            "class_type": "LibrarianLoadLora",
            "inputs": {"model": ["1", 0], "model_id": model_id, "strength_model": 1.0, "strength_clip": 1.0},
        },
        "3": {"class_type": "PreviewAny", "inputs": {"source": ["2", 0]}},
    }


def test_a_lora_is_applied_by_identity(start_comfyui, new_page, tmp_path: Path) -> None:
    models = tmp_path / "models"
    for name in ("diffusion_models", "loras"):
        (models / name).mkdir(parents=True)
    subprocess.run(
        [
            server_python(),
            "-c",
            WRITE_MODELS,
            tmp_path / "zeros.safetensors",
            models / "loras" / "ones.safetensors",
        ],
        env={**os.environ, "PYTHONPATH": f"{core_dir()}{os.pathsep}{SERVER_PATH}"},
        cwd=core_dir(),
        check=True,
    )
    server = start_comfyui(models=models)
    (server.models_dir / "diffusion_models" / "zeros.safetensors").symlink_to(tmp_path / "zeros.safetensors")
    page = new_page(server)
    page.goto("/")
    page.wait_for_function("() => window.app?.api")

    deadline = time.monotonic() + 20
    while not (found := server.get_json("/librarian/models?q=ones")["models"]):
        assert time.monotonic() < deadline
        page.wait_for_timeout(100)
    answer = page.evaluate(
        """async (prompt) => await (await window.app.api.fetchApi('/prompt', {method: 'POST',
          headers: {'Content-Type': 'application/json'}, body: JSON.stringify({prompt})})).json()""",
        workflow(found[0]["model_id"]),
    )
    assert answer.get("prompt_id"), answer
    deadline = time.monotonic() + 120
    while not (history := server.get_json(f"/history/{answer['prompt_id']}")):
        assert time.monotonic() < deadline, server.log[-2000:]
        page.wait_for_timeout(200)
    assert history[answer["prompt_id"]]["status"]["status_str"] == "success", history
    assert "ModelPatcher" in str(history[answer["prompt_id"]]["outputs"])
    assert "NOT LOADED" not in server.log
    assert "lora key not loaded" not in server.log
