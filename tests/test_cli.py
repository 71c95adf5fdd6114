"""The terminal door, as a person or a script meets it."""

from __future__ import annotations

import json
import os
import pickle
import shutil
import signal
import subprocess
import sys
import time
import urllib.request
import zipfile

import pytest

from model_librarian.cli import main
from model_librarian.core.importing.journal import Journal
from model_librarian.core.jobs import Job, JobProgress, JobRunner
from model_librarian.core.library import Library
from model_librarian.terminal import ProgressBar, duration

from .fake_hosts import FakeHosts, serving


class Touching:
    """Unpickling it would make a file."""

    def __init__(self, path: str) -> None:
        self.path = path

    def __reduce__(self):
        return os.system, (f"touch '{self.path}'",)


@pytest.fixture
def librarian_command(tmp_path, models_folder, downloads, capsys):
    """Run ``librarian …`` in this process; answers exit status and output."""
    places = ["--home", str(tmp_path / "data"), "--models", str(models_folder), "--allow", str(downloads)]

    def run(*arguments: str) -> tuple[int, str]:
        status = main([*arguments, *places])
        captured = capsys.readouterr()
        return status, captured.out + captured.err

    return run


def test_the_whole_road(librarian_command, make_model, downloads, models_folder):
    source = make_model(downloads / "RealESRGAN_x4plus.safetensors")
    make_model(models_folder / "vae" / "ae.safetensors")
    assert librarian_command("scan")[0] == 0
    status, output = librarian_command("inspect", str(source))
    assert (status, "upscale_models" in output) == (0, True)
    status, output = librarian_command("import", str(source), "--mode", "move")
    assert (status, "vision/esrgan/RealESRGAN_x4plus" in output) == (0, True)
    status, output = librarian_command("search", "realesrgan")
    assert (status, "1 found" in output) == (0, True)
    status, output = librarian_command("links", "preview")
    assert (status, "1 to make" in output) == (0, True)
    status, output = librarian_command("links", "apply")
    assert (status, "1 link made" in output) == (0, True)
    assert (models_folder / "upscale_models" / source.name).is_symlink()
    status, output = librarian_command("uninstall")
    assert (status, output) == (0, "comfyui: 1 link removed\n")
    assert not (models_folder / "upscale_models" / source.name).is_symlink()
    librarian_command("links", "apply")
    status, output = librarian_command("status", "--json")
    assert (status, json.loads(output)["library"]["models"]) == (0, 2)
    status, output = librarian_command("show", "vision/esrgan/RealESRGAN_x4plus", "--json")
    assert json.loads(output)["links"][0]["state"] == "ok"


@pytest.mark.parametrize(
    ("command", "names"),
    [
        ("links preview", {"plan_id", "to_create", "conflicts", "total_actions"}),
        ("links apply", {"state", "result"}),
        ("links apply --app comfyui --conflicts rename", {"state", "result"}),
        ("links repair", {"state", "result"}),
        ("links relocate /media/usb /media/disk --dry-run", {"updated", "links", "dry_run"}),
        (
            "health",
            {"status", "broken_links", "orphaned_links", "ghost_apps", "missing_files", "total_issues"},
        ),
        ("health --clean broken --clean orphaned --clean missing --clean ghosts", {"status"}),
        ("uninstall", {"apps"}),
        ("uninstall --app comfyui", {"apps"}),
    ],
)
def test_whatever_is_done_with_links_can_be_read_by_a_program(
    librarian_command, make_model, downloads, command, names
):
    librarian_command("import", str(make_model(downloads / "up.safetensors")), "--link")
    status, output = librarian_command(*command.split(), "--json")
    assert status == 0
    assert names <= json.loads(output).keys()


def test_what_is_named_may_be_read_wherever_it_lies(librarian_command, make_model, tmp_path):
    first, _ = (make_model(tmp_path / "elsewhere" / name) for name in ("a.safetensors", "b.safetensors"))
    assert librarian_command("inspect", str(first))[0] == 0
    assert librarian_command("import", str(first))[0] == 0
    status, output = librarian_command("import", str(tmp_path / "elsewhere"))
    assert (status, "library already" in output, "b.safetensors: done" in output) == (0, True, True)


