"""isoflop's exported models in `transformers`: the same keys, logits, greedy text and held-out loss.

    python -m venv .venv && .venv/bin/pip install -r benches/peers/requirements-export.txt
    .venv/bin/python benches/peers/export.py           # --write-docs for the page, --keep DIR to look at it

Trains ten tiny models, built here unless `--binary` names isoflop: with and without the norm of queries and
keys, tied and not, on bytes and on BPE, under each parametrization; exports them, and loads what was written by
`AutoModelForCausalLM` and `AutoTokenizer`, offline. Exits with 1 where a number is off.

What is held against what:

* keys: what `from_pretrained` says is missing, unexpected or mismatched; none.
* logits: of 8 held-out windows, f32, against a forward pass in float64 of the weights as isoflop keeps them,
  written here from `src/model/definition.rs`; the largest difference over the largest logit.
* greedy: 50 ids by `generate(do_sample=False)` against `isoflop sample --temperature 0`, from the results and from
  the directory; and the log-likelihood of each.
* loss: of the windows that isoflop measures, read from the dataset's shard, against the run log's.
* text: 300 strings through both tokenizers.
"""

import argparse
import datetime
import json
import math
import os
import pathlib
import platform
import random
import shutil
import subprocess
import sys
import tempfile

import pages

ROOT = pathlib.Path(__file__).resolve().parents[2]
DOCS = ROOT / "docs/BENCHMARKS.md"
MARKS = ("<!-- export: written by benches/peers/export.py --write-docs -->", "<!-- export: end -->")
# Prompt and text fit the context: beyond it isoflop reads the last tokens, transformers goes on counting.
CONTEXT, EVAL, PROMPT = 64, 16384, "The law"
LOGITS, LOSS, LIKELIHOOD = 1e-6, 1e-6, 1e-5

RECIPE = """
name = "{name}"
tokenizer = {tokenizer}
held_out = 0.1
dedup = {{ exact = true, near = false }}
[domain.docs]
read = {{ text = ["text/*.md"] }}
paragraphs = 64
"""
SWEEP = """
name = "{name}"
[data]
source = {{ dataset = "datasets/{data}" }}
[model]
context = {context}
qk_norm = {qk_norm}
tied = {tied}
parametrization = "{parametrization}"
head_dim = 16
min_layers = 3
{reference}
[[grid.cells]]
params = 80e3
tokens = "{tokens}"
[optim]
learning_rate = 0.01
batch_tokens = 1024
[schedule.cosine]
warmup = 0.1
end = 0.1
[eval]
tokens = {eval}
"""


def models():
    """(name, QK-norm, tied, data, parametrization) of each."""
    for data in ("bytes", "bpe"):
        for qk_norm in (False, True):
            for tied in (False, True):
                parametrization = "mup-hidden-rates" if tied else "complete-p"
                yield qk_norm, tied, data, parametrization
    yield True, False, "bytes", "standard"
    yield True, False, "bytes", "mup-hidden-rates"


def run(binary, *arguments, cwd):
    done = subprocess.run(
        [str(binary), *map(str, arguments)], cwd=cwd, capture_output=True, text=True, check=False
    )
    if done.returncode:
        sys.exit(f"error: isoflop {' '.join(map(str, arguments))}\n{done.stderr}")
    return done


def prepare(binary, place):
    (place / "text").mkdir()
    for page in [*ROOT.glob("docs/*.md"), ROOT / "README.md", ROOT / "CHANGELOG.md"]:
        shutil.copy(page, place / "text" / page.name)
    for name, tokenizer in (("bytes", '"bytes"'), ("bpe", '{ bpe = { vocab = 600, sample = "1MB" } }')):
        (place / f"{name}.toml").write_text(RECIPE.format(name=name, tokenizer=tokenizer))
        run(binary, "data", f"{name}.toml", cwd=place)


