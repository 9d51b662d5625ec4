"""isoflop's scores beside those of lm-evaluation-harness 0.4.13, request by request.

    python -m venv .venv && .venv/bin/pip install -r benches/peers/requirements-eval.txt
    .venv/bin/python benches/peers/eval.py RESULTS --cell ID TASK.toml...     # or a model directory in the place of both

Exports the cell (`isoflop export --format hf`), scores it with `isoflop eval` and with the harness on the same items, offline,
and compares every request: log-likelihoods to 1e-3 nats, whether every token is the argmax, accuracies and bits per byte. Items whose choices
are tied to 1e-3 nats are listed and may differ. Templates are rendered here once more, so that what isoflop renders is compared too.
"""

import argparse
import json
import os
import pathlib
import re
import subprocess
import sys
import tempfile
import time
import tomllib

ROOT = pathlib.Path(__file__).resolve().parents[2]
CLOSE = 1e-3  # nats
TASK = """task: {name}
dataset_path: json
dataset_kwargs:
  data_files: {{test: {items}}}
test_split: test
output_type: {output}
doc_to_text: {text}
doc_to_target: {target}
{choices}target_delimiter: {delimiter}
metric_list:
{metrics}
"""


def fill(template, item):
    """`{field}` is the field of the item, `{{` and `}}` are braces."""
    text = lambda v: json.dumps(v) if isinstance(v, (bool, int, float)) else v
    found = lambda m: {"{{": "{", "}}": "}"}.get(m[0]) or text(item[m[1]])
    return re.sub(r"\{\{|\}\}|\{([^{}]+)\}", found, template)


def several(templates, item):
    if isinstance(templates, str):
        return [v if isinstance(v, str) else json.dumps(v) for v in item[templates.strip("{}")]]
    return [fill(t, item) for t in templates]


def rendered(spec, item):
    """The fields that the harness reads."""
    kind = spec["kind"]
    if kind == "text":
        return {"target": fill(spec["text"], item)}
    if kind == "continuation":
        return {"text": fill(spec["context"], item), "target": fill(spec["continuation"], item)}
    if kind == "pairs":
        return {"choices": [fill(spec[k], item) for k in ("good", "bad")], "gold": 0}
    choices = several(spec["choices" if kind == "choices" else "contexts"], item)
    gold = fill(spec["gold"], item)
    gold = int(gold) if gold.strip().isdigit() else choices.index(gold)
    if kind == "choices":
        return {"text": fill(spec["context"], item), "choices": choices, "gold": gold}
    return {"choices": choices, "gold": gold, "target": fill(spec["continuation"], item)}


def write_task(path, folder):
    """A task of the harness from one of ours, with its items; their number."""
    spec = tomllib.loads(path.read_text())
    lines = (path.parent / spec["items"]).read_text().splitlines()
    items = [rendered(spec, json.loads(line)) for line in lines if line.strip()]
    data = folder / f"{spec['name']}.jsonl"
    data.write_text("".join(json.dumps(item) + "\n" for item in items))
    kind, delimiter = spec["kind"], spec.get("delimiter", " ")
    chosen = "doc_to_choice: choices\n"
    # (output type, doc_to_text, doc_to_target, doc_to_choice, metrics)
    output, text, target, choices, metrics = {
        "choices": ("multiple_choice", "text", "gold", chosen, ["acc", "acc_norm", "acc_bytes"]),
        "contexts": ("multiple_choice", "gold", "target", chosen, ["acc", "acc_norm", "acc_bytes"]),
        "pairs": ("multiple_choice", '""', "gold", chosen, ["acc", "acc_norm", "acc_bytes"]),
        "continuation": ("loglikelihood", "text", "target", "", ["perplexity", "acc"]),
        "text": ("loglikelihood_rolling", '""', "target", "", ["bits_per_byte"]),
    }[kind]
    if kind == "continuation":
        # The harness puts no delimiter there: its tasks write it into the target.
        target = json.dumps(f"{delimiter}{{{{target}}}}")
    page = TASK.format(
        name=f"isoflop-{spec['name']}",
        items=json.dumps(str(data)),
        output=output,
        text=text,
        target=target,
        choices=choices,
        delimiter=json.dumps(delimiter if kind != "text" else ""),
        metrics="\n".join(f"  - metric: {m}" for m in metrics),
    )
    (folder / f"{spec['name']}.yaml").write_text(page)
    return spec["name"]


def run(command, **more):
    started = time.monotonic()
    done = subprocess.run([str(c) for c in command], text=True, capture_output=True, **more)
    if done.returncode:
        sys.exit(f"{' '.join(map(str, command))}\n{done.stdout[-2000:]}{done.stderr[-4000:]}")
    return done.stdout, time.monotonic() - started


