"""What the names in a pickle mean: which are data, which can do harm, which nobody here knows.

A pickle names classes and functions that loading it looks up and calls. What model files hold is known: tensors,
numbers and a few containers. Whatever else the standard library has is of no use in a model, and much of it runs
commands, so a list of what is harmless is kept here, not one of what is dangerous: that one would never be whole.
A test holds it against the list of ``picklescan``.

Sources: ``torch/_weights_only_unpickler.py`` and ``torch/_tensor.py``; ``numpy``'s and Python's own pickles; what
checkpoints of Stable Diffusion 1.x, ESRGAN, YOLO and PyTorch Lightning name.
"""

from __future__ import annotations

import _compat_pickle
import re
import sys
from typing import Literal

Severity = Literal["harmless", "unknown", "dangerous"]

_HARMLESS: dict[str, str] = {
    "collections": "OrderedDict defaultdict Counter deque",
    "builtins": "set frozenset list dict tuple bytes bytearray str int float bool complex object slice range",
    "_codecs": "encode",
    "copyreg": "_reconstructor __newobj__",
    "array": "array _array_reconstructor",
    "datetime": "datetime date time timedelta timezone",
    "decimal": "Decimal",
    "fractions": "Fraction",
    "uuid": "UUID SafeUUID",
    "argparse": "Namespace",
    "types": "SimpleNamespace NoneType",
    "typing": "Any Union Optional List Dict Tuple Sequence",
    "pathlib": "Path PosixPath WindowsPath PurePath PurePosixPath PureWindowsPath",
    "pathlib._local": "PosixPath WindowsPath PurePosixPath PureWindowsPath",
    "numpy": "dtype ndarray",
    "numpy.core.multiarray": "scalar _reconstruct",
    "numpy._core.multiarray": "scalar _reconstruct",
    "numpy.core.numeric": "_frombuffer",
    "numpy._core.numeric": "_frombuffer",
    "numpy.random._pickle": "__randomstate_ctor __generator_ctor __bit_generator_ctor",
    "torch": "Size Tensor device dtype layout memory_format per_tensor_affine per_channel_affine",
    "torch._tensor": "Tensor _rebuild_from_type_v2",
    "torch._utils": "_rebuild_tensor _rebuild_tensor_v2 _rebuild_tensor_v3 _rebuild_parameter "
    "_rebuild_parameter_with_state _rebuild_qtensor _rebuild_sparse_tensor _rebuild_sparse_csr_tensor "
    "_rebuild_nested_tensor _rebuild_meta_tensor_no_storage _rebuild_device_tensor_from_numpy "
    "_rebuild_wrapper_subclass",
    "torch.nn.parameter": "Parameter Buffer UninitializedParameter UninitializedBuffer",
    "torch.storage": "UntypedStorage TypedStorage _UntypedStorage _TypedStorage",
    "torch.utils.hooks": "RemovableHandle",
    "torch.jit._pickle": "build_intlist build_doublelist build_boollist build_tensorlist build_tensor_from_id "
    "restore_type_tag",
    "torch.serialization": "_get_layout",
    "pytorch_lightning.callbacks.model_checkpoint": "ModelCheckpoint",
    "pytorch_lightning.callbacks.early_stopping": "EarlyStopping",
    "pytorch_lightning.callbacks.lr_monitor": "LearningRateMonitor",
    "pytorch_lightning.utilities.parsing": "AttributeDict",
    "lightning.pytorch.callbacks.model_checkpoint": "ModelCheckpoint",
    "lightning.pytorch.callbacks.early_stopping": "EarlyStopping",
    "lightning.pytorch.utilities.parsing": "AttributeDict",
    "lightning_fabric.utilities.data": "AttributeDict",
    "omegaconf.dictconfig": "DictConfig",
    "omegaconf.listconfig": "ListConfig",
    "omegaconf.base": "Metadata ContainerMetadata",
    "omegaconf.nodes": "AnyNode StringNode IntegerNode FloatNode BooleanNode",
}
_HARMLESS_NAMES = frozenset((module, name) for module, names in _HARMLESS.items() for name in names.split())

