"""How alike names are, and how sure that makes a match."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import dropwhile, islice, takewhile

from .records import HubFile, MatchMethod

CONFIRM_BELOW = 0.6
WORTH_SHOWING = 0.3
MISMATCH_AT_MOST = 0.7
_FUZZY_AT_MOST = 0.9
_NAME_ONLY_AT_MOST = 0.75
_SAME_SIZE = 0.85
_TELLING_SIZE = 1_000_000
_OTHER_VERSION = 0.6
_LONGEST_NAME = 255

_EXTENSION = re.compile(
    r"\.(?:safetensors|sft|gguf|ckpt|pth?|bin|onnx|pickle|pkl|torchscript|msgpack|h5|zip)$", re.IGNORECASE
)
_SHARD = re.compile(r"[-_.]?(?:\d{5}[-_]of[-_]\d{5}|part\d{1,4})$|_0\d{4}$", re.IGNORECASE)
_COPY = re.compile(r"(?:\s*\(\d{1,3}\)|[\s_-]+copy(?:[\s_-]*\d{1,3})?)$", re.IGNORECASE)
_BETWEEN_WORDS = re.compile(r"(?<!\d)\.|\.(?!\d)|[^\w.]+|_+")

# How a file was packed, not what it is.
_PACKING = re.compile(
    r"\b(?:i?q[2-8](?: [k01])?(?: (?:xxs|xs|nl|s|m|l))?|(?:fp|bf|int|nf|f)(?:4|8|16|32|64)|(?:nv|mx)fp4"
    r"|e4m3(?:fn)?|e5m2|scaled|mixed|pruned|(?:no ?)?ema(?: ?only)?|half|quant(?:ized)?|gptq|awq|svdq"
    r"|gguf|safetensors|onnx|comfyui|comfy|repackaged?)\b"
)
# People write files short, but repositories in full.
_STABLE_DIFFUSION = re.compile(r"\bsd ?(xl\b)?(?=[ \d]|$)")
_LETTERS_OR_NUMBER = re.compile(r"[^\W\d_]+|\d+(?:\.\d+)*")
# What tells versions and kinds apart: 1.5 from 2.1, 7b from 14b, t2v from i2v.
_VERSIONS = re.compile(r"(?<![^\W_])[a-z]\d[a-z](?![^\W_])|\d+")
# Names that thousands of repositories use for files and folders; they tell nothing.
_GENERIC = frozenset(
    (
        *("adapter", "ae", "checkpoint", "checkpoints", "ckpt", "clip", "controlnet", "decoder", "diffusers"),
        *("diffusion", "embeddings", "encoder", "encoders", "extractor", "feature", "files", "image", "lora"),
        *("loras", "main", "model", "models", "prior", "pytorch", "safety", "checker", "split", "text"),
        *("tokenizer", "transformer", "unet", "upscale", "vae", "vision", "weights"),
    )
)
_ONE_OF_A_FAMILY = frozenset(
    (
        *("base", "dev", "distill", "distilled", "edit", "full", "large", "lightning", "lite", "preview"),
        *("pro", "refiner", "schnell", "sft", "small", "turbo", "v"),
    )
)


def normalized(name: str) -> str:
    """A name as it is compared: the last part of a path, composed (NFC), without case."""
    base = name.replace("\\", "/").rpartition("/")[2]
    return unicodedata.normalize("NFC", base).casefold()


def words(name: str) -> str:
    """A file's name as lower-case words, without extension, shard number and marks of a copy.

    >>> words("flux1-dev-Q4_K_M-00001-of-00002.gguf")
    'flux1 dev q4 k m'
    """
    stem = normalized(name)[-_LONGEST_NAME:]
    for _ in range(2):
        stem = _SHARD.sub("", _COPY.sub("", _EXTENSION.sub("", stem)))
    return " ".join(_BETWEEN_WORDS.sub(" ", stem).split())


def unpacked(text: str) -> str:
    """Words without those that say how a file was packed, and without abbreviation.

    >>> unpacked("sdxl lightning q4 k m")
    'stable diffusion xl lightning'
    """
    return " ".join(_STABLE_DIFFUSION.sub(r"stable diffusion \1 ", _PACKING.sub(" ", text)).split())


def is_generic(name: str) -> bool:
    """Whether a name tells nothing, as ``model.safetensors`` and ``diffusion_pytorch_model`` do."""
    return all(word in _GENERIC or len(word) < 2 for word in unpacked(words(name)).split())


def is_everybodys(name: str) -> bool:
    """Whether not even a publisher's own repositories would tell what a file of this name is.

    ``ae.safetensors`` or ``clip_l.safetensors`` tell nothing, but ComfyUI knows one of each.
    """
    return is_generic(name) and not {"ae", "clip"} & {*words(name).split()}


def queries(filename: str) -> list[str]:
    """What to search for to find a file: its name, then its name without how it was packed.

    ``filename`` may have folders before it; where the name tells nothing, the nearest folder that tells
    something takes its place. Empty when nothing does.
    """
    for part in reversed(filename.replace("\\", "/").split("/")):
        if part and not is_generic(part):
            full = words(part)
            return list(dict.fromkeys((full, unpacked(full))))
    return []


def loose_query(filename: str) -> str | None:
    """What a repository for a whole family of models is called, or None where the name does not tell.

    These are a name's first words, up to those that tell one of the family from another.

    >>> loose_query("Qwen-Image-2512-Lightning-4steps-V1.0-fp32.safetensors")
    'qwen image'
    >>> loose_query("kandinsky5lite_t2i.safetensors")
    'kandinsky 5'
    """
    for full in queries(filename)[-1:]:
        parts = dropwhile(_tells_no_family, _LETTERS_OR_NUMBER.findall(full))
        return " ".join(islice(takewhile(lambda part: not _tells_no_family(part), parts), 2)) or None
    return None


def _tells_no_family(word: str) -> bool:
    return word != "image" and (word in _GENERIC or word in _ONE_OF_A_FAMILY)


def similarity(one: str, other: str) -> float:
    """How alike two names are, 0 to 1.

    The order of words and how the file was packed count for little; versions that contradict each other
    count for much.
    """
    from rapidfuzz import fuzz

    a, b = words(one), words(other)
    if not a or not b:
        return 0.0
    a_short, b_short = unpacked(a), unpacked(b)
    whole = max(fuzz.ratio(a, b), fuzz.token_sort_ratio(a, b)) / 100
    short = fuzz.token_sort_ratio(a_short, b_short) / 100 if a_short and b_short else whole
    alike = 0.6 * whole + 0.4 * short
    a_versions, b_versions = (set(_VERSIONS.findall(text)) for text in (a_short, b_short))
    contradict = a_versions - b_versions and b_versions - a_versions
    return float(alike * _OTHER_VERSION if contradict else alike)


@dataclass(frozen=True)
class Match:
    """The file of a repository that fits best.

    Attributes:
        file: None when only the repository's name fits.
        method: What speaks for it.
        confidence: 0 to 1.
        hash_mismatch: The name is right, the bytes are known to be others.
    """

    file: HubFile | None
    method: MatchMethod
    confidence: float
    hash_mismatch: bool = False

    @property
    def requires_confirmation(self) -> bool:
        """A person should say yes before it is used."""
        return self.hash_mismatch or self.confidence < CONFIRM_BELOW


def best_match(
    filename: str, repo_id: str, files: Sequence[HubFile], sha256: str | None = None, size: int | None = None
) -> Match:
    """How well a repository fits a file.

    The same SHA-256 is certain, whatever the names. The same name is nearly so, unless the bytes are
    known to be others, or the name is one that everybody uses. Otherwise names are compared.
    """
    wanted = normalized(filename)
    if sha256 is not None:
        for file in files:
            if file.sha256 == sha256.lower():
                return Match(file, "hash", 1.0)
    repo = similarity(_telling_part(filename), repo_id.rpartition("/")[2])
    same = [file for file in files if normalized(file.path) == wanted]
    if same:
        file = max(same, key=lambda file: (file.size == size, _path_likeness(filename, file.path)))
        others = _is_other(file, sha256, size)
        if is_generic(filename):
            return Match(file, "filename_fuzzy", round(_NAME_ONLY_AT_MOST * repo, 3), others)
        if others:
            return Match(file, "filename_exact", MISMATCH_AT_MOST, True)
        sure = 0.99 if file.size == size and size is not None else 0.92 + 0.06 * repo
        return Match(file, "filename_exact", round(sure, 3))
    return _alike(filename, repo, files, size)


def _alike(filename: str, repo: float, files: Sequence[HubFile], size: int | None) -> Match:
    extension = _extension(filename)
    rated = [(similarity(filename, file.path), file) for file in files if _extension(file.path) == extension]
    by_name, file = max(rated, key=lambda item: item[0], default=(0.0, None))
    sure = min(_NAME_ONLY_AT_MOST * repo, _NAME_ONLY_AT_MOST)
    best: HubFile | None = None
    if file is not None and not is_generic(filename) and _FUZZY_AT_MOST * by_name >= sure:
        sure, best = min(_FUZZY_AT_MOST * by_name, _FUZZY_AT_MOST - 0.01), file
    if size is not None and size >= _TELLING_SIZE:
        twin = next((file for _, file in sorted(rated, key=lambda i: -i[0]) if file.size == size), None)
        if twin is not None and sure >= WORTH_SHOWING:
            sure, best = max(sure, _SAME_SIZE), twin
    return Match(best, "filename_fuzzy", round(sure, 3))


def _path_likeness(one: str, other: str) -> float:
    """How alike two paths are, folders included, to tell files of one name apart."""
    return similarity(one.replace("\\", "/").replace("/", " "), other.replace("/", " "))


def _telling_part(filename: str) -> str:
    parts = [part for part in filename.replace("\\", "/").split("/") if part]
    return next((part for part in reversed(parts) if not is_generic(part)), parts[-1] if parts else "")


def _extension(name: str) -> str:
    return normalized(name).rpartition(".")[2]


def _is_other(file: HubFile, sha256: str | None, size: int | None) -> bool:
    """Whether the bytes are known to be others."""
    if sha256 is not None and file.sha256 is not None:
        return file.sha256 != sha256.lower()
    return size is not None and file.size is not None and file.size != size
