"""Answers of Civitai's API as it documents them (https://developer.civitai.com/site/reference/)."""

from __future__ import annotations

import hashlib
from typing import Any


def sha256_of(content: str) -> str:
    return hashlib.sha256(content.encode()).hexdigest()


def file(name: str, content: str, *, primary: bool = True, **more: Any) -> dict[str, Any]:
    """An entry of ``files``; Civitai writes hashes in upper case and sizes in KB."""
    sha256 = sha256_of(content).upper()
    return {
        "id": 2402203,
        "name": name,
        "type": "Model",
        "sizeKB": len(content) / 1024,
        "metadata": {"format": "SafeTensor", "size": "pruned", "fp": "fp16"},
        "pickleScanResult": "Success",
        "pickleScanMessage": "No Pickle imports",
        "virusScanResult": "Success",
        "virusScanMessage": None,
        "scannedAt": "2025-12-18T08:59:01.000Z",
        "hashes": {
            "AutoV1": "4748A7F6",
            "AutoV2": sha256[:10],
            "SHA256": sha256,
            "CRC32": "DAEE95B7",
            "BLAKE3": hashlib.sha256(f"blake3 {content}".encode()).hexdigest().upper(),
            "AutoV3": "22D8CB95B807",
        },
        "downloadUrl": "https://civitai.com/api/download/models/2514310",
        "primary": primary,
        **more,
    }


def version(*files: dict[str, Any], **more: Any) -> dict[str, Any]:
    """What ``/model-versions/by-hash/…`` and ``/model-versions/…`` answer."""
    return {
        "id": 2514310,
        "modelId": 827184,
        "name": "v16.0",
        "description": None,
        "baseModel": "Illustrious",
        "baseModelType": "Standard",
        "air": "urn:air:sdxl:checkpoint:civitai:827184@2514310",
        "status": "Published",
        "availability": "Public",
        "nsfwLevel": 3,
        "createdAt": "2025-12-18T08:55:00.000Z",
        "updatedAt": "2025-12-18T09:16:12.062Z",
        "publishedAt": "2025-12-18T09:16:12.062Z",
        "uploadType": "Created",
        "usageControl": "Download",
        "trainedWords": ["masterpiece", " best quality, "],
        "earlyAccessConfig": None,
        "earlyAccessEndsAt": None,
        "trainingStatus": None,
        "trainingDetails": None,
        "stats": {"downloadCount": 215627, "thumbsUpCount": 13828},
        "model": {"name": "WAI-illustrious-SDXL", "type": "Checkpoint", "nsfw": False, "poi": False},
        "files": list(files),
        "images": [
            {
                "url": "https://image.civitai.com/xG1nkqKTMzGDvpLrqFT7WA/11/original=true/11.jpeg",
                "nsfwLevel": 4,
                "width": 832,
                "height": 1216,
                "hash": "UEF5",
                "type": "image",
                "meta": {"prompt": "a cat"},
            },
            {
                "url": "https://image.civitai.com/xG1nkqKTMzGDvpLrqFT7WA/12/original=true/12.jpeg",
                "nsfwLevel": 1,
                "width": 832,
                "height": 1216,
                "hash": "UEF6",
                "type": "image",
                "meta": None,
            },
            {
                "url": "https://image.civitai.com/xG1nkqKTMzGDvpLrqFT7WA/13/original=true/13.mp4",
                "nsfwLevel": 0,
                "type": "video",
            },
        ],
        "downloadUrl": "https://civitai.com/api/download/models/2514310",
        **more,
    }


def search(*versions: dict[str, Any], **more: Any) -> dict[str, Any]:
    """What ``/models?query=`` answers: one model with these versions."""
    inside = [
        {name: value for name, value in version.items() if name not in ("model", "modelId")}
        for version in versions
    ]
    return {
        "items": [
            {
                "id": 827184,
                "name": "WAI-illustrious-SDXL",
                "description": "<p>Made for <b>anime</b>.</p><p>&lt;script&gt;alert(1)&lt;/script&gt;Enjoy</p>",
                "type": "Checkpoint",
                "poi": False,
                "nsfw": False,
                "nsfwLevel": 31,
                "allowNoCredit": True,
                "allowCommercialUse": ["Image"],
                "stats": {"downloadCount": 700000, "thumbsUpCount": 40000, "commentCount": 1100},
                "creator": {"username": "WAI0731", "image": None},
                "tags": ["anime", "base model"],
                "modelVersions": inside,
                **more,
            }
        ],
        "metadata": {"nextCursor": "12345", "nextPage": "https://civitai.com/api/v1/models?cursor=12345"},
    }
