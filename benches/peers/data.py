"""isoflop's filters and MinHash beside datatrove 0.10.1: rates, decisions and signatures in one run.

    python -m venv .venv && .venv/bin/pip install -r benches/peers/requirements-data.txt
    .venv/bin/python benches/peers/data.py                 # prints the tables; --write-docs puts them into docs/
    .venv/bin/python benches/peers/data.py --megabytes 5   # a smoke

Builds `benches/prepare.rs`, the program and the corpus of `corpus.py`, and gives both sides the same texts in memory: no reader and
no writer is timed. isoflop is timed before and after datatrove, and the slower time counts. With one worker both
sides are timed by the processor time of their thread, with several by the clock.

Near-duplicates are pairs that agree in one bucket of their signatures; kept documents are the first of each
cluster of such pairs, taken from the signatures by one function for both sides. Jaccard similarities are computed
from datatrove's own n-grams.

The whole pipeline, text to token shards, is isoflop's alone: once with a tokenizer that is trained, once with that one
taken.
"""

import argparse
import datetime
import json
import os
import pathlib
import platform
import subprocess
import sys
import tempfile
import time

import corpus
import pages
import trove

ROOT = pathlib.Path(__file__).resolve().parents[2]
DOCS = ROOT / "docs/BENCHMARKS.md"
MARKS = ("<!-- data: written by benches/peers/data.py --write-docs -->", "<!-- data: end -->")
FILTERS = ("gopher-repetition", "gopher-quality", "fineweb", "c4")
ROWS = {
    "filters": "Gopher's two filters and FineWeb's",
    "c4": "C4's filter",
    "minhash": "MinHash signatures",
}
BUCKETS, HASHES = 14, 8


def main():
    options = arguments()
    binary, program = (options.binary, options.program) if options.binary else build()
    documents = corpus.build(options.packages, options.megabytes)
    texts = [document["text"] for document in documents]
    size = sum(len(text.encode()) for text in texts) / 1e6
    with tempfile.TemporaryDirectory() as folder:
        file = pathlib.Path(folder) / "corpus.jsonl"
        corpus.write(file, documents)
        ours = decisions(binary, file, pathlib.Path(folder) / "ours.jsonl")
        rates, theirs = timed(binary, file, texts, size, options.workers)
        piped = pipeline(program, file, size, options.workers)
    result = {
        "megabytes": size,
        "documents": len(documents),
        "machine": machine(),
        "rates": rates,
        "decisions": {name: compare(name, ours, theirs) for name in FILTERS},
        "signatures": signatures(texts, ours, theirs),
        "duplicates": duplicates(documents, ours, theirs),
        "pipeline": piped,
    }
    text = tables(result)
    print(text)
    if options.json:
        pathlib.Path(options.json).write_text(json.dumps(result, indent=1) + "\n")
    if options.write_docs:
        pages.write_docs(DOCS, MARKS, text)


def arguments():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--megabytes", type=float, default=50, help="of text before copies (default 50)")
    parser.add_argument("--workers", type=int, nargs="+", default=[1, 2], help="default 1 2")
    parser.add_argument("--packages", type=pathlib.Path, default=pathlib.Path("packages"), help="where they are kept")
    parser.add_argument("--binary", help="benches/prepare.rs, built (default: built now)")
    parser.add_argument("--program", help="isoflop, built, beside --binary (default: the pipeline is left out)")
    parser.add_argument("--json", metavar="FILE", help="write every number")
    parser.add_argument("--write-docs", action="store_true", help="rewrite docs/BENCHMARKS.md")
    return parser.parse_args()


def build():
    """Paths of the benchmark's binary and of the program, built if need be."""
    command = ["cargo", "build", "--release", "--locked", "--bench", "prepare", "--bin", "isoflop"]
    command.append("--message-format=json-render-diagnostics")
    done = subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, text=True)
    if done.returncode:
        sys.exit(done.returncode)
    messages = (json.loads(line) for line in done.stdout.splitlines())
    built = {m["target"]["kind"][0]: m["executable"] for m in messages if m.get("executable")}
    if not {"bench", "bin"} <= set(built):
        sys.exit("error: cargo names no binary of the benchmark or of the program")
    return built["bench"], built["bin"]


def decisions(binary, file, out):
    subprocess.run([binary, file, "--write", out], check=True)
    return [json.loads(line) for line in out.read_text().splitlines()]


