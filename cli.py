"""The terminal door: the same core and the same words."""

from __future__ import annotations

import argparse
import asyncio
import json
import logging
import os
import sys
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal, get_args

from pydantic import BaseModel

from .core.errors import InvalidRequestError, LibrarianError, NotFoundError
from .core.formats.pickle_scan import PickleScan
from .core.importing import ImportMode, ImportRequest
from .core.importing.sharing import ShareRequest
from .core.jobs import Job
from .core.librarian import Librarian
from .core.library import ModelQuery
from .core.linking import CleanChoice, LinkChoice, RelocateRequest, SyncResult
from .core.settings import Surroundings, app_of_models_folder, default_data_dir, with_distinct_names
from .core.storage.disk import storage_error
from .core.storage.names import is_text
from .core.version import VERSION
from .terminal import INTERRUPTED, counted, exit_status, follow, say, say_plan, say_sharing, size, warn


def main(arguments: list[str] | None = None) -> int:
    """Run one command. Answers 0, 1 where it failed, 2 for wrong usage, or 130 where Ctrl+C ended it."""
    options = _parser().parse_args(arguments)
    logging.basicConfig(level=logging.WARNING, format="%(levelname)s: %(message)s", stream=sys.stderr)
    try:
        return int(options.run(options) or 0)
    except LibrarianError as error:
        if getattr(options, "json", False):
            print(json.dumps({"code": error.code, "detail": error.message}))
        else:
            warn(f"librarian: {error.message}")
        return 1
    except BrokenPipeError:
        return 0
    except OSError as error:
        warn(f"librarian: {error}")
        return 1
    except KeyboardInterrupt:
        return INTERRUPTED
    finally:
        _end_output()


def _end_output() -> None:
    """Say nothing more to a reader that has gone, such as ``head``."""
    try:
        sys.stdout.flush()
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def surroundings_of(options: argparse.Namespace) -> Surroundings:
    """The places that the options name; those left out are as a server, or else the first command, named them."""
    data_dir = Path(options.home).absolute() if options.home else default_data_dir()
    before = Surroundings.remembered(data_dir)
    models = [Path(folder).absolute() for folder in options.models or ()]
    apps = with_distinct_names(app_of_models_folder(folder) for folder in models)
    if options.library:
        root = Path(options.library).absolute()
    elif before is not None:
        root = before.library_root
    else:
        root = (models[0].parent if models else data_dir) / "model-library"
    return Surroundings(
        data_dir=data_dir,
        library_root=root,
        apps=apps or (before.apps if before else []),
        allowed_roots=[*models, *(Path(folder).absolute() for folder in options.allow or ())]
        or (before.allowed_roots if before else []),
    )


def _recover(librarian: Librarian) -> None:
    """Mend imports that were cut off, and say which."""
    for recovered in librarian.importer.recover():
        warn(f"{recovered.what} of {recovered.source} was cut off earlier and is now {recovered.outcome}.")


@contextmanager
def _librarian(options: argparse.Namespace, named: Iterable[str] = ()) -> Iterator[Librarian]:
    """A Librarian for one command; whoever ``named`` files and folders to it says yes to them, this once."""
    surroundings = surroundings_of(options)
    # `Path.is_dir` raises for a name that is too long; what is wrong with a path is said where it is looked at.
    folders = [Path(path) if os.path.isdir(path) else Path(path).parent for path in named]  # noqa: PTH112
    librarian = Librarian(
        surroundings.model_copy(update={"allowed_roots": [*surroundings.allowed_roots, *folders]})
    )
    if Surroundings.remembered(surroundings.data_dir) is None:
        if options.models or options.library:
            surroundings.remember()
        elif not librarian.library.totals().models:
            warn("No models folder is known yet. Name yours once: --models DIR")
    try:
        yield librarian
    finally:
        librarian.close()


def _show(options: argparse.Namespace, record: BaseModel, human: Callable[[], None]) -> None:
    if options.json:
        print(record.model_dump_json(by_alias=True, indent=2))
    else:
        human()