def of_harness(model, names, folder):
    """(samples by task, results by task, seconds)."""
    out = folder / "out"
    offline = {v: "1" for v in ("HF_HUB_OFFLINE", "HF_DATASETS_OFFLINE", "TRANSFORMERS_OFFLINE")}
    environment = {**os.environ, **offline, "HF_HOME": str(folder / "cache")}
    command = [sys.executable, "-m", "lm_eval", "--model", "hf", "--model_args", f"pretrained={model},dtype=float32"]
    command += ["--tasks", ",".join(f"isoflop-{n}" for n in names), "--include_path", folder, "--output_path", out]
    command += ["--log_samples", "--device", "cpu", "--batch_size", "16"]
    _, seconds = run(command, env=environment)
    found = lambda pattern: sorted(out.rglob(pattern))[-1]
    samples = {}
    for name in names:
        lines = found(f"samples_isoflop-{name}_*.jsonl").read_text().splitlines()
        samples[name] = sorted(map(json.loads, lines), key=lambda s: s["doc_id"])
    results = json.loads(found("results_*.json").read_text())["results"]
    return samples, {n: results[f"isoflop-{n}"] for n in names}, seconds


def compare(record, samples, results):
    """What differs, as lines; the worst difference of a log-likelihood [nats]."""
    wrong, worst, ties = [], 0.0, 0
    if len(samples) != len(record["scores"]):
        return [f"{len(samples)} items against {len(record['scores'])}"], 0.0, 0
    for i, (sample, ours) in enumerate(zip(samples, record["scores"], strict=True)):
        theirs = [r[0] if isinstance(r[0], list) else r for r in sample["resps"]]
        for r, (their, (ll, greedy, _)) in enumerate(zip(theirs, ours, strict=True)):
            off = abs(float(their[0]) - ll)
            worst = max(worst, off)
            if off > CLOSE:
                wrong.append(f"item {i}, request {r}: {ll} against {their[0]}")
            if len(their) > 1 and str(their[1]) != str(greedy):
                wrong.append(f"item {i}, request {r}: argmax {greedy} against {their[1]}, at {off:.1e} nats")
        best = sorted((s[0] for s in ours), reverse=True)
        ties += len(best) > 1 and best[0] - best[1] < CLOSE
    metrics = record["metrics"]
    pairs = [("acc", "accuracy"), ("acc_norm", "accuracy_norm"), ("acc_bytes", "accuracy_bytes")]
    for their, own in [*pairs, ("bits_per_byte", "bits_per_byte")]:
        value = results.get(f"{their},none")
        if value is not None and own in metrics:
            off = abs(value - metrics[own]["value"])
            if off > (1e-6 if their == "bits_per_byte" else 1e-9) + ties / len(samples):
                wrong.append(f"{own}: {metrics[own]['value']} against {value}")
    return wrong, worst, ties


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model", type=pathlib.Path, help="a results directory, or a model directory")
    parser.add_argument("tasks", nargs="+", type=pathlib.Path)
    parser.add_argument("--cell", help="of a results directory")
    parser.add_argument("--binary", type=pathlib.Path, default=ROOT / "target/release/isoflop")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        folder = pathlib.Path(folder)
        model = args.model
        if args.cell:
            model = folder / "model"
            run([args.binary, "export", args.model, "--cell", args.cell, "--format", "hf", "--out", model])
        names = [write_task(path, folder) for path in args.tasks]
        ours = folder / "ours.jsonl"
        _, own = run([args.binary, "eval", model, "--tasks", *args.tasks, "--out", ours, "--json"])
        records = {r["task"]: r for r in map(json.loads, ours.read_text().splitlines())}
        samples, results, theirs = of_harness(model.resolve(), names, folder)
        failed = False
        print(f"{'task':20} {'items':>6} {'worst, nats':>12} {'ties':>5}  accuracy (ours, harness)")
        for name in names:
            wrong, worst, ties = compare(records[name], samples[name], results[name])
            accuracy = records[name]["metrics"].get("accuracy", {}).get("value")
            print(f"{name:20} {len(samples[name]):6} {worst:12.2e} {ties:5}  {accuracy} {results[name].get('acc,none')}")
            for line in wrong[:20]:
                print(f"  {line}")
            failed |= bool(wrong)
        print(f"isoflop {own:.1f} s, lm-evaluation-harness {theirs:.1f} s, each with its start")
    return failed


if __name__ == "__main__":
    sys.exit(main())