def timed(binary, file, texts, size, workers):
    """MB/s by stage and workers of both sides, and what datatrove says of each text."""
    rates, theirs = [], [{} for _ in texts]
    for count in workers:
        before = ours_rates(binary, file, count)
        peer = {}
        for stage in trove.STAGES:
            seconds, said = trove.run(stage, texts, count)
            peer[stage] = size / seconds
            for all_said, one in zip(theirs, said):
                all_said.update({"signature": one} if stage == "minhash" else one)
        after = ours_rates(binary, file, count)
        for stage in trove.STAGES:
            ours = min(before[stage], after[stage])
            rates.append({"stage": stage, "workers": count, "ours": ours, "peer": peer[stage]})
    return rates, theirs


def ours_rates(binary, file, workers):
    command = [binary, file, "--json", "--workers", str(workers)]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
    return json.loads(done.stdout)["rates"]


def compare(name, ours, theirs):
    """How many documents both sides keep, or both remove; of those that both keep, how many texts are equal."""
    pairs = [(left[name], right[name]) for left, right in zip(ours, theirs)]
    gone = [(isinstance(left, str), isinstance(right, str)) for left, right in pairs]
    kept = [pair for pair, (left, right) in zip(pairs, gone) if not left and not right]
    return {
        "documents": len(pairs),
        "removed": sum(right for _, right in gone),
        "equal": sum(left == right for left, right in gone),
        "kept": len(kept),
        "texts_equal": sum(left == right for left, right in kept),
    }


def signatures(texts, ours, theirs):
    by_space = [trove.sign_by_space(text) for text in texts]
    return {
        "documents": len(texts),
        "default": sum(left["signature"] == right["signature"] for left, right in zip(ours, theirs)),
        "by_space": sum(left["by_space"] == right for left, right in zip(ours, by_space)),
    }


def duplicates(documents, ours, theirs):
    """What became of the near-duplicates that were put in, and which documents are kept."""
    place = {document["id"]: i for i, document in enumerate(documents)}
    rows = {}
    for i, document in enumerate(documents):
        if "copy_of" not in document:
            continue
        original = place[document["copy_of"]]
        similarity = jaccard(document["text"], documents[original]["text"])
        row = rows.setdefault(document["target"], {"pairs": 0, "jaccard": 0, "expected": 0, "ours": 0, "peer": 0})
        row["pairs"] += 1
        row["jaccard"] += similarity
        row["expected"] += 1 - (1 - similarity**HASHES) ** BUCKETS
        for name, side in (("ours", ours), ("peer", theirs)):
            row[name] += meet(side[i]["signature"], side[original]["signature"])
    left, right = kept(ours), kept(theirs)
    return {
        "targets": [{"target": target, **row} for target, row in sorted(rows.items(), reverse=True)],
        "kept": {"ours": len(left), "peer": len(right), "both": len(left & right), "either": len(left | right)},
    }


def jaccard(left, right):
    left, right = (set(trove.stages()["minhash"].get_shingles(text)[:, 0].tolist()) for text in (left, right))
    return len(left & right) / max(1, len(left | right))


def buckets(signature):
    parts = range(0, len(signature or ()), HASHES)
    return {(start, tuple(signature[start : start + HASHES])) for start in parts}


def meet(left, right):
    return bool(buckets(left) & buckets(right))


def kept(side):
    """The first document of each cluster of documents that meet in buckets."""
    parent = list(range(len(side)))

    def root(i):
        while parent[i] != i:
            parent[i] = parent[parent[i]]
            i = parent[i]
        return i

    first = {}
    for i, said in enumerate(side):
        for bucket in buckets(said["signature"]):
            left, right = root(first.setdefault(bucket, i)), root(i)
            parent[max(left, right)] = min(left, right)
    return {root(i) for i in range(len(side))}


TRAINED = '{ bpe = { vocab = 8192, sample = "10MB" } }'
RULES = 'filters = ["gopher-repetition", "gopher-quality", "fineweb"]'