def _status(options: argparse.Namespace) -> int:
    with _librarian(options) as librarian:
        report = librarian.status()

        def human() -> None:
            library = report.library
            say(f"Library   {library.root}")
            say(f"Models    {library.models:,} ({library.in_place:,} in place), {size(library.size_bytes)}")
            say(f"Network   {'offline' if report.network.offline else 'ready'}")
            for warning in report.warnings:
                say(f"Warning   {warning.message}")

        _show(options, report, human)
    return 0


def _search(options: argparse.Namespace) -> int:
    query = ModelQuery(q=" ".join(options.words), subtype=options.subtype or [], limit=options.limit)
    with _librarian(options) as librarian:
        result = librarian.models.search(query)

        def human() -> None:
            for model in result.models:
                facts = " · ".join(filter(None, (model.subtype, model.base_model, size(model.size_bytes))))
                say(model.model_id)
                say(f"    {model.official_name}  ({facts}){'  linked' if model.linked else ''}")
            if result.match == "any":
                warn("No model has all of these words; these have some.")
            elif result.match == "fuzzy":
                warn("No model is called so; these are called nearly so.")
            warn(f"{result.total:,} found in {result.query_time_ms:.1f} ms")

        _show(options, result, human)
    return 0


def _details(options: argparse.Namespace) -> int:
    with _librarian(options) as librarian:
        details = librarian.models.details(librarian.models.identify(options.model))

        def human() -> None:
            findings = details.pickle_scan
            if findings is not None:
                say(f"{'pickle':22} {_findings(findings)}")
            hidden = {
                "files",
                "links",
                "hashes",
                "pickle_scan",
                "preview_url",
                "preview_is_video",
                "can_show",
            }
            for name, value in details.model_dump(mode="json", exclude=hidden).items():
                if value not in (None, "", [], {}):
                    say(f"{name:22} {', '.join(map(str, value)) if isinstance(value, list) else value}")
            for file in details.files:
                say(f"{'file':22} {file.path}{'' if file.exists else '  (missing)'}")
            for link in details.links:
                say(f"{'link':22} {link.target}  ({link.state})")

        _show(options, details, human)
    return 0


def _inspect(options: argparse.Namespace) -> int:
    paths = [_full(path) for path in options.paths]
    with _librarian(options, paths) as librarian:
        inspection = librarian.imports.inspect(paths)

        def human() -> None:
            names = Counter(group.name for group in inspection.groups)
            for group in inspection.groups:
                name = group.name if names[group.name] == 1 or not group.files else group.files[0].path
                guess = group.guess
                told = (guess.subtype, guess.family, guess.precision) if guess else ()
                what = ", ".join(word for word in told if word and word != "unknown") or "unknown"
                known = f"  already here: {group.duplicate_of}" if group.duplicate_of else ""
                say(
                    f"{name}  ({size(group.size_bytes)}, {group.security_tier}): "
                    f"{group.problem or what + known}"
                )

        _show(options, inspection, human)
    return 0


def _import(options: argparse.Namespace) -> int:
    named = [_full(path) for path in options.paths]
    with _librarian(options, named) as librarian:
        _recover(librarian)
        found = librarian.imports.models_at(named)
        nameless = [paths for paths in found if not all(map(is_text, paths))]
        for paths in nameless:
            warn(f"librarian: {paths[0]} is no valid Unicode. Rename it, then import it.")
        items = [
            {
                "paths": paths,
                "mode": options.mode,
                "metadata": {"subtype": options.subtype} if options.subtype else {},
                "acknowledge_pickle": options.acknowledge_pickle,
            }
            for paths in found
            if paths not in nameless
        ]
        if not items:
            if not nameless:
                warn("librarian: There is no model here.")
            return 1
        request = ImportRequest.model_validate(
            {"items": items, "link": options.link, "delete_originals": options.delete_originals}
        )
        job = follow(librarian, librarian.imports.start(request), draws=not options.json)
        _look_into_pickles(librarian, job, options)

        def human() -> None:
            for item in job.items:
                say(f"{item.name}: {item.state}  {item.model_id or ''}  {item.message or ''}".rstrip())
                findings = librarian.models.details(item.model_id).pickle_scan if item.model_id else None
                if findings is not None:
                    say(f"    pickle: {_findings(findings)}")

        _show(options, job, human)
    return exit_status(job) or int(bool(nameless))


