"""A corpus of any size for `isoflop data`, from the text of recipes/raw (`python3 recipes/fetch.py` first).

    python3 benches/grow.py DIR --megabytes 1000     # writes DIR/text/*.jsonl and DIR/grown.toml
    isoflop data DIR/grown.toml --workers 1

Documents are paragraphs put together anew, in which each eighth word is exchanged, so that they are no copies and share
no 12-gram; one in twenty is a copy, and one in twenty nearly one. The same seed gives the same bytes.
"""

import argparse
import json
import pathlib
import random

RAW = pathlib.Path(__file__).resolve().parents[1] / "recipes/raw"
FILE = 50e6  # bytes of a file
RECIPE = """name = "grown"
tokenizer = { bpe = { vocab = 32768, sample = "100MB" } }
held_out = 0.005

[domain.text]
read = { jsonl = ["text/*.jsonl"] }
language = { keep = ["en", "fr", "es"], at_least = 0.3 }
filters = [{ gopher-quality = { words = [20, 100000] } }]
"""


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("out", type=pathlib.Path)
    parser.add_argument("--megabytes", type=float, default=100, help="of text (default 100)")
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    (options.out / "text").mkdir(parents=True, exist_ok=True)
    (options.out / "grown.toml").write_text(RECIPE)
    chance, pool = random.Random(options.seed), paragraphs()
    words = [word for paragraph in pool for word in paragraph]
    left, number, before = options.megabytes * 1e6, 0, None
    while left > 0:
        size = 0
        with open(options.out / f"text/{number:04}.jsonl", "w", encoding="utf-8") as out:
            while size < min(FILE, left):
                before = text = document(chance, pool, words, before)
                out.write(json.dumps({"text": text}, ensure_ascii=False) + "\n")
                size += len(text.encode())
        left, number = left - size, number + 1
    print(f"{number} files under {options.out / 'text'}")


def paragraphs():
    """Lists of words."""
    texts = []
    for file in sorted((RAW / "wiki").glob("*.jsonl")):
        texts += [json.loads(line)["text"] for line in file.read_text(encoding="utf-8").splitlines()]
    for file in sorted([*(RAW / "speeches").glob("*.txt"), *(RAW / "docs").rglob("*.txt")]):
        texts += file.read_text(encoding="utf-8").split("\n\n")
    return [words for words in (text.split() for text in texts) if len(words) >= 20]


def document(chance, pool, words, before):
    kind = chance.random()
    if before and kind < 0.05:
        return before
    if before and kind < 0.1:
        return before + " " + chance.choice(words)
    parts = []
    for paragraph in chance.choices(pool, k=chance.randint(1, 8)):
        paragraph = paragraph[:400]
        for i in range(chance.randrange(8), len(paragraph), 8):
            paragraph[i] = chance.choice(words)
        parts.append(" ".join(paragraph))
    return "\n\n".join(parts)


if __name__ == "__main__":
    main()