def pipeline(program, file, size, workers):
    """Text to token shards by `isoflop data`, for each number of workers."""
    if not program:
        return {"skipped": "it was not given"}
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        folder = pathlib.Path(folder)
        # A unit holds neighbours together up to 64 MB: each file is a domain of its own, so that several have work.
        lines = file.read_text(encoding="utf-8").splitlines(keepends=True)
        parts = 4 * max(workers)
        for part in range(parts):
            (folder / f"{part}.jsonl").write_text("".join(lines[part::parts]), encoding="utf-8")
        domains = [f'[domain.part-{part}]\nread = {{ jsonl = ["{part}.jsonl"] }}\n{RULES}\n' for part in range(parts)]
        for n in workers:
            for name, tokenizer in ((f"trained-{n}", TRAINED), (f"taken-{n}", f'{{ of = "trained-{n}" }}')):
                recipe = folder / f"{name}.toml"
                recipe.write_text(f'name = "{name}"\ntokenizer = {tokenizer}\n' + "".join(domains))
                command = [program, "data", recipe, "--out", folder / name, "--workers", str(n), "--json"]
                begin = time.perf_counter()
                done = subprocess.run(command, capture_output=True, text=True)
                seconds = time.perf_counter() - begin
                if done.returncode:
                    return {"skipped": f"isoflop data ended with {done.returncode}: {done.stderr.strip()}"}
                card = json.loads(done.stdout)
                kept = sum(domain["train_documents"] for domain in card["domains"])
                rows.append({"workers": n, "tokenizer": name.split("-")[0], "rate": size / seconds, "kept": kept, "id": card["id"]})
    if len({row["id"] for row in rows}) != 1:
        return {"skipped": "datasets of one recipe differ: " + ", ".join(row["id"][:12] for row in rows)}
    return {"rows": rows}


def machine():
    model = platform.processor()
    info = pathlib.Path("/proc/cpuinfo")
    if info.exists():
        names = [line.split(":")[1].strip() for line in info.read_text().splitlines() if line.startswith("model name")]
        model = names[0] if names else model
    load = os.getloadavg()[0] if hasattr(os, "getloadavg") else float("nan")
    return {
        "date": datetime.date.today().isoformat(),
        "processor": model,
        "cores": os.cpu_count(),
        "load": load,
        "python": platform.python_version(),
    }


def tables(result):
    here = result["machine"]
    lines = [
        f"{here['date']}, {here['cores']} cores of {here['processor']}, load {here['load']:.1f} at the end, Python "
        f"{here['python']}. {result['documents']:,} documents, {result['megabytes']:.1f} MB, the near-duplicates "
        "among them.",
        "",
        "| stage | workers | isoflop [MB/s] | datatrove [MB/s] | ratio |",
        "|---|---:|---:|---:|---:|",
    ]
    for row in result["rates"]:
        ratio = row["ours"] / row["peer"]
        lines.append(
            f"| {ROWS[row['stage']]} | {row['workers']} | {row['ours']:.1f} | {row['peer']:.3f} | {ratio:.0f} |"
        )
    if "skipped" in result["pipeline"]:
        lines += ["", f"The whole pipeline: not measured, {result['pipeline']['skipped']}."]
    else:
        lines += [
            "",
            "Text to token shards by `isoflop data`: three filters, both kinds of copies, held-out text kept out, BPE of 8,192.",
            "",
            "| tokenizer | workers | [MB/s] | [MB/s a worker] | kept |",
            "|---|---:|---:|---:|---:|",
        ]
        for row in result["pipeline"]["rows"]:
            rate, n = row["rate"], row["workers"]
            name = {"trained": "trained on 10 MB", "taken": "of another dataset"}[row["tokenizer"]]
            lines.append(f"| {name} | {n} | {rate:.1f} | {rate / n:.1f} | {row['kept']:,} |")
    lines += [
        "",
        "| filter | documents | removed | decided equally | kept by both | same text |",
        "|---|---:|---:|---:|---:|---:|",
    ]
    for name, row in result["decisions"].items():
        lines.append(
            f"| {name} | {row['documents']:,} | {row['removed']:,} | {percent(row['equal'], row['documents'])} | "
            f"{row['kept']:,} | {percent(row['texts_equal'], row['kept'])} |"
        )
    row = result["signatures"]
    lines += [
        "",
        f"Signatures equal to the bit: {percent(row['default'], row['documents'])} with the words of each side, "
        f"{percent(row['by_space'], row['documents'])} with words between white space.",
        "",
        "| Jaccard put in | pairs | mean found | expected to meet | meet in isoflop | meet in datatrove |",
        "|---:|---:|---:|---:|---:|---:|",
    ]
    for row in result["duplicates"]["targets"]:
        n = row["pairs"]
        lines.append(
            f"| {row['target']} | {n} | {row['jaccard'] / n:.3f} | {percent(row['expected'], n)} | "
            f"{percent(row['ours'], n)} | {percent(row['peer'], n)} |"
        )
    row = result["duplicates"]["kept"]
    lines += [
        "",
        f"Kept documents: {row['ours']:,} and {row['peer']:,}; {percent(row['both'], row['either'])} are the same.",
    ]
    return "\n".join(lines)


def percent(part, whole):
    return f"{100 * part / whole:.2f}%" if whole else "–"


if __name__ == "__main__":
    main()