def windows(numpy, dataset, tokens):
    """The held-out windows of so many tokens, `[n, CONTEXT + 1]`, as isoflop cuts them."""
    manifest = json.loads((dataset / "manifest.json").read_text())
    manifest = manifest.get("event", manifest)
    shard = dataset / manifest["domains"][0]["held_out"]["shards"][0]["file"]
    ids = numpy.fromfile(shard, dtype="<u2", offset=1024).astype(numpy.int64)
    there, wanted = (len(ids) - 1) // CONTEXT, tokens // CONTEXT
    starts = [min(i * there // wanted, there - 1) * CONTEXT for i in range(wanted)]
    return numpy.stack([ids[s : s + CONTEXT + 1] for s in starts])


def forward(numpy, weights, shape, ids):
    """Logits `[n, T, V]` in float64, by the page that is the model."""
    n, t = ids.shape
    d, heads, layers = shape["width"], shape["heads"], shape["layers"]
    hd = d // heads
    w = {name: value.astype(numpy.float64) for name, value in weights.items()}

    def norm(x, gain):
        return x / numpy.sqrt((x * x).mean(-1, keepdims=True) + 1e-5) * gain.reshape(-1)

    angle = numpy.arange(t)[:, None] * 10000.0 ** (-2.0 * numpy.arange(hd // 2) / hd)
    cos, sin = numpy.cos(angle), numpy.sin(angle)

    def rope(x):
        a, b = x[..., : hd // 2], x[..., hd // 2 :]
        return numpy.concatenate([a * cos - b * sin, b * cos + a * sin], -1)

    mask = numpy.triu(numpy.full((t, t), -numpy.inf), 1)
    x = w["embed"][ids]
    for i in range(layers):
        of = lambda name: w[f"blocks.{i}.{name}"]  # noqa: E731
        qkv = norm(x, of("norm1")) @ of("qkv")
        q, k, v = (part.reshape(n, t, heads, hd).swapaxes(1, 2) for part in numpy.split(qkv, 3, -1))
        if shape["qk_norm"]:
            q, k = norm(q, of("q_norm")), norm(k, of("k_norm"))
        scores = rope(q) @ rope(k).swapaxes(2, 3) / math.sqrt(hd) + mask
        scores = numpy.exp(scores - scores.max(-1, keepdims=True))
        seen = scores / scores.sum(-1, keepdims=True) @ v
        x = x + seen.swapaxes(1, 2).reshape(n, t, d) @ of("out")
        gate, up = numpy.split(norm(x, of("norm2")) @ of("gate_up"), 2, -1)
        x = x + gate / (1 + numpy.exp(-gate)) * up @ of("down")
    return norm(x, w["norm_f"]) @ (w["embed"].T if shape["tied"] else w["head"])


def strings(seed=3, count=300):
    """Strings of every kind of character, U+0000 left out: a text has none."""
    draw = random.Random(seed)
    parts = ["the ", "law", " ", "\n", "é", "Ā", "語", "🐋", "\t", "0", "<|", "'s", "  "]
    texts = []
    for _ in range(count):
        text = "".join(draw.choice(parts) for _ in range(draw.randrange(30)))
        points = (draw.randrange(1, 0x110000) for _ in range(draw.randrange(10)))
        texts.append(text + "".join(chr(p) for p in points if not 0xD800 <= p < 0xE000))
    return texts


def sample(binary, model, place, *more):
    arguments = ["sample", model, "--prompt", PROMPT, "--tokens", 50, "--temperature", 0, "--json", *more]
    return json.loads(run(binary, *arguments, cwd=place).stdout)


def check(binary, place, kind, tokens):
    """One row of the table, and what of it is off."""
    import numpy
    import torch
    from safetensors.numpy import load_file
    from transformers import AutoModelForCausalLM, AutoTokenizer

    qk_norm, tied, data, parametrization = kind
    name = f"{data}{'-normed' if qk_norm else ''}{'-tied' if tied else ''}-{parametrization}"
    # Other than the model's own, so that there is something to fold.
    reference = "" if parametrization == "standard" else "reference_width = 32"
    if parametrization == "complete-p":
        reference += "\nreference_layers = 2"
    text = SWEEP.format(
        name=name, data=data, context=CONTEXT, qk_norm=str(qk_norm).lower(), tied=str(tied).lower(),
        parametrization=parametrization, reference=reference, tokens=tokens, eval=EVAL,
    )
    (place / f"{name}.toml").write_text(text)
    run(binary, "run", f"{name}.toml", cwd=place)
    results, out = place / "results" / name, place / "hf" / name
    run(binary, "export", f"{name}.toml", "--format", "hf", "--out", out, cwd=place)
    about = json.loads((out / "isoflop.json").read_text())
    shape = about["cell"]["recipe"]["shape"]
    weights = load_file(next(results.glob("cells/*/attempt-*/weights/weights.safetensors")))

    model, loading = AutoModelForCausalLM.from_pretrained(out, output_loading_info=True)
    keys = {key: sorted(map(str, loading[key])) for key in ("missing_keys", "unexpected_keys", "mismatched_keys")}
    model.eval()
    held_out = windows(numpy, place / "datasets" / data, about["cell"]["recipe"]["eval_tokens"])
    ids = torch.tensor(held_out)
    with torch.no_grad():
        logits = model(input_ids=ids[:, :-1]).logits
        loss = torch.nn.functional.cross_entropy(
            logits.reshape(-1, logits.shape[-1]).double(), ids[:, 1:].reshape(-1)
        ).item()
    want = forward(numpy, weights, shape, held_out[:8, :-1])
    scale = float(numpy.abs(want).max())
    off = float(numpy.abs(logits[:8].double().numpy() - want).max()) / scale

    tokenizer = AutoTokenizer.from_pretrained(out)
    ours = sample(binary, f"{name}.toml", place)
    again = sample(binary, out, place)
    prompt = tokenizer(PROMPT, return_tensors="pt")
    with torch.no_grad():
        made = model.generate(**prompt, max_new_tokens=50, do_sample=False)
        n = prompt["input_ids"].shape[1]
        theirs = made[0, n:].tolist()
        end = model.config.eos_token_id
        theirs = theirs[:-1] if theirs and theirs[-1] == end else theirs
        each = torch.log_softmax(model(made).logits[0].double(), -1)
        each = [each[n - 1 + i, id].item() for i, id in enumerate(theirs)]
    likelihood = max(map(lambda l, r: abs(l - r), each, ours["log_likelihoods"]), default=0.0)
    same_text = sum(
        tokenizer.decode(tokenizer(s)["input_ids"], clean_up_tokenization_spaces=False) == s for s in strings()
    )
    row = {
        "model": f"{'Qwen3' if qk_norm else 'Llama'}{', tied' if tied else ''}",
        "ids": "bytes" if data == "bytes" else f"BPE of {shape['vocab']}",
        "parametrization": parametrization,
        "keys": keys,
        "scale": scale,
        "logits": off,
        "greedy": theirs == ours["ids"] == again["ids"] and prompt["input_ids"][0].tolist() == ours["prompt_ids"],
        "likelihood": likelihood,
        "loss": about["loss"],
        "their_loss": loss,
        "text": same_text,
    }
    wrong = [
        what
        for what, is_wrong in (
            (f"keys: {keys}", any(keys.values())),
            (f"logits: off by {off:.2e} of their scale", off > LOGITS),
            (f"greedy: {theirs} and {ours['ids']} and {again['ids']}", not row["greedy"]),
            (f"log-likelihoods: off by {likelihood:.2e}", likelihood > LIKELIHOOD),
            (f"loss: {loss} and {about['loss']}", abs(loss / about["loss"] - 1) > LOSS),
            (f"text: {same_text} of {len(strings())} strings came back", same_text != len(strings())),
        )
        if is_wrong
    ]
    return row, [f"{name}: {what}" for what in wrong]


def page(rows, binary, place):
    import tokenizers
    import torch
    import transformers

    version = run(binary, "--version", cwd=place).stdout.strip()
    lines = [
        f"* Machine: {platform.processor() or platform.machine()}, {os.cpu_count()} cores; "
        f"{datetime.date.today().isoformat()}.",
        f"* Versions: {version}, Python {platform.python_version()}, transformers {transformers.__version__}, "
        f"tokenizers {tokenizers.__version__}, torch {torch.__version__}.",
        f"* Greedy: 50 ids after \"{PROMPT}\". Loss: {EVAL:,} held-out tokens, or all there are. "
        f"Text: {len(strings())} strings.",
        "",
        "| model | ids | parametrization | keys off | logits off (of their scale) "
        "| greedy | log-likelihoods off [nats] | isoflop's loss | transformers' | text |",
        "|---|---|---|---:|---:|---|---:|---:|---:|---:|",
    ]
    for row in rows:
        lines.append(
            f"| {row['model']} | {row['ids']} | {row['parametrization']} | {sum(map(len, row['keys'].values()))} "
            f"| {row['logits']:.1e} | {'equal' if row['greedy'] else '**other**'} "
            f"| {row['likelihood']:.1e} | {row['loss']:.7f} | {row['their_loss']:.7f} | {row['text']} of {len(strings())} |"
        )
    return "\n".join(lines)


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--binary", type=pathlib.Path, help="isoflop, built already")
    parser.add_argument("--tokens", default="300k", help="training tokens of each model")
    parser.add_argument("--keep", type=pathlib.Path, help="an empty directory to work in, left as it is then")
    parser.add_argument("--write-docs", action="store_true", help="put the table into docs/BENCHMARKS.md")
    given = parser.parse_args()
    os.environ |= {"HF_HUB_OFFLINE": "1", "TRANSFORMERS_OFFLINE": "1", "TOKENIZERS_PARALLELISM": "false"}
    binary = given.binary
    if binary is None:
        subprocess.run(["cargo", "build", "--release", "--locked"], cwd=ROOT, check=True)
        binary = ROOT / "target/release/isoflop"
    with tempfile.TemporaryDirectory() as scratch:
        place = (given.keep or pathlib.Path(scratch)).resolve()
        place.mkdir(parents=True, exist_ok=True)
        prepare(binary.resolve(), place)
        rows, wrong = [], []
        for kind in models():
            row, off = check(binary.resolve(), place, kind, given.tokens)
            rows.append(row)
            wrong += off
            print(f"{row['model']}, {row['ids']}, {row['parametrization']}: {'; '.join(off) or 'equal'}", flush=True)
        text = page(rows, binary.resolve(), place)
    print(text)
    if wrong:
        sys.exit("error: " + "\n".join(wrong))
    if given.write_docs:
        pages.write_docs(DOCS, MARKS, text)


if __name__ == "__main__":
    main()
