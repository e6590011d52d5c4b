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


def write(root: Path, **modules: str) -> Sources:
    """A repository of a few modules, whose full names have __ for dots."""
    texts = {"cli": "import crest.errors", "crest__errors": "text = ''", **modules}
    for name, text in texts.items():
        path = root / f"{name.replace('__', '/')}.py"
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
    sources = write(tmp_path, stages__a=stage, **{f"crest__{name}": "x = 1" for name in numbers})
    found = {f"crest/{name}.py" for name in ("one", "two", "three", "four", "six")}
    assert sources.run_by("a") == found | {"stages/a.py", "cli.py"}


def test_packages_run_before_what_they_hold_unless_they_only_say_what_they_are(tmp_path) -> None:
    write(tmp_path, stages__a="from crest.full.inside import name")
    (tmp_path / "crest/full").mkdir()
    (tmp_path / "crest/full/__init__.py").write_text("from crest.other import x")
    (tmp_path / "crest/full/inside.py").write_text("name = 1")
    (tmp_path / "crest/other").mkdir()
    (tmp_path / "crest/other/__init__.py").write_text('"""Says what it is."""')
    (tmp_path / "crest/other/x.py").write_text("x = 1")
    run = Sources(tmp_path).run_by("a")
    packages = {"crest/full/__init__.py", "crest/full/inside.py", "crest/other/x.py"}
    assert run == packages | {"cli.py", "stages/a.py"}


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
        tmp_path / "a", stages__a='"""Begin."""\n\ndef f(x):\n    """Say."""\n    return x + 1\n'
    )
    second = write(tmp_path / "b", stages__a=text)
    assert (first.digests("a") == second.digests("a")) == same


def test_sources_are_those_of_when_they_were_read(tmp_path) -> None:
    sources = write(tmp_path, stages__a="x = 1")
    then = write(tmp_path, stages__a="x = 1").digests("a")
    write(tmp_path, stages__a="x = 2")
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