def _scan(options: argparse.Namespace) -> int:
    with _librarian(options) as librarian:
        _recover(librarian)
        kind: Literal["deep", "quick"] = "deep" if options.deep else "quick"
        job = follow(librarian, librarian.scans.start(kind), draws=not options.json)
        _look_into_pickles(librarian, job, options)

        def human() -> None:
            if job.result is None:
                return
            result = job.result
            counts = {
                "found": result.get("models_found"),
                "new or changed": result.get("models_indexed"),
                "gone": result.get("models_removed"),
                "skipped, files missing": result.get("models_skipped_missing_files"),
            }
            say(", ".join(f"{count:,} {what}" for what, count in counts.items() if count) or "0 found")
            for error in result.get("errors", ()):
                warn(f"  {error}")

        _show(options, job, human)
    return exit_status(job)


def _look_into_pickles(librarian: Librarian, done: Job, options: argparse.Namespace) -> None:
    """What runs in the background elsewhere is waited for here: this process ends with its command."""
    looking = librarian.pickles.scan_in_background()
    if looking is not None and done.state == "done":
        follow(librarian, looking, draws=not options.json)


def _findings(scan: PickleScan) -> str:
    names = [f"{found.module}.{found.name}" for found in scan.globals if found.severity == scan.state]
    what = scan.message or ", ".join(names[:5]) + (", …" if len(names) > 5 else "")
    return f"{scan.state.replace('_', ' ')}{f': {what}' if what and scan.state != 'clean' else ''}"


def _lookup(options: argparse.Namespace) -> int:
    with _librarian(options) as librarian:
        by_id = librarian.library.index.contains(options.model)
        result = librarian.lookups.find(
            **({"model_id": options.model} if by_id else {"filename": options.model})
        )

        def human() -> None:
            for candidate in result.candidates:
                sure = f"{candidate.match_method}, {candidate.match_confidence:.0%}"
                bytes_ = ", other bytes" if candidate.hash_mismatch else ""
                name = candidate.repo_id if candidate.provider == "huggingface" else candidate.official_name
                say(f"{candidate.provider:<12} {name}  {candidate.file_name or ''}  ({sure}{bytes_})")
                say(f"{'':<12} {candidate.page_url}")
            for problem in result.problems:
                warn(f"{problem.provider}: {problem.message}")
            if result.offline and result.found:
                warn("What is shown may be incomplete, or was remembered.")
            elif not result.found:
                warn("Nothing found.")

        _show(options, result, human)
    return 0 if result.found else 1


def _resolve(options: argparse.Namespace) -> int:
    path = Path(options.workflow)
    try:
        workflow = json.loads(path.read_bytes() if options.workflow != "-" else sys.stdin.buffer.read())
    except FileNotFoundError as error:
        raise NotFoundError(f"There is no file {path}. Give a workflow that ComfyUI saved.") from error
    except OSError as error:
        raise storage_error(error, path) from error
    except (ValueError, RecursionError) as error:
        raise InvalidRequestError(f"{path} is no JSON: {error}. Save the workflow from ComfyUI.") from error
    with _librarian(options) as librarian:
        results = librarian.workflows.resolve_workflow(workflow, options.app)
        if options.json:
            print(json.dumps({"results": [result.model_dump(mode="json") for result in results]}, indent=2))
        else:
            for result in results:
                what = {
                    "present": "",
                    "elsewhere": f"is there as {result.value}",
                    "in_library": f"is in the library as {result.model_id}; link it",
                    "downloadable": f"can be downloaded from {result.url}",
                    "unknown": "is not here",
                }[result.state]
                near = ", ".join(candidate.name for candidate in result.candidates)
                named = result.identity or f"{result.folder or '?'}/{result.name}"
                say(f"{result.state:<12} {named}  {what}".rstrip())
                if near:
                    say(f"{'':<12} perhaps: {near}")
    return 0 if all(result.state == "present" for result in results) else 1


