"""Another ComfyUI that is added by its folder: the folders are those that its own code would look into."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from pathlib import Path

import pytest
from _real_comfyui import CORE, OLD_CORE, core_dir, server_python

from model_librarian.core.linking.apps import AddedApp, described, kind_of
from model_librarian.core.linking.mappings import Mappings
from model_librarian.core.settings import NOT_MODEL_FOLDERS

pytestmark = pytest.mark.comfyui

ASK = """
import json, os, sys
root = sys.argv[1]
sys.argv = [sys.argv[0]]
sys.path.insert(0, root)
import folder_paths
from utils.extra_config import load_extra_path_config
load_extra_path_config(os.path.join(root, "extra_model_paths.yaml"))
for name in ("checkpoints", "clip", "vae", "diffusion_models", "loras"):
    folder_paths.add_model_folder_path(name, os.path.join(folder_paths.get_output_directory(), name))
print(json.dumps({name: paths for name, (paths, _) in folder_paths.folder_names_and_paths.items()}))
"""
"""As ``main.py`` does it before custom nodes run."""

EXTRA = """
a111:
    base_path: {root}/webui
    checkpoints: models/Stable-diffusion
    configs: models/Stable-diffusion
    vae: models/VAE
    loras: |
         models/Lora
         models/LyCORIS
    controlnet: models/ControlNet
central:
    base_path: ~/$SHARED
    is_default: true
    diffusion_models: |
        unet
        diffusion_models
    clip: clip
    own_kind: own
    custom_nodes: nodes
nothing:
beside:
    embeddings: {root}/far/embeddings
    upscale_models: {root}/ComfyUI/models/upscale_models
again:
    is_default: true
    upscale_models: {root}/up
    checkpoints: {root}/ComfyUI/models/checkpoints
"""


@pytest.mark.parametrize("version", [CORE, OLD_CORE])
def test_its_folders_are_those_of_its_own_code(version: str, tmp_path: Path) -> None:
    core, root = core_dir(version), tmp_path / "ComfyUI"
    for name in ("comfy", "utils"):
        shutil.copytree(core / name, root / name, ignore=lambda _, names: [n for n in names if "." not in n])
    for path in core.glob("*.py"):
        shutil.copy(path, root)
    for path in (core / "models").iterdir():
        (root / "models" / path.name).mkdir(parents=True)
    (root / "models" / "ultralytics").mkdir()
    (root / "extra_model_paths.yaml").write_text(EXTRA.format(root=tmp_path))
    environment = {**os.environ, "HOME": str(tmp_path / "home"), "SHARED": "shared"}
    done = subprocess.run(
        [server_python(), "-c", ASK, root], capture_output=True, text=True, env=environment, check=False
    )
    assert done.returncode == 0, done.stderr
    asked: dict[str, list[str]] = json.loads(done.stdout.splitlines()[-1])

    assert kind_of(root) == "comfyui"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HOME", environment["HOME"])
        patch.setenv("SHARED", environment["SHARED"])
        added = AddedApp(app="other", name="Other", kind="comfyui", root=root)
        app = described(added, Mappings(tmp_path / "mappings"))
    assert app.version == version
    assert app.problems == []
    found: dict[str, list[str]] = {}
    for folder in app.folders:
        found.setdefault(folder.subtype, []).append(str(folder.path))
    assert found.pop("ultralytics") == [str(root / "models" / "ultralytics")]
    assert [str(path) for path in app.directories] == asked["diffusers"]
    others = NOT_MODEL_FOLDERS | {"classifiers", "datasets"}  # no files of models there
    wanted = {name: paths for name, paths in asked.items() if name not in others}
    assert {name: set(paths) for name, paths in found.items()} == {
        name: set(paths) for name, paths in wanted.items()
    }
    for name in ("checkpoints", "loras", "upscale_models", "text_encoders", "vae", "controlnet"):
        assert found[name] == wanted[name], name
