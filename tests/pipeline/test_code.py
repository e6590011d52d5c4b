"""Which modules a stage runs, held against what Python imports, and what of them is remembered."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from crest.methods import METHODS
from crest.pipeline import code
from crest.pipeline.code import EXCEPTIONS, ROOT, Sources
from crest.pipeline.dependencies import TRAINS_WITH

# What of ours is imported with a stage, and when it builds each method's sampler: each time as if
# nothing else had been.
IMPORTED = """
import json, sys
from contextlib import suppress
from importlib import import_module
from pathlib import Path

def ours():
    return {name for name in sys.modules if name.split(".")[0] in ("crest", "stages", "cli")}

def forget(names):
    for name in names:
        del sys.modules[name]

def files():
    return [Path(sys.modules[name].__file__).as_posix() for name in ours()]

found = {}
for stage, methods in json.loads(sys.argv[1]).items():
    forget(ours())
    import_module("cli"), import_module(f"stages.{stage}")
    found[stage] = {"": files()}
    before = ours()
    for method in methods:
        with suppress(AttributeError):  # of the context, once all is imported
            sys.modules["crest.methods"].METHODS[method].build(None)
        found[stage][method] = files()
        forget(ours() - before)
print(json.dumps(found))
"""


def write(root: Path, modules: dict[str, str]) -> Sources:
    """A repository of a few modules, by their full names."""
    for name, text in {"cli": "import crest.errors", "crest.errors": "x = 1", **modules}.items():
        path = root / f"{name.replace('.', '/')}.py"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    return Sources(root)


def test_imports_are_followed_within_functions_and_not_for_type_checkers_alone(tmp_path) -> None:
    stage = """
import crest.one
class A:
    try:
        from crest import two
    except ImportError:
        from crest.three import name
def later():
    if True:
        from crest.four import name
if TYPE_CHECKING:
    from crest.five import name
else:
    import crest.six
text = '''
import crest.seven
'''
"""
    numbers = ("one", "two", "three", "four", "five", "six", "seven")
    sources = write(tmp_path, {"stages.a": stage, **{f"crest.{name}": "x = 1" for name in numbers}})
    found = {f"crest/{name}.py" for name in ("one", "two", "three", "four", "six")}
    assert sources.run_by("a") == found | {"stages/a.py", "cli.py"}


def test_packages_run_before_what_they_hold_unless_they_only_say_what_they_are(tmp_path) -> None:
    sources = write(
        tmp_path,
        {
            "stages.a": "from crest.full.inside import name",
            "crest.full.__init__": "from crest.other import x",
            "crest.full.inside": "name = 1",
            "crest.other.__init__": '"""Says what it is."""',
            "crest.other.x": "x = 1",
        },
    )
    packages = {"crest/full/__init__.py", "crest/full/inside.py", "crest/other/x.py"}
    assert sources.run_by("a") == packages | {"cli.py", "stages/a.py"}


def test_the_registry_stands_for_the_method_that_is_trained_with(tmp_path) -> None:
    """A declaration that is imported beside it counts, though not the sampler that it builds."""
    declaration = "import crest.{0}s_parameters\ndef build():\n    import crest.{0}s_sampler\n"
    modules = {
        "stages.a": "from crest.methods import METHODS",
        "stages.b": "from crest.methods.crest import CrestParameters",
        "crest.methods.__init__": "from crest.methods import craig, crest, spec",
        "crest.methods.spec": "x = 1",
    }
    for name in ("craig", "crest"):
        modules[f"crest.methods.{name}"] = declaration.format(name)
        modules |= {f"crest.{name}s_parameters": "x = 1", f"crest.{name}s_sampler": "x = 1"}
    sources = write(tmp_path, modules)
    always = {"cli.py", "crest/methods/spec.py"}
    declared = {"crest/methods/crest.py", "crest/crests_parameters.py"}
    assert sources.run_by("a") == always | {"stages/a.py"}
    built = {*declared, "crest/crests_sampler.py"}
    assert sources.run_by("a", "crest") == always | built | {"stages/a.py"}
    assert sources.run_by("b") == always | declared | {"stages/b.py"}


@pytest.mark.parametrize(
    ("text", "same"),
    [
        ('def f(x):\n    """Another."""\n    # Why.\n    return (x +\n            1)\n', True),
        ('def f(x):\n    """Say."""\n    return x + 2\n', False),
        ('def f(x):\n    """Say."""\n    return x + 1\n\n"text"\n', False),
        ('def g(x):\n    """Say."""\n    return x + 1\n', False),
        ('def f(x=0):\n    """Say."""\n    return x + 1\n', False),
    ],
)
def test_comments_docstrings_and_layout_do_not_count(tmp_path, text, same) -> None:
    first = write(
        tmp_path / "a",
        {"stages.a": '"""Begin."""\n\ndef f(x):\n    """Say."""\n    return x + 1\n'},
    )
    second = write(tmp_path / "b", {"stages.a": text})
    assert (first.digests("a") == second.digests("a")) == same


def test_the_hash_of_all_sources_is_that_of_every_byte(tmp_path) -> None:
    found = [
        write(tmp_path / str(number), modules).digest()
        for number, modules in enumerate([{"stages.a": "x = 1"}, {"stages.b": "x = 1"}, {}])
    ]
    assert len({*found, write(tmp_path / "0", {"stages.a": "x = 1  # One."}).digest()}) == 4
    assert write(tmp_path / "3", {"stages.a": "x = 1"}).digest() == found[0]


def test_sources_are_those_of_when_they_were_read(tmp_path) -> None:
    sources = write(tmp_path, {"stages.a": "x = 1"})
    then = write(tmp_path, {"stages.a": "x = 1"}).digests("a")
    write(tmp_path, {"stages.a": "x = 2"})
    assert sources.digests("a") == then != Sources(tmp_path).digests("a")


def test_what_python_imports_is_known() -> None:
    """All that is imported when a stage and its method's sampler are."""
    stages = {stage: [method] if method else [] for stage, method in TRAINS_WITH.items()}
    stages["train"] = [*METHODS]
    done = subprocess.run(
        [sys.executable, "-c", IMPORTED, json.dumps(stages)],
        cwd=ROOT, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    sources = Sources()
    # Declarations are read with the registry, and those of other methods not used.
    passed = EXCEPTIONS.keys() | {f"crest/methods/{name}.py" for name in METHODS}
    passed |= {"crest/parameters/shared.py"}  # what several of them declare
    for stage, by_method in json.loads(done.stdout).items():
        for method, files in by_method.items():
            imported = {Path(file).relative_to(ROOT).as_posix() for file in files} - passed
            missed = imported - sources.run_by(stage, method or None)
            assert {path for path in missed if not sources.module(path).is_empty} == set()
            assert len(imported) > 20, (stage, method)


def test_each_method_is_declared_in_the_file_of_its_name() -> None:
    """So that the registry, which is no dependency, cannot give a method another's sampler."""
    for name, spec in METHODS.items():
        assert spec.build.__module__ == f"crest.methods.{name}"


def test_exceptions_are_imported_and_cannot_compute(monkeypatch) -> None:
    sources = Sources()
    monkeypatch.setattr(code, "EXCEPTIONS", {})
    stages = [*TRAINS_WITH.items(), ("train", "crest")]
    imported = frozenset[str]().union(*(sources.run_by(*one) for one in stages))
    assert EXCEPTIONS.keys() <= imported
    for path in EXCEPTIONS:
        module = sources.module(path)
        names = {name.split(".")[0] for name in module.imports | module.lazily}
        assert names.isdisjoint({"torch", "numpy", "polars"}), path
