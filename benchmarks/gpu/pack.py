"""What the queue needs on a machine without a network, in parts of a size, and back again.

    python -m benchmarks.gpu.pack pack --out .gpu --cifar10 FOLDER --python 3.12 --part-mib 48
    python3 -m benchmarks.gpu.pack unpack .gpu

The first, here: wheels of what the image of that machine lacks (--wheels), CIFAR-10 as it lies in
FOLDER, and the commit, as .gpu/part0/bytes, .gpu/part1/bytes, ... of --part-mib at most; each is a
folder of its own, so that it can travel alone. The second, there, from a checkout of the code:
joins them, and installs the wheels into .gpu/site. It needs pip, and nothing that was not carried.
"""

import argparse
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Sequence
from pathlib import Path

from benchmarks.gpu.queue import commit_of

# What an image with PyTorch, torchvision, PyYAML, pyarrow and safetensors mostly lacks.
WHEELS = (
    "polars",
    "polars-runtime-32",
    "pydantic",
    "pydantic-core",
    "annotated-types",
    "typing-inspection",
    "ruamel.yaml",
    "airbench==0.1.8",
)
# pip takes each by its name alone: a wheel for manylinux_2_17 is not found as one for 2_28.
PLATFORMS = ("manylinux_2_28_x86_64", "manylinux_2_17_x86_64", "manylinux2014_x86_64")
MIB = 2**20


def pack(out: Path, cifar10: Path | None, wheels: Sequence[str], python: str, size: int) -> None:
    """Write the parts, and print how large they are and what is in them."""
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        (folder / "wheels").mkdir()
        for wheel in wheels:
            fetch(wheel, folder / "wheels", python)
        (folder / "commit").write_text(f"{commit_of(folder)}\n", encoding="utf-8")
        together = folder / "together.tar"
        with tarfile.open(together, "w") as archive:
            archive.add(folder / "commit", "commit")
            archive.add(folder / "wheels", "wheels")
            if cifar10 is not None:
                archive.add(cifar10, "data/cifar10")
            for member in archive.getmembers():
                if member.isfile():
                    print(f"{member.size / MIB:6.1f} MiB  {member.name}")
        parts = split(together, out, size)
    print(f"{len(parts)} parts in {out}")


def fetch(wheel: str, folder: Path, python: str) -> None:
    """Download a wheel for that machine, or build one that is only there as a source."""
    options = ["-q", "--no-deps", "--disable-pip-version-check"]
    platforms = [word for platform in PLATFORMS for word in ("--platform", platform)]
    there = ["--only-binary=:all:", "--python-version", python, "--implementation", "cp"]
    try:
        pip("download", *options, *there, *platforms, "-d", str(folder), wheel)
    except subprocess.CalledProcessError:
        pip("wheel", *options, "-w", str(folder), wheel)


def pip(*words: str) -> None:
    """Run pip.

    Raises
    ------
    CalledProcessError
        If it fails.
    """
    subprocess.run([sys.executable, "-m", "pip", *words], check=True)


def split(file: Path, out: Path, size: int) -> list[Path]:
    """Cut a file into parts of at most so many bytes, in folders of their own."""
    for earlier in out.glob("part*/bytes"):
        earlier.unlink()
    parts: list[Path] = []
    with file.open("rb") as whole:
        while some := whole.read(size):
            part = out / f"part{len(parts)}" / "bytes"
            part.parent.mkdir(parents=True, exist_ok=True)
            part.write_bytes(some)
            parts.append(part)
    return parts


def unpack(folder: Path) -> None:
    """Join the parts, and install the wheels beside them.

    Raises
    ------
    FileNotFoundError
        If there is no part.
    """
    parts = sorted(folder.glob("part*/bytes"), key=lambda path: int(path.parent.name[4:]))
    if not parts:
        raise FileNotFoundError(f"{folder}: holds no part*/bytes; carry what pack has written")
    together = folder / "together.tar"
    with together.open("wb") as whole:
        for part in parts:
            whole.write(part.read_bytes())
    with tarfile.open(together) as archive:
        archive.extractall(folder, filter="data")
    together.unlink()
    if wheels := sorted(map(str, (folder / "wheels").glob("*.whl"))):
        offline = ["--no-index", "--no-deps", "--no-compile", "--upgrade"]
        pip("install", "-q", *offline, "--target", str(folder / "site"), *wheels)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    commands = parser.add_subparsers(dest="command", required=True)
    packing = commands.add_parser("pack", help="write the parts")
    packing.add_argument("--out", type=Path, required=True)
    packing.add_argument("--cifar10", type=Path, help="its folder of Parquet files")
    packing.add_argument("--wheels", nargs="*", default=WHEELS, metavar="NAME")
    packing.add_argument("--python", default="3.12", help="version on that machine")
    packing.add_argument("--part-mib", type=int, default=48)
    unpacking = commands.add_parser("unpack", help="join the parts and install the wheels")
    unpacking.add_argument("folder", type=Path)
    arguments = parser.parse_args()
    if arguments.command == "unpack":
        unpack(arguments.folder)
        return
    size = arguments.part_mib * MIB
    pack(arguments.out, arguments.cifar10, arguments.wheels, arguments.python, size)


if __name__ == "__main__":
    main()