def test_a_path_that_is_too_long_is_said_to_be_wrong(librarian_command, tmp_path):
    status, output = librarian_command("inspect", str(tmp_path / ("a" * 5000)))
    assert status == 1
    assert "[Errno" not in output


def test_json_and_exit_statuses(librarian_command, downloads, make_torch_zip):
    status, output = librarian_command("search", "nothing", "--json")
    assert (status, json.loads(output)["total"]) == (0, 0)
    status, output = librarian_command("import", str(make_torch_zip(downloads / "u.pth")), "--json")
    assert (status, json.loads(output)["code"]) == (1, "pickle_not_acknowledged")
    (downloads / "link.safetensors").symlink_to("/etc/hostname")
    status, output = librarian_command("import", str(downloads / "link.safetensors"))
    assert status == 1
    assert "outside the folders" in output
    status, output = librarian_command("show", "none")
    assert (status, output.count("\n")) == (1, 1)
    with pytest.raises(SystemExit) as usage:
        librarian_command("no-such-command")
    assert usage.value.code == 2


def test_a_server_s_places_are_remembered(tmp_path, surroundings, models_folder, make_model, capsys):
    from model_librarian.core.librarian import Librarian

    server = Librarian(surroundings)
    server.start()
    server.close()
    make_model(models_folder / "vae" / "ae.safetensors")
    assert main(["scan", "--home", str(surroundings.data_dir)]) == 0
    assert main(["search", "ae", "--home", str(surroundings.data_dir)]) == 0
    assert "in-place/ae" in capsys.readouterr().out


def test_the_first_places_that_a_command_names_are_remembered(tmp_path, models_folder, make_model, capsys):
    make_model(models_folder / "vae" / "ae.safetensors")
    home = ["--home", str(tmp_path / "home")]
    assert main(["status", *home]) == 0
    assert "--models DIR" in capsys.readouterr().err
    assert main(["scan", *home, "--models", str(models_folder)]) == 0
    assert main(["search", "ae", *home]) == 0
    assert "in-place/ae" in capsys.readouterr().out
    assert main(["status", *home, "--models", str(tmp_path / "others")]) == 0
    assert main(["search", *home]) == 0
    assert "in-place/ae" in capsys.readouterr().out


def test_it_says_that_names_are_only_near(librarian_command, make_model, models_folder):
    make_model(models_folder / "vae" / "juggernaut.safetensors")
    librarian_command("scan")
    assert "nearly so" in librarian_command("search", "juggernot")[1]
    assert "nearly so" not in librarian_command("search", "juggernaut")[1]


def test_ctrl_c_cancels_and_says_so(librarian_command, make_model, models_folder, monkeypatch):
    """Sent while the command waits for its job."""
    for name in "ab":
        make_model(models_folder / "vae" / f"{name}.safetensors")
    monkeypatch.setattr(Library, "hash_of", hash_until_cancelled)
    librarian_command("scan")
    wait, interrupted = JobRunner.wait, []

    def interrupt(jobs, job_id, timeout=None):
        if not interrupted:
            interrupted.append(jobs.get(job_id).kind)
            raise KeyboardInterrupt
        return wait(jobs, job_id, timeout)

    monkeypatch.setattr(JobRunner, "wait", interrupt)
    status, output = librarian_command("duplicates")
    assert (status, interrupted) == (130, ["hash"])
    assert "Cancelled" in output
    assert "2 files of equal size not compared" in output


def test_equal_files_of_the_library_are_shared_once_that_was_said(
    librarian_command, make_model, downloads, surroundings
):
    librarian_command("import", str(make_model(downloads / "up.safetensors")))
    folder = surroundings.library_root / "vision" / "esrgan" / "up"
    shutil.copytree(folder, folder.with_name("up2"))
    one, other = folder / "up.safetensors", folder.with_name("up2") / "up.safetensors"
    librarian_command("scan")
    status, output = librarian_command("duplicates", "--share")
    assert status == 0
    assert f"{other}  (1.7 KB)" in output
    assert "1.7 KB to win with 1 file" in output
    assert "add --yes" in output
    assert not one.samefile(other)
    status, output = librarian_command("duplicates", "--share", "--json")
    assert (status, json.loads(output)["files"][0]["path"]) == (0, str(other))
    status, output = librarian_command("duplicates", "--share", "--yes")
    assert (status, "1.7 KB came free" in output) == (0, True)
    assert one.read_bytes() == other.read_bytes()
    status, output = librarian_command("duplicates", "--share", "--yes", "--json")
    assert (status, json.loads(output)["result"]["shared"]) == (0, 0)
    status, output = librarian_command("duplicates", "--yes")
    assert (status, "--share" in output) == (1, True)


