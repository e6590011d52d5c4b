"""The command line: what goes to stdout and to stderr, and with which exit code it ends."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from importlib.metadata import version
from pathlib import Path

import polars as pl
import pytest
import torch
import typer
import yaml
from typer.testing import CliRunner

import cli
from crest import artifacts
from crest.analysis import subset
from crest.config import parse
from crest.data.origins import Origin, source_of
from crest.data.prepared import load
from crest.errors import ParameterError
from crest.models import ModelSpec, build, weights
from crest.pipeline import commands, options, printing
from crest.samplers.saved import from_tables
from stages import prepare
from tests.tiny import CPU, digits_parameters

WITHOUT = ("difficulty", "keep", "mislabelled", "preset")  # parameters
REPOSITORY = Path(__file__).parents[1]
COMMANDS = (
    "fingerprint",
    "prepare",
    "train",
    "repeat",
    "select",
    "evaluate",
    "analyze",
    "difficulty",
    "mislabelled",
    "reuse",
    "export",
    "report",
    "keep",
    "doctor",
    "preset",
)


def write_params(folder):
    values = digits_parameters(run={"methods": ["random"]}).model_dump(mode="json")
    (folder / "params.yaml").write_text(yaml.safe_dump(values))


def invoke(*arguments):
    return CliRunner().invoke(cli.app, [str(argument) for argument in arguments])


def fails(code, *arguments):
    """Run a command that must fail; returns its message."""
    result = invoke(*arguments)
    assert result.exit_code == code, result.output
    assert result.stdout == ""
    assert result.stderr.startswith("error: ")
    assert len(result.stderr.splitlines()) == 1
    return result.stderr.removeprefix("error: ").strip()


def succeeds(*arguments):
    """Run a command that must succeed and say nothing on stderr; returns its output."""
    result = invoke(*arguments)
    assert result.exit_code == 0, result.output
    assert result.stderr == ""
    return result.stdout


def contents():
    """Every file of the project."""
    return {path: path.read_bytes() for path in Path().rglob("*") if path.is_file()}


@pytest.fixture
def empty(tmp_path, monkeypatch):
    """A project folder with parameters and nothing else."""
    write_params(tmp_path)
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def trained(project, monkeypatch):
    """A project folder with parameters, prepared data and runs."""
    write_params(project.root)
    monkeypatch.chdir(project.root)
    return project


def test_the_help_names_every_command_and_shows_an_example():
    result = invoke("--help")
    assert result.exit_code == 0
    assert "Example: python cli.py train --method crest" in result.stdout
    for command in COMMANDS:
        assert f"\n  {command} " in result.stdout


@pytest.mark.parametrize("command", COMMANDS)
def test_the_help_of_a_command_shows_an_example(command):
    result = invoke(command, "--help")
    assert result.exit_code == 0
    assert f"Example: python cli.py {command}" in result.stdout


def test_the_help_of_train_lists_the_parameters_that_matter_with_their_defaults():
    lines = invoke("train", "--help").stdout.splitlines()
    assert any(line.split()[:2] == ["train.lr", "0.1"] for line in lines)
    assert any(line.split()[:2] == ["run.track", "[]"] for line in lines)
    assert max(map(len, lines)) <= options.WIDTH + 2


def test_the_version_is_printed():
    assert invoke("--version").stdout == f"crest {version('crest-coresets')}\n"


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ("cli.py trai", ["train"]),
        ("cli.py train --method cre", ["crest"]),
        ("cli.py train -S train.lr", ["train.lr="]),
        ("cli.py preset digits-", ["digits-as-published"]),
        ("cli.py keep --by el", ["el2n"]),
    ],
)
def test_a_shell_completes_commands_and_names(words, expected, monkeypatch):
    monkeypatch.setenv("COMP_WORDS", words)
    monkeypatch.setenv("COMP_CWORD", str(len(words.split()) - 1))
    monkeypatch.setenv("_CLI_COMPLETE", "complete_bash")
    result = CliRunner().invoke(cli.app, [], prog_name="cli")
    assert result.stdout.split() == expected


def test_the_scores_of_keep_are_those_there_are():
    assert tuple(subset.SCORES) == options.SCORES


def test_keep_writes_a_file_and_says_how(trained):
    file = trained.root / "hardest.parquet"
    result = invoke(
        "keep", trained.train("full"), "--by", "mean_loss", "--share", 0.1, "--out", file
    )
    assert result.stdout == f"{file}\n"
    assert result.stderr.startswith(
        "These are the 130 of 1,297 examples with the highest mean loss"
    )
    assert pl.read_parquet(file)["mean_loss"].is_sorted(descending=True)
    assert fails(2, "keep", "--share", 0.1, "--out", "a.txt").startswith("keep: --out a.txt: name")
    assert fails(2, "keep", trained.train("full"), "--by", "loss", "--share", 0.1).startswith(
        "keep: --by: 'loss' is not one of forgotten, mean_loss"
    )


def test_the_doctor_speaks_to_people_and_to_machines(empty):
    printed = succeeds("doctor")
    assert "no prepared data here; run `python cli.py prepare` first" in printed
    found = json.loads(succeeds("doctor", "--json"))
    assert found.keys() == {"installed", "extras", "machine", "project"}
    assert found["installed"]["torch"] == version("torch")


def test_a_preset_is_printed_as_parameters_and_nothing_is_written(empty):
    before = contents()
    printed = succeeds("preset", "digits", "--show")
    assert parse(yaml.safe_load(printed), "printed").train.model == "convnet"
    assert contents() == before
    assert "preset NAME --show" in fails(2, "preset", "--show")


def test_no_command_at_all_shows_the_help():
    result = invoke()
    assert result.exit_code == 2
    assert "Example: python cli.py" in result.output


@pytest.mark.parametrize(
    "arguments",
    [
        ("fly",),
        ("train", "--speed", "9"),
        ("train", "crest"),
        ("train", "-S"),
        ("select",),
        ("select", "--checkpoint", "m", "--json", "--minibatches", "0"),
        ("select", "--checkpoint", "m", "--json", "--minibatches", "many"),
    ],
)
def test_a_misused_command_says_what_is_wrong(empty, arguments):
    before = contents()
    result = invoke(*arguments)
    assert result.exit_code == 2
    assert result.stdout == ""
    assert "Error: " in result.stderr
    assert contents() == before


@pytest.mark.parametrize("command", [name for name in COMMANDS if name not in WITHOUT])
@pytest.mark.parametrize(
    ("override", "expected"),
    [
        ("train.lr=fast", "params.yaml with -S: train.lr: must be a number, got 'fast'"),
        ("trian.lr=1", "params.yaml with -S: trian: unknown key; did you mean 'train'?"),
        ("lr=1", "-S lr=1: write it as section.key=value, e.g. train.budget=0.2"),
    ],
)
def test_a_bad_parameter_is_named_by_every_command(trained, command, override, expected):
    before = contents()
    needed = {"select": ("--checkpoint", "m", "--json"), "export": ("--out", "c.csv")}
    assert fails(2, command, *needed.get(command, ()), "-S", override) == expected
    assert contents() == before


ODD = ("", "-", "..", "/dev/zero", "x" * 5000, "\x1b[31mred", "a\nb", "~nobody/x", "{a}", "9" * 40)
GIVEN = {
    "select": {"--checkpoint": "m.safetensors", "--json": None},
    "export": {"--out": "exported"},
    "preset": {"name": "digits"},
}


def with_odd_values():
    """Every option and argument of every command, each with every odd value."""
    for name, command in typer.main.get_command(cli.app).commands.items():
        for parameter in command.params:
            option = parameter.opts[0]
            if option == "--help" or getattr(parameter, "is_flag", False):
                continue
            others = {key: value for key, value in GIVEN.get(name, {}).items() if key != option}
            rest = [
                part
                for key, value in others.items()
                for part in ([key] if key.startswith("-") else []) + ([value] if value else [])
            ]
            yield name, option if option.startswith("-") else None, rest


@pytest.mark.parametrize(("command", "option", "rest"), list(with_odd_values()))
def test_an_odd_value_ends_in_a_message(empty, command, option, rest):
    for value in ODD:
        result = invoke(command, *rest, *([option] if option else []), value)
        assert isinstance(result.exception, SystemExit | None), (value, result.exception)
        assert result.exit_code in (0, 1, 2), (value, result.output)
        assert "\x1b" not in result.output
        assert "Traceback" not in result.output
        assert result.exit_code == 0 or result.stderr


def test_fingerprint_says_what_the_inputs_hold(empty):
    first = succeeds("fingerprint")
    assert first.startswith("source: digits: sklearn, 1 files, ")
    before = contents()
    assert succeeds("fingerprint") == first
    assert {path for path in contents() if path.name != ".hashes.json"} <= set(before)
    assert Path("data/fingerprint/source.json") in before


def test_a_missing_parameter_file_says_what_to_do(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    message = fails(2, "train")
    assert message.startswith("params.yaml: no such parameter file; run in the project folder")
    assert fails(2, "train", "--params", "mine.yaml").startswith("mine.yaml: no such")


def test_several_faults_have_a_line_each(empty):
    result = invoke("train", "-S", "train.lr=0", "-S", "crest.proxy=1")
    assert result.exit_code == 2
    lines = result.stderr.splitlines()
    assert lines[0].startswith("error: params.yaml with -S: train.lr: ")
    assert lines[1].startswith("params.yaml with -S: crest.proxy: ")


def test_parameters_may_lie_elsewhere(trained):
    Path("mine.yaml").write_text("report: {title: mine}")
    Path("params.yaml").unlink()
    assert fails(2, "train", "--params", "mine.yaml", "--method", "x").startswith("--method, ")


def test_prepare_says_what_it_has_prepared(empty):
    expected = "data/prepared: digits, train 1297, validation 145, test 355, 10 classes\n"
    assert succeeds("prepare") == expected
    assert len(load(Path("data/prepared"), CPU).train) == 1297


@pytest.mark.parametrize(
    ("override", "expected"),
    [
        ("prepare.dataset=digit", "prepare.dataset: 'digit' is not one of digits, "),
        ("prepare.dataset=cifar10", "prepare.source: cifar10 needs one: "),
        ("prepare.source=x", "prepare.source: digits is bundled and has no source"),
        ("prepare.validation=0.9999", "prepare.validation: "),
    ],
)
def test_data_that_cannot_be_prepared_leave_the_earlier(trained, override, expected):
    before = contents()
    assert fails(2, "prepare", "-S", override).startswith(expected)
    assert contents() == before


def test_data_that_are_not_there_are_named(trained):
    before = contents()
    options = ("-S", "prepare.dataset=parquet", "-S", "prepare.source=nowhere")
    assert "nowhere" in fails(1, "prepare", *options)
    assert contents() == before


def test_train_prints_its_metrics(trained):
    lines = succeeds("train").splitlines()
    found = dict(line.split(": ", 1) for line in lines)
    assert (found["method"], found["steps"]) == ("random", "10")


def test_train_takes_all_methods_or_the_one_that_is_named(trained):
    both = succeeds("train", "--json", "-S", "run.methods=[random, crest]").splitlines()
    assert [json.loads(line)["method"] for line in both] == ["random", "crest"]
    named = json.loads(succeeds("train", "--json", "--method", "replay"))
    assert named == artifacts.read_json(trained.train("replay") / "metrics.json")


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        (("--method", "crst"), "--method, run.methods: 'crst' is not one of full, random, crest"),
        (("-S", "run.methods=[crst]"), "--method, run.methods: 'crst' is not one of full"),
        (("-S", "train.model=resnet19"), "train.model: 'resnet19' is not one of convnet"),
        (("-S", "train.batch_size=5000"), "train.batch_size: a mini-batch of 5000 is larger"),
    ],
)
def test_a_training_that_cannot_be_leaves_the_earlier(trained, options, expected):
    before = contents()
    assert fails(2, "train", *options).startswith(expected)
    assert contents() == before


def test_a_training_that_fails_leaves_the_earlier(trained):
    before = contents()
    assert "lower train.lr" in fails(1, "train", "-S", "train.lr=1e30")
    assert contents() == before


@pytest.mark.parametrize("command", ["train", "evaluate", "reuse"])
def test_a_gpu_that_is_not_there_is_a_bad_parameter(trained, monkeypatch, command):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    options = ("-S", "train.device=cuda", "-S", "reuse.models=[convnet]")
    message = fails(2, command, *options)
    assert message.startswith("train.device: 'cuda' asked for, but PyTorch finds no CUDA device")


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (("train",), "data/prepared/meta.json: no prepared data here; run `python cli.py prepare`"),
        (("evaluate",), "data/prepared/meta.json: no prepared data here"),
        (("select", "--checkpoint", "m", "--json"), "data/prepared/meta.json: no prepared data"),
        (("reuse", "--model", "convnet"), "data/prepared/meta.json: no prepared data here"),
        (("analyze",), "data/prepared/meta.json: no prepared data here"),
        (("report",), "data/prepared/meta.json: no prepared data here"),
        (("report", "--show"), "artifacts/report/summary.csv: no such file; make it with `python"),
    ],
)
def test_a_stage_before_its_time_says_which_comes_first(empty, arguments, expected):
    before = contents()
    options = ("-S", "analyze.scores_from=random") if arguments == ("analyze",) else ()
    assert fails(1, *arguments, *options).startswith(expected)
    assert contents() == before
    assert sorted(path.name for path in empty.iterdir()) == ["params.yaml"]


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (("evaluate",), "artifacts/train/random: no such run"),
        (("reuse", "--model", "convnet"), "artifacts/train/crest: no such file"),
        (("select", "--checkpoint", "m", "--json"), "m: "),
        (("report",), "artifacts/train/random: not there; make it with `python cli.py train"),
    ],
)
def test_a_stage_before_training_says_so(empty, arguments, expected):
    prepare.run(digits_parameters().prepare, Path("data/prepared"))
    before = contents()
    assert fails(1, *arguments).startswith(expected)
    assert contents() == before


def test_evaluate_prints_its_metrics(trained):
    found = json.loads(succeeds("evaluate", "--json", "--method", "crest"))
    assert found == artifacts.read_json(Path("artifacts/evaluate/crest/metrics.json"))
    assert f"accuracy: {found['accuracy']:.4g}" in succeeds("evaluate", "--method", "crest")


def test_evaluating_an_unknown_method_is_a_misuse(trained):
    assert fails(2, "evaluate", "--method", "../x").startswith("--method, run.methods: '../x'")


def test_select_prints_coresets_as_json_and_nothing_else(trained):
    before = contents()
    checkpoint = trained.train("random") / "model.safetensors"
    rows = json.loads(succeeds("select", "--checkpoint", checkpoint, "--json", "--minibatches", 2))
    assert {row["class"] for row in rows} <= {str(row["label"]) for row in rows}
    first = source_of(trained.prepared, "train", rows[0]["index"])
    assert Origin(rows[0]["file"], rows[0]["row"]) == first
    found = pl.DataFrame(rows, schema=dict(artifacts.TABLES["coresets"]))
    assert len(found) == 64
    from_tables(found, None, load(trained.prepared, CPU).train.labels, "here")
    assert contents() == before


def test_select_writes_coresets_and_counts_them(trained):
    checkpoint = trained.train("random") / "model.safetensors"
    out = Path("out/coresets.parquet")
    output = succeeds("select", "--checkpoint", checkpoint, "--out", out, "--minibatches", 3)
    assert output == f"{out}: 3 mini-batch coresets of 32 examples\n"
    assert len(artifacts.read_table(out)) == 96


def test_select_streams_the_table_that_it_would_write(trained):
    options = ("select", "--checkpoint", trained.train("random") / "model.safetensors")
    succeeds(*options, "--out", "coresets.parquet")
    before = contents()
    result = invoke(*options, "--out", "-")
    assert result.exit_code == 0
    assert result.stderr == ""
    assert result.stdout_bytes == Path("coresets.parquet").read_bytes()
    assert contents() == before


def test_select_must_know_where_its_coresets_go(trained, monkeypatch):
    assert fails(2, "select", "--checkpoint", "m").startswith("select: say where the coresets go")
    both = fails(2, "select", "--checkpoint", "m", "--out", "-", "--json")
    assert both == "select: --out - and --json both go to stdout; leave one out"
    monkeypatch.setattr("sys.stdout.isatty", lambda: True)
    with pytest.raises(ParameterError, match="which no terminal shows"):
        commands.check_select_output(Path("-"), True, False)


def test_select_needs_no_run(trained):
    checkpoint = Path("elsewhere.safetensors")
    (trained.train("random") / "model.safetensors").rename(checkpoint)
    shutil.rmtree("artifacts")
    assert len(json.loads(succeeds("select", "--checkpoint", checkpoint, "--json"))) > 0


def test_a_checkpoint_of_other_classes_is_refused(trained):
    model = build("convnet", classes=3, image_shape=(8, 8, 1), stem="cifar", seed=0)
    weights.save(model, ModelSpec("convnet", 3, (8, 8, 1)), Path("other.safetensors"))
    message = fails(1, "select", "--checkpoint", "other.safetensors", "--json")
    assert message.startswith("other.safetensors: a model of 3 classes and images [8, 8, 1]; ")


def test_reuse_trains_all_models_or_the_one_that_is_named(trained):
    named = json.loads(succeeds("reuse", "--json", "--model", "convnet"))
    assert named == artifacts.read_json(Path("artifacts/reuse/convnet/metrics.json"))
    assert succeeds("reuse") == ""
    assert "model: convnet" in succeeds("reuse", "-S", "reuse.models=[convnet]")


def test_coresets_of_other_data_are_refused(trained):
    succeeds("prepare", "-S", "prepare.seed=5")
    before = contents()
    message = fails(1, "reuse", "--model", "convnet")
    assert message.startswith("artifacts/train/crest/coresets.parquet: row ")
    assert message.endswith("these coresets were chosen from other data")
    assert contents() == before


def test_export_writes_what_it_is_told_and_says_how_to_read_it(trained):
    output = succeeds("export", "--out", "coresets.csv")
    rows = len(artifacts.read_table(Path("artifacts/train/crest/coresets.parquet")))
    assert f", selected {rows} times into " in output
    assert len(pl.read_csv("coresets.csv")) == rows
    output = succeeds("export", "--out", "subset").splitlines()
    assert output[0].startswith("subset: ")
    options = output[-1].partition(" with ")[2].split()
    assert succeeds("prepare", *options).startswith("data/prepared: parquet, train ")


def test_analyze_and_report_end_in_a_table(trained):
    options = ("-S", "analyze.scores_from=random")
    assert succeeds("evaluate") != ""
    assert succeeds("report", "--help") != ""
    assert invoke("analyze", *options).stdout == "artifacts/analyze\n"
    table = succeeds("report")
    assert "random" in table
    assert table.endswith("report: artifacts/report/report.html\n")
    assert succeeds("report", "--show") == table


def test_difficulty_takes_records_of_any_training(trained, monkeypatch):
    run = trained.train("random")
    assert "holds nothing else; say where the results go: --out" in fails(2, "difficulty", str(run))
    Path("mine").mkdir()
    shutil.copy(run / "examples.parquet", "mine")
    prepared = ("--prepared", "data/prepared")
    assert succeeds("difficulty", "mine", *prepared) == "mine/difficulty/report.html\n"
    assert Path("mine/difficulty/mislabelled.csv").is_file()
    monkeypatch.chdir("mine")  # where there is neither a parameter file nor data
    assert succeeds("difficulty", "examples.parquet") == "difficulty/report.html\n"


def test_mislabelled_lists_suspects_of_any_training(trained):
    run = str(trained.train("random"))
    assert "artifacts/analyze: neither difficulty.parquet nor" in fails(1, "mislabelled")
    listed = invoke("mislabelled", run, run, "--most", 3, "--prepared", "data/prepared")
    assert listed.exit_code == 0
    assert listed.stdout.startswith(
        "index,label,taken_for,wrong_label,mean_loss,seen,correct,file,row\n"
    )
    assert len(listed.stdout.splitlines()) == 4
    assert "of less than two passes" in listed.stderr  # the run is no longer
    assert invoke("mislabelled", run, "--out", "some.parquet").stdout == "some.parquet\n"
    assert "index" in pl.read_parquet("some.parquet").columns
    assert "name a file .csv or .parquet" in invoke("mislabelled", run, "--out", "some.txt").stderr


def test_a_report_lacking_a_run_leaves_the_earlier(trained):
    before = contents()
    assert "evaluate --method random" in fails(1, "report")
    assert contents() == before


def test_analyze_needs_the_run_that_it_scores_by(trained):
    assert fails(2, "analyze").startswith("analyze.scores_from: 'full' is not one of run.methods")


def test_presets_are_listed(empty):
    lines = succeeds("preset").splitlines()
    assert [line.split()[0] for line in lines] == [
        "cifar10-resnet20",
        "cifar10-resnet20-cheap",
        "cifar10-resnet20-economical",
        "cifar100-resnet18",
        "digits",
        "digits-as-published",
        "imagenet-resnet50",
        "photos",
        "snli-minilm",
        "snli-roberta",
        "tinyimagenet-resnet50",
    ]
    assert contents().keys() == {Path("params.yaml")}


def test_a_preset_is_written_into_the_parameter_file(empty):
    assert succeeds("preset", "cifar10-resnet20") == "params.yaml: now cifar10-resnet20\n"
    assert yaml.safe_load(Path("params.yaml").read_text())["train"]["model"] == "resnet20"


def test_a_preset_that_is_not_there_leaves_the_file(empty):
    before = contents()
    expected = "preset: 'cifar' is not one of cifar10-resnet20, "
    assert fails(2, "preset", "cifar").startswith(expected)
    assert contents() == before


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_an_interrupted_command_says_so_and_leaves_the_earlier(trained, monkeypatch, number, code):
    succeeds("evaluate")
    before = contents()
    monkeypatch.setattr("stages.evaluate.predictions", lambda _: os.kill(os.getpid(), number))
    result = invoke("evaluate")
    assert (result.exit_code, result.stdout, result.stderr) == (code, "", "interrupted\n")
    assert contents() == before


def test_a_bug_is_not_made_to_look_like_a_users_fault(trained, monkeypatch):
    def fail(*_):
        raise ZeroDivisionError

    monkeypatch.setattr("stages.train.write", fail)
    result = invoke("train")
    assert isinstance(result.exception, ZeroDivisionError)


def process(*arguments, **options):
    """Start the program in the working folder."""
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    return subprocess.Popen(
        [sys.executable, REPOSITORY / "cli.py", *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment,
        **options,
    )


def test_as_a_program_it_works_in_the_folder_it_is_run_in(trained):
    running = process("evaluate", "--json", "--method", "random")
    stdout, stderr = running.communicate()
    assert (running.returncode, stderr) == (0, "")
    assert json.loads(stdout) == artifacts.read_json(Path("artifacts/evaluate/random/metrics.json"))


def test_as_a_program_it_fails_without_a_traceback(empty):
    running = process("train", "--method", "random")
    stdout, stderr = running.communicate()
    assert (running.returncode, stdout) == (1, "")
    assert stderr.startswith("error: data/prepared/meta.json: no prepared data here")
    assert len(stderr.splitlines()) == 1


def test_as_a_program_it_can_be_interrupted_while_it_trains(trained):
    before = contents()
    options = ("-S", "train.epochs=100000", "-S", "train.validations=0")
    running = process("train", "--method", "random", *options)
    wait_for(lambda: list(Path("artifacts/train").glob(".random.*.partial")), running)
    time.sleep(0.5)
    running.send_signal(signal.SIGINT)
    stdout, stderr = running.communicate(timeout=60)
    assert (running.returncode, stdout) == (130, "")
    assert "Traceback" not in stderr
    assert {path: data for path, data in contents().items() if path in before} == before
    assert not list(Path("artifacts/train").glob(".*"))


def wait_for(condition, running):
    """Wait until a condition holds while a program runs."""
    for _ in range(600):
        if condition():
            return
        assert running.poll() is None, running.communicate()
        time.sleep(0.1)
    running.kill()
    pytest.fail("it took too long")


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.18028169014, "0.1803"),
        (12345.678, "12,346"),
        (9999.7, "10,000"),
        (1e-7, "1e-07"),
        (35491233792, "35,491,233,792"),
        (30, "30"),
        ("crest", "crest"),
        ({"select": 0.123456, "train": 3.0}, "select 0.1235, train 3"),
    ],
)
def test_people_read_rounded_figures(value, text) -> None:
    assert printing.rounded(value) == text
