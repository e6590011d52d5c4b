"""Nothing from a user's file is executed, nothing is written elsewhere, nothing is fetched."""

import ast
import socket
from pathlib import Path

import pytest
from typer.testing import CliRunner

import cli
from crest.errors import CrestError
from crest.pipeline.paths import Paths
from stages import prepare, reuse, train
from tests.bad_input import png
from tests.tiny import digits_parameters

ROOT = Path(__file__).parents[1]
SOURCES = sorted(
    [ROOT / "cli.py", *(ROOT / "crest").rglob("*.py"), *(ROOT / "stages").rglob("*.py")]
)
EXECUTING_MODULES = {"pickle", "cPickle", "dill", "cloudpickle", "joblib", "marshal", "shelve"}
EXECUTING_CALLS = {
    "eval",
    "exec",
    "compile",
    "__import__",
    "torch.load",
    "torch.jit.load",
    "torch.hub.load",
    "yaml.load",
    "yaml.full_load",
    "yaml.unsafe_load",
    "os.system",
    "np.lib.format.read_array",
}
ELSEWHERE = ["../../x", "..", ".", "/etc/x", "a/b", "a\\..\\b/..", "", "~", "-x", "x\0y", "x\n"]


def calls(path: Path):
    """Every call of a source file, with its name as it is written."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Call):
            yield ast.unparse(node.func), node


def imports(path: Path) -> set[str]:
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            found.add((node.module or "").partition(".")[0])
    return found


def test_the_sources_are_found() -> None:
    assert len(SOURCES) > 50


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_no_source_file_executes_what_it_reads(path) -> None:
    assert not imports(path) & EXECUTING_MODULES
    for name, call in calls(path):
        options = {keyword.arg: ast.unparse(keyword.value) for keyword in call.keywords}
        whole = name != "torch.load" or options.get("weights_only") != "True"
        assert not whole or name not in EXECUTING_CALLS, f"line {call.lineno}: {name}"
        for keyword in call.keywords:
            given = f"{keyword.arg}={ast.unparse(keyword.value)}"
            assert given not in {"allow_pickle=True", "trust_remote_code=True", "shell=True"}, name
            assert given != "weights_only=False", name


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_numpy_files_are_loaded_without_pickle_and_yaml_safely(path) -> None:
    for name, call in calls(path):
        options = {keyword.arg: ast.unparse(keyword.value) for keyword in call.keywords}
        if name in {"np.load", "numpy.load"}:
            assert options.get("allow_pickle") == "False"
        if name == "Environment":
            assert options.get("autoescape") == "True"
        if name == "YAML":
            assert options.get("typ") == "'safe'" or path.name == "preset.py"


def test_a_preset_is_written_without_building_objects(tmp_path, monkeypatch) -> None:
    """Round-trip YAML, which keeps comments, keeps tags too; the file is checked before."""
    monkeypatch.chdir(tmp_path)
    text = "train: !!python/object/apply:os.mkdir [made]\n"
    Path("params.yaml").write_text(text)
    assert CliRunner().invoke(cli.app, ["preset", "digits"]).exit_code == 2
    assert Path("params.yaml").read_text() == text
    assert not Path("made").exists()


def everything(folder: Path) -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.fixture
def inside(project, tmp_path_factory):
    """A project and what lies around it."""
    around = tmp_path_factory.mktemp("around")
    (around / "x").write_text("not ours")
    inner = around / "one" / "two"
    inner.mkdir(parents=True)
    project.root.rename(inner / "project")
    return Paths(inner / "project"), around


@pytest.mark.parametrize("name", ELSEWHERE)
def test_no_name_makes_a_stage_write_elsewhere(inside, name, monkeypatch) -> None:
    paths, around = inside
    monkeypatch.chdir(paths.root)
    (paths.root / "params.yaml").write_text("{}\n")
    before = everything(around)
    quoted = "".join(f"\\x{ord(letter):02x}" for letter in name)
    commands = [
        ["train", "--method", name or " "],
        ["evaluate", "--method", name or " "],
        ["reuse", "--model", name or " "],
        ["train", "-S", f'run.methods=["{quoted}"]'],
        ["evaluate", "-S", f'run.methods=["{quoted}"]'],
        ["analyze", "-S", f'run.methods=["{quoted}"]'],
        ["report", "-S", f'run.methods=["{quoted}"]'],
        ["analyze", "-S", f'analyze.scores_from="{quoted}"'],
        ["reuse", "-S", f'reuse.models=["{quoted}"]'],
        # OWNER/NAME is a model's name, and one that has not been trained is left out of a report.
        *([["report", "-S", f'reuse.models=["{quoted}"]']] if name != "a/b" else []),
        ["train", "-S", f'train.model="{quoted}"'],
        ["preset", name or " "],
    ]
    for command in commands:
        result = CliRunner().invoke(cli.app, command)
        assert result.exit_code == 2, (command, result.output)
        assert everything(around) == before


@pytest.mark.parametrize("name", ELSEWHERE)
def test_no_path_leads_out_of_its_folder(name, tmp_path) -> None:
    paths = Paths(tmp_path)
    for place in (paths.train, paths.evaluate, paths.resume):
        with pytest.raises(CrestError, match="letters, digits"):
            place(name)


@pytest.mark.parametrize("name", ["bert", "/models/bert/", "../../bert", "./bert"])
def test_a_model_named_by_a_path_goes_by_its_last_part(name, tmp_path) -> None:
    assert Paths(tmp_path).reuse(name) == tmp_path / "artifacts" / "reuse" / "bert"


@pytest.mark.parametrize("name", ["owner/bert", "models/small/bert"])
def test_a_model_of_an_owner_keeps_the_owner(name, tmp_path) -> None:
    paths = Paths(tmp_path)
    assert paths.reuse(name) == tmp_path / "artifacts" / "reuse" / name
    assert paths.reuse_state(name).parent == paths.reuse_state("bert").parent
    assert paths.reuse_state(name) != paths.reuse_state("bert")


@pytest.mark.parametrize("name", ["..", "models/..", "/", "", "a/.b", "a/b c"])
def test_a_path_without_such_a_part_is_refused(name, tmp_path) -> None:
    with pytest.raises(CrestError, match="letters, digits"):
        Paths(tmp_path).reuse(name)


def test_sources_and_coresets_are_only_read(project, tmp_path_factory) -> None:
    """They may lie anywhere; nothing is written there."""
    elsewhere = tmp_path_factory.mktemp("elsewhere")
    (project.train("crest")).rename(elsewhere / "run")
    for split in ("train", "test"):
        for kind in ("ant", "bee"):
            folder = elsewhere / "images" / split / kind
            folder.mkdir(parents=True)
            for seed in range(4):
                (folder / f"{seed}.png").write_bytes(png(seed))
    before = everything(elsewhere)
    train.run(digits_parameters(replay={"coresets": str(elsewhere / "run")}), project, "replay")
    reuse.run(digits_parameters(), project, "convnet", elsewhere / "run")
    source = {"dataset": "folder", "source": str(elsewhere / "images"), "validation": 0.25}
    prepare.run(digits_parameters(prepare=source).prepare, project.prepared)
    assert everything(elsewhere) == before


@pytest.fixture
def offline(monkeypatch) -> None:
    """Fail whatever asks the network or a name server."""

    def refuse(*arguments: object, **options: object) -> None:
        pytest.fail(f"the network was asked: {arguments}")

    for name in ("connect", "connect_ex", "sendto"):
        monkeypatch.setattr(socket.socket, name, refuse)
    monkeypatch.setattr(socket, "create_connection", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)


@pytest.mark.usefixtures("offline")
def test_nothing_is_fetched_unless_a_remote_source_is_named(tmp_path) -> None:
    paths = Paths(tmp_path)
    parameters = digits_parameters()
    prepare.run(parameters.prepare, paths.prepared)
    train.run(parameters, paths, "random")
    reuse_model = digits_parameters(train={"model": "mobilenet_v3_small", "epochs": 0.1})
    with pytest.raises(CrestError):
        train.run(reuse_model, paths, "no such method")
    for kind in ("train/ant", "train/bee", "test/ant", "test/bee"):
        (tmp_path / "images" / kind).mkdir(parents=True)
        for seed in range(4):
            (tmp_path / "images" / kind / f"{seed}.png").write_bytes(png(seed))
    source = {"dataset": "folder", "source": str(tmp_path / "images"), "validation": 0.25}
    prepare.run(digits_parameters(prepare=source).prepare, paths.prepared)


@pytest.mark.usefixtures("offline")
def test_a_models_weights_are_drawn_and_not_fetched(digits) -> None:
    from crest.models import build

    build("resnet18", classes=10, image_shape=(32, 32, 3), stem="cifar", seed=0)
    build("mobilenet_v3_small", classes=10, image_shape=(32, 32, 3), stem="imagenet", seed=0)