def _duplicates(options: argparse.Namespace) -> int:
    if options.yes and not options.share:
        raise InvalidRequestError("--yes belongs to --share, which says what would be done.")
    status = 0
    with _librarian(options) as librarian:
        if librarian.library.usage.count_unhashed():
            job = follow(librarian, librarian.scans.hash_in_background(hurry=True), draws=not options.json)
            status = exit_status(job)
        if options.share:
            return _share(options, librarian) or status
        report = librarian.models.duplicates()

        def human() -> None:
            for group in report.groups:
                say(f"{size(group.bytes_to_win)} to win, {len(group.files)} × {size(group.size_bytes)}")
                for file in group.files:
                    say(f"    {file.path}")
            warn(f"{size(report.bytes_to_win)} to win in {counted(len(report.groups), 'group')}")
            if report.files_to_hash:
                warn(f"{counted(report.files_to_hash, 'file')} of equal size not compared")

        _show(options, report, human)
    return status


def _share(options: argparse.Namespace, librarian: Librarian) -> int:
    """Say what sharing would do; with ``--yes``, do it."""
    if not options.yes:
        plan = librarian.shares.preview(ShareRequest())
        _show(options, plan, lambda: say_sharing(plan))
        return 0
    _recover(librarian)
    job = follow(librarian, librarian.shares.start(ShareRequest(hard_links=True)), draws=not options.json)

    def human() -> None:
        for item in job.items:
            say(f"{item.state:<10} {item.name}" + (f"  {item.message}" if item.message else ""))
        result = job.result or {}
        for file in result.get("left", ()):
            warn(f"  left: {file['path']}: {file['reason']}")
        say(f"{size(result.get('bytes_freed', 0))} came free")

    _show(options, job, human)
    return exit_status(job)


def _storage(options: argparse.Namespace) -> int:
    with _librarian(options) as librarian:
        report = librarian.models.storage()

        def human() -> None:
            for title, shares in (
                ("Type", report.by_type),
                ("Family", report.by_family),
                ("Drive", report.by_drive),
            ):
                for share in shares:
                    say(
                        f"{title:8} {share.name:30} {counted(share.models, 'model'):>14} {size(share.size_bytes):>10}"
                    )
            warn(f"{size(report.size_bytes)} in all")

        _show(options, report, human)
    return 0


def _preview_links(options: argparse.Namespace) -> int:
    with _librarian(options) as librarian:
        plan = librarian.links.preview(options.app)
        _show(options, plan, lambda: say_plan(plan))
    return 0


def _apply_links(options: argparse.Namespace) -> int:
    with _librarian(options) as librarian:
        librarian.linker.recover()
        plan = librarian.links.preview(options.app)
        choice = LinkChoice(plan_id=plan.plan_id, default_resolution=options.conflicts)
        job = follow(librarian, librarian.links.apply(choice), draws=not options.json)

        def human() -> None:
            result = job.result or {}
            say(
                f"{counted(result.get('links_created', 0), 'link')} made, {result.get('links_removed', 0):,} removed"
            )
            for error in result.get("errors", ()):
                warn(f"  {error}")

        _show(options, job, human)
    return exit_status(job)


def _uninstall(options: argparse.Namespace) -> int:
    with _librarian(options) as librarian:
        librarian.linker.recover()
        if options.app:
            results = {options.app: librarian.links.uninstall(options.app)}
        else:
            results = librarian.links.uninstall_all()
        report = UninstallReport(apps=results)

        def human() -> None:
            for app, result in results.items():
                say(f"{app or 'outside all apps'}: {counted(result.links_removed, 'link')} removed")
                for target in result.unreachable:
                    warn(f"  {target} cannot be reached and stays known")
                for error in result.errors:
                    warn(f"  {error}")

        _show(options, report, human)
    return 1 if any(result.errors for result in results.values()) else 0