_HARMLESS_PATTERNS = tuple(
    (re.compile(module), re.compile(name))
    for module, name in (
        (r"torch(\.cuda)?", r"[A-Z][A-Za-z0-9]*Storage"),
        (r"torch(\.cuda)?", r"(Double|Float|Half|BFloat16|Long|Int|Short|Char|Byte|Bool)Tensor"),
        (r"torch", r"(u?int|float|bfloat|complex)[0-9]+\w*|bool|half|float|double|long|short|q(u?)int\w+"),
        (r"torch\.nn\.modules\.[a-z0-9_]+", r"[A-Z][A-Za-z0-9]*"),
        (r"__torch__(\.\w+)*", r"\w+"),  # TorchScript's own classes, which Python knows no module for
        (r"numpy\.dtypes", r"[A-Z][A-Za-z0-9]*DType"),
        (r"numpy\.random\._(mt19937|pcg64|philox|sfc64)", r"[A-Z][A-Za-z0-9]*"),
    )
)


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


_LEGACY = _words(
    "__builtin__ _pyrepl asynchat asyncore commands copy_reg distutils httplib imp lib2to3 nt pipes posix smtpd test"
)
"""Of the standard library in other versions of Python, or on other systems."""

_DANGEROUS_MODULES = _words(
    """
    aiohttp cffi cloudpickle dill execnet fabric httpx invoke IPython jinja2 joblib jsonpickle mako numexpr
    numpy.ctypeslib numpy.distutils numpy.f2py numpy.lib numpy.testing paramiko pandas.core.computation pandas.io
    pexpect pip pkg_resources plumbum pssh psutil requests setuptools sh sympy torch._dynamo torch._inductor
    torch.distributed torch.fx torch.hub torch.jit torch.multiprocessing torch.package torch.serialization
    torch.storage torch.testing torch.utils urllib3 yaml
    """
)
"""Further modules, with all below them, that run commands, code or other pickles, or reach out to the network."""

_DANGEROUS_NAMES = _words(
    """
    Popen __import__ apply call check_call check_output compile delattr eval exec execfile execl execle execlp execv
    execve execvp fork getattr get_func getoutput getstatusoutput import_module import_string load load_module loads
    open popen read_pickle remove removedirs rename rmdir rmtree run run_code run_module run_path runcode runctx
    runstring setattr spawn spawnl spawnv startfile system unlink unpickle urlopen urlretrieve
    """
)
"""What such things are called in whatever module they are."""


_GATES = _words("builtins ctypes importlib os pickle posix pty runpy shutil socket subprocess sys")
"""Through these a step further leads anywhere."""


def severity_of(module: str, name: str) -> Severity:
    """What a class or function that a pickle names can do.

    ``dangerous``: it belongs to what runs commands or code, or reaches files or the network. ``harmless``: it is
    data that model files hold. ``unknown``: somebody's own code, such as a trainer's or a model's classes.
    """
    module, name = _compat_pickle.NAME_MAPPING.get((module, name), (module, name))  # as unpickling does
    module = _compat_pickle.IMPORT_MAPPING.get(module, module)
    if (module, name) in _HARMLESS_NAMES:
        return "harmless"
    if any(where.fullmatch(module) and what.fullmatch(name) for where, what in _HARMLESS_PATTERNS):
        return "harmless"
    parts = module.split(".")
    if _is_standard(parts[0]) or any(
        ".".join(parts[: end + 1]) in _DANGEROUS_MODULES for end in range(len(parts))
    ):
        return "dangerous"
    *steps, last = name.split(".")  # «os.system» is looked up step by step
    if last in _DANGEROUS_NAMES or not _GATES.isdisjoint((*parts, *steps, last)):
        return "dangerous"
    if any(map(_is_standard, steps)) or any(step.startswith("__") for step in (*steps, last)):
        return "dangerous"
    return "unknown"


def _is_standard(name: str) -> bool:
    return name in sys.stdlib_module_names or name in _LEGACY