def hash_until_cancelled(_library, _model_id, told):
    while True:
        told(0, 1)
        time.sleep(0.001)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_serve_prints_its_address_and_ends_cleanly(tmp_path, models_folder, number):
    server = subprocess.Popen(
        [sys.executable, "-m", "model_librarian", "serve", "--port", "0", "--models", str(models_folder)],
        env={**os.environ, "LIBRARIAN_HOME": str(tmp_path / "home")},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        line = server.stdout.readline()
        address = line.split()[-1]
        assert address.startswith("http://127.0.0.1:")
        with urllib.request.urlopen(f"{address}librarian/status", timeout=10) as answer:
            assert json.load(answer)["version"]
        with urllib.request.urlopen(address, timeout=10) as answer:
            assert b"<html" in answer.read()
        server.send_signal(number)
        out, errors = server.communicate(timeout=20)
    finally:
        server.kill()
    assert (server.returncode, out, errors) == (0, "", "")


def test_lookup_shows_what_both_hosts_know(librarian_command, make_model, downloads, monkeypatch):
    path = make_model(downloads / "flux-realism.safetensors")
    status, output = librarian_command("import", str(path), "--json")
    model_id = json.loads(output)["result"]["imported"][0]
    with serving(FakeHosts()) as hosts:
        for name, value in hosts.environment.items():
            monkeypatch.setenv(name, value)
        hosts.publish("someone/flux-realism", path.name, path.read_bytes())
        hosts.publish_version("fluxRealism_v1.safetensors", path.read_bytes())
        status, output = librarian_command("lookup", model_id)
        assert status == 0
        assert "huggingface  someone/flux-realism  flux-realism.safetensors  (hash, 100%)" in output
        assert "civitai      fluxRealism_v1 - v1  fluxRealism_v1.safetensors  (hash, 100%)" in output
        assert f"{hosts.civitai_url}/models/827184?modelVersionId=2514310" in output
        hosts.status = 403
        status, output = librarian_command("lookup", "other-name.safetensors")
        assert status == 1
        assert "Accept the model's licence" in output
    status, output = librarian_command("lookup", "other-name.safetensors")
    assert status == 1
    assert "huggingface: 127.0.0.1" in output


def test_a_folder_is_imported_model_by_model(librarian_command, make_model, downloads):
    make_model(downloads / "many" / "one.safetensors")
    for number in (1, 2):
        make_model(downloads / "many" / f"set-0000{number}-of-00002.safetensors")
    status, output = librarian_command("import", str(downloads / "many"), "--json")
    assert status == 0, output
    assert len(json.loads(output)["result"]["imported"]) == 2


@pytest.mark.skipif(sys.platform != "linux", reason="names are bytes on Linux")
@pytest.mark.parametrize("named", [True, False])
def test_names_that_are_no_text_are_told_and_the_others_come(
    librarian_command, make_model, downloads, named, capsys
):
    good = make_model(downloads / "good.safetensors")
    bad = downloads / os.fsdecode(b"caf\xe9.safetensors")
    bad.write_bytes(make_model(downloads / "else.safetensors").read_bytes())
    (downloads / "else.safetensors").unlink()
    status, output = librarian_command("import", str(bad if named else downloads))
    assert status == 1
    assert ("done" in output) != named
    assert good.exists()
    assert bad.exists()


def test_health_repair_relocation_and_clean_uninstall(
    librarian_command, make_model, downloads, models_folder
):
    source = make_model(downloads / "up.safetensors")
    librarian_command("import", str(source), "--link")
    place = models_folder / "upscale_models" / "up.safetensors"
    assert librarian_command("health") == (0, "healthy\n")
    library = models_folder.parent / "model-library"
    text = os.path.realpath(place)
    place.unlink()
    place.symlink_to(text.replace(str(library), "/media/usb"))

    status, output = librarian_command("links", "relocate", "/media/usb", str(library), "--dry-run")
    assert (status, "1 link would be changed" in output) == (0, True)
    assert not place.exists()
    status, output = librarian_command("links", "relocate", "/media/usb", str(library), "--json")
    assert (status, json.loads(output)["updated"]) == (0, 1)
    assert place.is_file()

    os.unlink(text)
    status, output = librarian_command("health", "--json")
    assert (status, json.loads(output)["status"]) == (1, "errors")
    status, output = librarian_command("links", "repair")
    assert (status, "0 links repaired" in output, str(place) in output) == (1, True, True)
    status, output = librarian_command("health", "--clean", "broken")
    assert (status, output) == (0, "1 broken cleaned\nhealthy\n")
    assert not place.is_symlink()
    assert librarian_command("uninstall", "--app", "no-such-app")[0] == 1


def test_what_is_missing_or_wrong_is_said_when_files_are_inspected(librarian_command, make_model, downloads):
    for number in (1, 3):
        make_model(downloads / f"set-0000{number}-of-00003.safetensors")
    whole = make_model(downloads / "whole.safetensors").read_bytes()
    (downloads / "cut.safetensors").write_bytes(whole[:-100])
    status, output = librarian_command("inspect", str(downloads))
    lines = {line.partition("  ")[0]: line for line in output.splitlines()}
    assert status == 0
    assert "part 2 of 3 is missing" in lines["set.safetensors"]
    assert "cut.safetensors: The file has" in lines["cut.safetensors"]
    assert "upscale_models, esrgan, fp16" in lines["whole.safetensors"]


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such names")
def test_names_cannot_talk_to_the_terminal(librarian_command, make_model, downloads, models_folder):
    name = "red\x1b[31m\nline \u202egnp.\U0001f469\u200d\U0001f680 שלום\u3000写"
    make_model(models_folder / "loras" / f"{name}.safetensors")
    librarian_command("scan")
    _, output = librarian_command("search", "red")
    assert "    red\\x1b[31m\\nline \\u202egnp.\U0001f469\u200d\U0001f680 שלום\u3000写  (" in output
    assert not {"\x1b", "\u202e"} & set(output)


def test_a_model_is_shown_by_its_name_and_its_hash_and_near_names_are_offered(
    librarian_command, make_model, models_folder
):
    make_model(models_folder / "vae" / "ae.safetensors")
    librarian_command("scan")
    for reference in ("ae.safetensors", "ae"):
        status, output = librarian_command("show", reference)
        assert (status, str(models_folder / "vae" / "ae.safetensors") in output) == (0, True)
    status, output = librarian_command("show", "aee")
    assert (status, "The nearest are: in-place/ae-" in output) == (1, True)


def test_models_of_one_name_are_told_apart_when_they_are_inspected(librarian_command, make_model, downloads):
    paths = [make_model(downloads / folder / "model.safetensors") for folder in ("a", "b")]
    output = librarian_command("inspect", str(downloads))[1]
    assert [line.partition("  ")[0] for line in output.splitlines()] == [str(path) for path in paths]


def test_pickles_are_looked_into_before_an_import_ends(
    librarian_command, downloads, make_torch_zip, tmp_path
):
    """A command has no background: it waits, and says what would run."""
    make_torch_zip(downloads / "good.pth")
    mark = tmp_path / "it ran"
    with zipfile.ZipFile(downloads / "evil.pth", "w") as archive:
        archive.writestr("archive/data.pkl", pickle.dumps(Touching(str(mark))))
    status, output = librarian_command("import", str(downloads), "--acknowledge-pickle")
    assert status == 0
    lines = output.splitlines()
    evil = next(number for number, line in enumerate(lines) if line.startswith("evil.pth: done"))
    good = next(number for number, line in enumerate(lines) if line.startswith("good.pth: done"))
    assert "pickle: dangerous: posix.system" in lines[evil + 1] or "nt.system" in lines[evil + 1]
    assert lines[good + 1] == "    pickle: clean"
    assert "pickle                 dangerous: " in librarian_command("show", "evil.pth")[1]
    assert not mark.exists()


def test_pickles_in_an_app_are_looked_into_before_a_scan_ends(
    librarian_command, models_folder, make_torch_zip
):
    make_torch_zip(models_folder / "upscale_models" / "good.pth")
    assert librarian_command("scan")[0] == 0
    assert "pickle                 clean" in librarian_command("show", "good.pth")[1]


def test_a_number_out_of_bounds_says_the_bounds_only(librarian_command, capsys):
    for arguments in (["search", "--limit", "0"], ["search", "--limit", "x"], ["serve", "--port", "65536"]):
        with pytest.raises(SystemExit) as ended:
            main(arguments)
        assert ended.value.code == 2
        error = capsys.readouterr().err
        assert "is no whole number from" in error
        assert len(error) < 600


def test_what_failed_is_said_once(librarian_command, make_model, downloads, monkeypatch):
    path = make_model(downloads / "a.safetensors")
    monkeypatch.setattr("model_librarian.core.importing.transfer.clone", lambda *_: False)
    status, output = librarian_command("import", str(path), "--mode", "reflink")
    assert (status, output.count("Copy it instead")) == (1, 1)


def test_a_workflow_that_is_not_there_is_said_in_words(librarian_command, tmp_path):
    status, output = librarian_command("resolve", str(tmp_path / "gone.json"))
    assert (status, output.startswith("librarian: There is no file")) == (1, True)


def test_the_models_of_our_own_nodes_are_resolved_too(librarian_command, make_model, downloads, tmp_path):
    _, output = librarian_command("import", str(make_model(downloads / "nice.safetensors")), "--json")
    [model_id] = json.loads(output)["result"]["imported"]
    nodes = {
        "1": {"class_type": "LibrarianLoadUpscaleModel", "inputs": {"model_id": model_id}},
        "2": {
            "class_type": "LibrarianLoadLora",
            "inputs": {"model_id": "not/here/at-all", "model": ["1", 0]},
        },
    }
    workflow = tmp_path / "workflow.json"
    workflow.write_text(json.dumps(nodes))
    status, output = librarian_command("resolve", str(workflow))
    assert status == 1
    assert [line.split()[:2] for line in output.splitlines() if "perhaps" not in line] == [
        ["present", model_id],
        ["unknown", "not/here/at-all"],
    ]


def test_an_import_that_was_cut_off_is_told_by_the_next(
    librarian_command, make_model, downloads, tmp_path, monkeypatch
):
    def cut_off(*_: object) -> None:
        raise OSError(5, "cut off")

    first, second = (make_model(downloads / f"{name}.safetensors") for name in ("first", "second"))
    monkeypatch.setattr(Journal, "_close", lambda _, staging: staging.lock.release())  # as a kill would
    monkeypatch.setattr(Journal, "place", cut_off)
    assert librarian_command("import", str(first))[0] == 1
    monkeypatch.undo()
    monkeypatch.setenv("LIBRARIAN_OFFLINE", "1")
    status, output = librarian_command("import", str(second))
    assert status == 0
    assert f"The import of {first} was cut off earlier and is now undone." in output
    assert "cut off" not in librarian_command("scan")[1]


def test_the_progress_bar_tells_amount_rate_and_time_left(capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "200")
    progress = JobProgress(current=1_500_000_000, total=6_000_000_000, unit="bytes", rate=3e7, eta_s=150.0)
    bar = ProgressBar()
    bar.draw(Job(id="x", kind="import", stage="import", progress=progress))
    line = capsys.readouterr().err
    assert "25%  1.5 GB of 6.0 GB, 30.0 MB/s, 2 min left" in line
    monkeypatch.setenv("COLUMNS", "40")
    bar.draw(
        Job(id="x", kind="scan", stage="headers", progress=JobProgress(current=1, total=1, unit="models"))
    )
    line = capsys.readouterr().err.strip("\r").removesuffix("\033[K")
    assert line.endswith("█ 100%  1 of 1 model")
    assert len(line) < 40
    monkeypatch.setenv("COLUMNS", "30")
    bar.draw(Job(id="x", kind="import", stage="import", progress=progress))
    assert capsys.readouterr().err.strip("\r").startswith("import      25%  1.5 GB of")


@pytest.mark.parametrize(
    ("seconds", "words"), [(4.4, "4 s"), (61, "1 min"), (3599, "1 h 0 min"), (7260, "2 h 1 min")]
)
def test_durations(seconds, words):
    assert duration(seconds) == words