def _health(options: argparse.Namespace) -> int:
    choice = CleanChoice.model_validate(dict.fromkeys(options.clean or (), True))
    with _librarian(options) as librarian:
        librarian.linker.recover()
        cleaned = librarian.links.clean(choice) if options.clean else None
        report = librarian.links.health()

        def human() -> None:
            if cleaned is not None:
                counts = cleaned.model_dump(exclude={"errors"})
                say(
                    ", ".join(f"{count} {name} cleaned" for name, count in counts.items() if count) or "clean"
                )
                for error in cleaned.errors:
                    warn(f"  {error}")
            say(report.status)
            for title, links in (
                ("broken", report.broken_links),
                ("missing", report.missing_files),
                ("changed by others", report.changed_links),
                ("not registered", report.orphaned_links),
                ("broken, made by others", report.others_broken),
                ("cannot be reached", report.unreachable),
            ):
                for link in links:
                    say(f"{title:24} {link.target}")
            for ghost in report.ghost_apps:
                say(f"{'app that is gone':24} {ghost.app}: {ghost.root} ({counted(ghost.links, 'link')})")

        _show(options, report, human)
    return 1 if report.status == "errors" else 0


def _repair(options: argparse.Namespace) -> int:
    with _librarian(options) as librarian:
        librarian.linker.recover()
        job = follow(librarian, librarian.links.repair(), draws=not options.json)
        result = job.result or {}

        def human() -> None:
            say(f"{counted(result.get('repaired', 0), 'link')} repaired")
            for change in result.get("failed", ()):
                warn(f"  {change['target']}: {change['problem']}")

        _show(options, job, human)
    return exit_status(job) or int(bool(result.get("failed")))


def _relocate(options: argparse.Namespace) -> int:
    request = RelocateRequest(
        old_prefix=_full(options.old), new_prefix=_full(options.new), dry_run=options.dry_run
    )
    with _librarian(options) as librarian:
        librarian.linker.recover()
        result = librarian.links.relocate(request)

        def human() -> None:
            for change in result.links:
                say(f"{change.target} -> {change.source}")
            say(f"{counted(result.updated, 'link')} {'would be ' if result.dry_run else ''}changed")
            for change in result.failed:
                warn(f"  {change.problem}")

        _show(options, result, human)
    return 1 if result.failed else 0


class UninstallReport(BaseModel):
    """What became of each app's links."""

    apps: dict[str, SyncResult]


def _serve(options: argparse.Namespace) -> int:
    from .standalone import serve

    surroundings = surroundings_of(options)
    logging.getLogger().setLevel(logging.INFO)
    logging.getLogger("httpx").setLevel(logging.WARNING)
    logging.getLogger("aiohttp.access").setLevel(logging.WARNING)
    try:
        asyncio.run(serve(surroundings, options.host, options.port))
    except OSError as error:
        warn(f"librarian: cannot serve at {options.host}:{options.port}: {error.strerror or error}")
        return 1
    return 0


def _full(path: str) -> str:
    return os.path.abspath(Path(path).expanduser())


