"""Which of our own modules a stage runs for a method, found in their sources.

dvc.yaml names them (:mod:`crest.pipeline.dependencies`), and the state of an unfinished run is kept
under a hash of each (:mod:`crest.pipeline.resume`). Nothing is imported to find them.
"""

import ast
import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from crest.methods import METHODS

ROOT = Path(__file__).parents[2]
OURS = ("crest", "stages")
COMMANDS = "cli.py"
REGISTRY = "crest/methods/__init__.py"
DECLARATIONS = {name: f"crest/methods/{name}.py" for name in METHODS}
DOCUMENTED = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)

EXCEPTIONS: Mapping[str, str] = {
    "crest/__init__.py": "the public names, each imported when it is asked for",
    "crest/devices/limits.py": "refuses what the machine cannot hold",
    "crest/devices/machine.py": "how much memory the machine has",
    "crest/errors.py": "what people are told",
    REGISTRY: "lists the methods, each of which has a file of its own",
    "crest/parameters/faults.py": "what people are told of parameters",
    "crest/parameters/renamed.py": "what is refused, and its new name",
    "crest/pipeline/code.py": "which code a result depends on",
    "crest/pipeline/early.py": "ends a command that is interrupted while it starts",
    "crest/pipeline/paths.py": "where results lie, which dvc.yaml says itself",
    "crest/pipeline/printing.py": "what commands print",
    "crest/pipeline/process.py": "keeps memory that is freed, which is faster",
    "crest/pipeline/progress.py": "progress bars",
    "crest/pipeline/signals.py": "when a stage stops",
    "crest/pipeline/tracking.py": "where else people see a run",
    "crest/pipeline/trackers/base.py": "what shows a run elsewhere",
    "crest/pipeline/watching.py": "what people see of a run",
}
"""What stages import and no result depends on, and why: nothing runs again for it."""


@dataclass(frozen=True)
class Module:
    """What is to be known of a source.

    Attributes
    ----------
    imports, lazily
        The full names that it imports at its top level, and within functions.
    is_empty
        Whether it does nothing: a package that only says what it is.
    digest
        A hash of all but its comments, docstrings and layout.
    """

    imports: frozenset[str]
    lazily: frozenset[str]
    is_empty: bool
    digest: str


class Sources:
    """Our sources as they were when this was made; parsed when they are asked about."""

    def __init__(self, root: Path = ROOT) -> None:
        paths = [root / COMMANDS, *(path for name in OURS for path in (root / name).rglob("*.py"))]
        self._texts = {
            path.relative_to(root).as_posix(): path.read_bytes()
            for path in paths
            if path.is_file()  # an editor's lock is a link to nothing
        }
        self._modules: dict[str, Module] = {}

    def module(self, path: str) -> Module:
        """Return the module in a file, named from the root of the repository."""
        if path not in self._modules:
            self._modules[path] = _parsed(self._texts[path], path)
        return self._modules[path]

    def code_in(self, package: PurePosixPath) -> frozenset[str]:
        """Return the files of all modules in a package that do anything."""
        return frozenset(
            path
            for path in self._texts
            if package in PurePosixPath(path).parents and not self.module(path).is_empty
        )

    def run_by(self, stage: str, method: str | None = None) -> frozenset[str]:
        """Return the files of all modules that a stage runs, those imported within functions too.

        The registry of methods stands for ``method`` alone, and what a declaration imports within
        functions, the sampler that it builds, counts for that method alone.
        """
        own = DECLARATIONS.get(method or "")
        others = set(DECLARATIONS.values()) - {own}
        waiting = [COMMANDS, f"stages/{stage}.py", *([own] if own else [])]
        passed: set[str] = set()
        while waiting:
            path = waiting.pop()
            if path in passed:
                continue
            passed.add(path)
            module = self.module(path)
            # Within its functions each command imports for another stage.
            builds_nothing = path == COMMANDS or path in others
            names = module.imports if builds_nothing else module.imports | module.lazily
            files = {file for name in names for file in self._files(name)}
            waiting += files - others if path == REGISTRY else files
        return frozenset(
            path for path in passed - EXCEPTIONS.keys() if not self.module(path).is_empty
        )

    def digest(self) -> str:
        """Return a hash of every byte of them."""
        digest = hashlib.sha256()
        for path, text in sorted(self._texts.items()):
            digest.update(f"{path} {len(text)} ".encode() + text)
        return digest.hexdigest()

    def digests(self, stage: str, method: str | None = None) -> dict[str, str]:
        """Return a hash of each module that a stage runs: of all but comments and docstrings."""
        return {path: self.module(path).digest for path in sorted(self.run_by(stage, method))}

    def _files(self, name: str) -> Iterator[str]:
        """Yield the files that run when a full name is imported: packages before what they hold."""
        parts = name.split(".")
        for end in range(1, len(parts) + 1):
            base = "/".join(parts[:end])
            yield from {f"{base}.py", f"{base}/__init__.py"} & self._texts.keys()


def _parsed(text: bytes, path: str) -> Module:
    tree = ast.parse(text, path)
    found = [*_imports(tree)]
    for node in ast.walk(tree):
        if isinstance(node, DOCUMENTED) and ast.get_docstring(node, clean=False) is not None:
            del node.body[0]
    return Module(
        frozenset(name for name, lazy in found if not lazy),
        frozenset(name for name, lazy in found if lazy),
        not tree.body,
        hashlib.sha256(ast.dump(tree).encode()).hexdigest(),
    )


def _imports(tree: ast.AST, lazy: bool = False) -> Iterator[tuple[str, bool]]:
    """Yield the full names that run time imports, and whether a function does."""
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.Import):
            yield from ((alias.name, lazy) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield from ((f"{node.module}.{alias.name}", lazy) for alias in node.names)
        elif isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
            for one in node.orelse:
                yield from _imports(ast.Module([one], []), lazy)
        elif isinstance(node, ast.stmt | ast.ExceptHandler | ast.match_case):
            within = isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
            yield from _imports(node, lazy or within)
