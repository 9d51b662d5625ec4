"""datatrove 0.10.1 as benches/peers/data.py calls it: its own filters and signatures, without readers and writers."""

import multiprocessing
import time

import numpy as np
from datatrove.data import Document
from datatrove.pipeline.dedup.minhash import MinhashConfig, MinhashDedupSignature
from datatrove.pipeline.filters import (
    C4QualityFilter,
    FineWebQualityFilter,
    GopherQualityFilter,
    GopherRepetitionFilter,
)
from datatrove.utils.text import simplify_text

STAGES = ("filters", "c4", "minhash")

# In each process, on first use.
made = {}


def stages():
    if not made:
        made["filters"] = {
            "gopher-repetition": GopherRepetitionFilter(),
            "gopher-quality": GopherQualityFilter(),
            "fineweb": FineWebQualityFilter(),
        }
        made["c4"] = {"c4": C4QualityFilter()}
        made["minhash"] = MinhashDedupSignature(output_folder="memory://", config=MinhashConfig())
        # Models and tables are not timed.
        for stage in STAGES:
            work(stage, "The first text of all that is seen here, and one more.")
    return made


def reason(answer):
    """None for a document that stays."""
    kept, why = answer if isinstance(answer, tuple) else (answer, "removed")
    return None if kept else why


def work(stage, text):
    """What it says of one text."""
    if stage == "minhash":
        return sign(text)
    said = {}
    for name, each in made[stage].items():
        document = Document(text=text, id="")
        said[name] = reason(each.filter(document))
        if name == "c4" and said[name] is None and document.text != text:
            said[name] = {"edit": document.text}
    return said


def sign(text):
    shingles = made["minhash"].get_shingles(text)
    if shingles.size == 0:
        return None
    return [number for bucket in made["minhash"].get_signature(shingles) for number in bucket]


def sign_by_space(text):
    """The same arithmetic over words that white space separates."""
    words = simplify_text(text).split()
    grams = [" ".join(words[i : i + 5]) for i in range(len(words) - 4)]
    if not grams:
        return None
    stage = stages()["minhash"]
    shingles = np.fromiter([stage._hash_func(gram) for gram in grams], dtype=np.uint64).reshape((-1, 1))
    return [number for bucket in stage.get_signature(shingles) for number in bucket]


def one(job):
    stage, texts = job
    stages()
    clock, processor = time.perf_counter(), time.thread_time()
    said = [work(stage, text) for text in texts]
    return time.perf_counter() - clock, time.thread_time() - processor, said


def run(stage, texts, workers):
    """(seconds, what it says of each text). Each worker has every so-manieth text.

    One worker is timed by the processor time of its thread, several by the clock of the slowest.
    """
    parts = [texts[i::workers] for i in range(workers)]
    with multiprocessing.get_context("fork").Pool(workers) as pool:
        answers = pool.map(one, [(stage, part) for part in parts], chunksize=1)
    said = [None] * len(texts)
    for i, (_, _, part) in enumerate(answers):
        said[i::workers] = part
    clock = max(clock for clock, _, _ in answers)
    return (answers[0][1] if workers == 1 else clock), said
