"""What is known of the library's pickles: their findings, kept with each model."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from ..errors import NotAModelError, StorageError
from ..formats import identify
from ..formats.pickle_scan import PickleScan, scan_pickles
from ..storage.disk import storage_error
from .index import Index, IndexedFile, pickle_fingerprint
from .metadata import MetadataStore
from .records import LibraryChange, Model


class PickleFindings:
    """Looks into pickles and keeps what was found: in ``metadata.json``, or in the index alone.

    Nothing is written beside files that stay elsewhere: their findings lie in the index until something else is
    written down of them, since the file can tell them again.
    """

    def __init__(
        self, metadata: MetadataStore, index: Index, announce: Callable[[LibraryChange], None]
    ) -> None:
        self._metadata = metadata
        self._index = index
        self._announce = announce

    def waiting(self) -> list[str]:
        """Ids of the pickles of which it is not known what they would do."""
        return self._index.unscanned_pickles()

    def of(self, model_id: str, check: Callable[[], object] = lambda: None) -> PickleScan:
        """What a model's pickles would do; read from its files unless that is known of them as they are.

        Who vouched for a file did not know of a danger that is found later: that is asked again. ``check`` is
        called now and then and may raise. Raises `NotFoundError`, `SourceChangedError`, `StorageError`.
        """
        model, files = self._index.model(model_id), self._index.files(model_id)
        if model.pickle_scan is not None and model.pickle_scan.is_of(pickle_fingerprint(files)):
            return model.pickle_scan
        paths = [Path(file.path) for file in files]
        scan = scan_pickles(*(path for path in paths if len(paths) == 1 or _is_pickle(path)), check=check)
        scan.files = pickle_fingerprint(map(_as_it_is, files))
        self._keep(model_id, scan)
        self._announce(LibraryChange(changed=[model_id]))
        return scan

    def _keep(self, model_id: str, scan: PickleScan) -> None:
        """Note the findings in the model as it is now: somebody may have edited it while its files were read."""
        try:
            with self._metadata.locked():
                written = self._metadata.read(model_id)
                if written is None:
                    self._keep_in_index(model_id, scan)
                    return
                written.model_id = model_id
                _note(written, scan)
                self._index.replace_metadata([(written, self._metadata.write(written))])
        except (OSError, StorageError):  # a library that can only be read, or is not there: the index has it
            self._keep_in_index(model_id, scan)

    def _keep_in_index(self, model_id: str, scan: PickleScan) -> None:
        model = self._index.model(model_id)
        _note(model, scan)
        self._index.replace_metadata([(model, self._metadata.mtime_ns(model_id))])


def _note(model: Model, scan: PickleScan) -> None:
    known = model.pickle_scan
    if scan.refused and (known is None or not scan.says_as(known)):
        model.pickle_acknowledged = False
    model.pickle_scan = scan


def _is_pickle(path: Path) -> bool:
    try:
        return identify(path).security_tier == "pickle"
    except NotAModelError:
        return False


def _as_it_is(file: IndexedFile) -> IndexedFile:
    try:
        status = Path(file.path).stat()
    except OSError as error:
        raise storage_error(error, Path(file.path)) from error
    return file._replace(size=status.st_size, mtime_ns=status.st_mtime_ns)