def _number(least: int, most: int) -> Callable[[str], int]:
    """A whole number within bounds, as an argument."""

    def parse(text: str) -> int:
        if not text.isdecimal() or not least <= int(text) <= most:
            raise argparse.ArgumentTypeError(f"{text!r} is no whole number from {least} to {most}")
        return int(text)

    return parse


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="librarian", description="One library for all the models you own.")
    parser.add_argument("--version", action="version", version=VERSION)
    commands = parser.add_subparsers(metavar="command", required=True)
    places = argparse.ArgumentParser(add_help=False)
    places.add_argument(
        "--home", metavar="DIR", help="folder with this machine's index and settings (LIBRARIAN_HOME)"
    )
    places.add_argument("--library", metavar="DIR", help="the library's folder")
    places.add_argument(
        "--models", metavar="DIR", action="append", help="a ComfyUI-like models folder; may be repeated"
    )
    places.add_argument(
        "--allow", metavar="DIR", action="append", help="a further folder to import from; may be repeated"
    )
    common = argparse.ArgumentParser(add_help=False, parents=[places])
    common.add_argument("--json", action="store_true", help="print JSON")

    def command(
        name: str, run: Callable[[argparse.Namespace], int], help_text: str, **more: Any
    ) -> argparse.ArgumentParser:
        made: argparse.ArgumentParser = commands.add_parser(
            name, help=help_text, description=help_text, parents=[more.pop("parent", common)]
        )
        made.set_defaults(run=run)
        return made

    command("status", _status, "say how the library does")
    search = command("search", _search, "find models")
    search.add_argument("words", nargs="*")
    search.add_argument("--subtype", action="append", help="only this kind, such as loras; may be repeated")
    search.add_argument("--limit", type=_number(1, 500), default=20, metavar="1-500")
    show = command("show", _details, "show everything known of one model")
    show.add_argument("model", help="a model id, a hash or a file name")
    inspect = command("inspect", _inspect, "say what files are")
    inspect.add_argument("paths", nargs="+")
    importing = command("import", _import, "bring files into the library")
    importing.add_argument("paths", nargs="+")
    importing.add_argument(
        "--mode",
        choices=get_args(ImportMode),
        default="auto",
        help="auto shares bytes where the filesystem can, else copies; adopt moves and leaves a link",
    )
    importing.add_argument(
        "--delete-originals",
        action="store_true",
        help="what was copied goes to the trash, once it is verified",
    )
    importing.add_argument("--subtype", help="what they are, such as loras, where their header does not tell")
    importing.add_argument(
        "--acknowledge-pickle", action="store_true", help="I trust these pickles; they can run code"
    )
    importing.add_argument("--link", action="store_true", help="link the new models into the apps")
    scan = command("scan", _scan, "bring the index in step with the disk")
    scan.add_argument("--deep", action="store_true", help="read all metadata again")
    lookup = command("lookup", _lookup, "ask Hugging Face and Civitai what a model or file is")
    lookup.add_argument("model", help="a model id or a file name")
    resolve = command("resolve", _resolve, "say where the models are that a workflow wants")
    resolve.add_argument(
        "workflow", metavar="WORKFLOW.json", help="as ComfyUI saves or exports it; - for the input"
    )
    resolve.add_argument("--app", help="for this app rather than the first")
    duplicates = command("duplicates", _duplicates, "list files with the same bytes")
    duplicates.add_argument(
        "--share", action="store_true", help="say what storing equal files of the library once would do"
    )
    duplicates.add_argument(
        "--yes", action="store_true", help="do it: as clones, and where those cannot be, as hard links"
    )
    command("storage", _storage, "say what takes the room")
    links = commands.add_parser(
        "links",
        help="preview, apply, repair or relocate links",
        description="preview, apply, repair or relocate links",
    )
    actions = links.add_subparsers(metavar="action", required=True)
    for name, run, help_text in (
        ("preview", _preview_links, "say what would be linked"),
        ("apply", _apply_links, "link"),
    ):
        action = actions.add_parser(name, help=help_text, description=help_text, parents=[common])
        action.set_defaults(run=run)
        action.add_argument("--app", help="only this app")
        if name == "apply":
            action.add_argument("--conflicts", choices=("skip", "overwrite", "rename"), default="skip")
    repair = actions.add_parser(
        "repair", help="find the files of broken links by hash", description="repair links", parents=[common]
    )
    repair.set_defaults(run=_repair)
    relocate = actions.add_parser(
        "relocate",
        help="let links follow a folder to its new place",
        description="relocate",
        parents=[common],
    )
    relocate.set_defaults(run=_relocate)
    relocate.add_argument("old", help="where the folder was, such as /media/usb")
    relocate.add_argument("new", help="where it is now")
    relocate.add_argument("--dry-run", action="store_true", help="only say what would change")
    health = command("health", _health, "say how the links do")
    health.add_argument(
        "--clean",
        action="append",
        choices=("broken", "orphaned", "missing", "ghosts"),
        help="may be repeated",
    )
    uninstall = command("uninstall", _uninstall, "remove the links that Librarian made, and nothing else")
    uninstall.add_argument("--app", help="only this app")
    serving = command("serve", _serve, "run the standalone server", parent=places)
    serving.add_argument("--host", default="127.0.0.1")
    serving.add_argument("--port", type=_number(0, 65535), default=8190, metavar="0-65535")
    return parser
