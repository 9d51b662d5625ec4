"""The model of isoflop in PyTorch, as fast as PyTorch makes it: what `train.py` races.

    torch_twin.py --serve     a JSON line says what to train, then each line of stdin how many steps
    torch_twin.py --gemm      GFLOP/s of f32 matrix products; the shapes come as a JSON line

Same weights, batches, hyperparameters and order of work as isoflop: they are read from what
`isoflop device bench --export` writes; without a file they are random, to have the compiler's work done.
`tests/golden/torch_ten_steps.py` writes the same model out by hand and holds both to each other in float32
and float64; here it uses PyTorch's own fused operations: `rms_norm`, `scaled_dot_product_attention`,
`cross_entropy` and the fused AdamW.
"""

import json
import math
import os
import sys
import time

import torch
import torch.nn.functional as F

NORM_EPS, ROPE_BASE = 1e-5, 10_000.0
DECAYED = ("qkv", "out", "gate_up", "down", "head")


def main():
    order = json.loads(sys.stdin.readline())
    torch.set_num_threads(order["threads"])
    print(json.dumps(products(order["shapes"]) if sys.argv[1] == "--gemm" else serve(order)), flush=True)


def serve(order):
    """Answers each line of stdin, a number of steps, by the losses and norms of those steps."""
    recipe, device = order["recipe"], order["device"]
    tensors = load(order["file"]) if order["file"] else drawn(recipe)
    step, done = trainer(tensors, recipe, order["variant"], device), 0
    card = torch.cuda.get_device_name() if device == "cuda" else None
    say({"torch": torch.__version__, "threads": torch.get_num_threads(), "card": card})
    for line in sys.stdin:
        steps = int(line)
        pairs = [step(done + i) for i in range(steps)]
        done += steps
        say({"losses": [loss for loss, _ in pairs], "norms": [norm for _, norm in pairs]})
    return {"steps": done}


def say(answer):
    print(json.dumps(answer), flush=True)


def load(path):
    """Tensors of a safetensors file: its format is a length, a JSON header and the bytes."""
    with open(path, "rb") as file:
        header = json.loads(file.read(int.from_bytes(file.read(8), "little")))
        body = bytearray(file.read())
    kinds = {"F32": torch.float32, "I32": torch.int32}
    out = {}
    for name, told in header.items():
        if name != "__metadata__":
            begin, end = told["data_offsets"]
            values = torch.frombuffer(body[begin:end], dtype=kinds[told["dtype"]])
            out[name] = values.reshape(told["shape"]).clone()
    return out


def drawn(recipe):
    """Random weights and ids in the shapes of a file."""
    shape = recipe["shape"]
    width, ff, vocab = shape["width"], shape["ff"], shape["vocab"]
    dims = {"embed": (vocab, width), "norm_f": (1, width), "head": (width, vocab)}
    block = {
        "norm1": (1, width),
        "qkv": (width, 3 * width),
        "out": (width, width),
        "norm2": (1, width),
        "gate_up": (width, 2 * ff),
        "down": (ff, width),
    }
    for i in range(shape["layers"]):
        dims |= {f"blocks.{i}.{name}": of for name, of in block.items()}
    out = {name: 0.02 * torch.randn(of) for name, of in dims.items()}
    ids = (4, recipe["batch_sequences"], shape["context"])
    return out | {name: torch.randint(vocab, ids, dtype=torch.int32) for name in ("inputs", "targets")}


class Decoder(torch.nn.Module):
    """Pre-norm RMSNorm, rotary attention, SwiGLU, no biases. Linear weights are [out, in] as in torch."""

    def __init__(self, shape, tensors, written_out):
        super().__init__()
        self.layers, self.heads = shape["layers"], shape["heads"]
        self.width, self.head_dim = shape["width"], shape["width"] // shape["heads"]
        self.written_out = written_out
        self.names = {}
        for name, value in tensors.items():
            if value.shape[0] == 1:
                value = value.reshape(-1)
            elif name != "embed":
                value = value.T.contiguous()
            key = name.replace(".", "_")
            self.names[key] = name
            self.register_parameter(key, torch.nn.Parameter(value))
        context, pairs = shape["context"], self.head_dim // 2
        frequency = ROPE_BASE ** (-torch.arange(pairs, dtype=torch.float64) / pairs)
        angle = torch.arange(context, dtype=torch.float64)[:, None] * frequency
        self.register_buffer("cos", angle.cos().float())
        self.register_buffer("sin", angle.sin().float())
        future = torch.full((context, context), float("-inf")).triu(1)
        self.register_buffer("future", future)

    def forward(self, ids, targets):
        """Mean cross-entropy of targets, both [batch, context]."""
        batch, context = ids.shape
        norm = lambda x, gain: F.rms_norm(x, (self.width,), gain, NORM_EPS)  # noqa: E731
        x = F.embedding(ids, self.embed)
        for i in range(self.layers):
            w = lambda name: getattr(self, f"blocks_{i}_{name}")  # noqa: B023, E731
            packed = F.linear(norm(x, w("norm1")), w("qkv"))
            packed = packed.view(batch, context, 3 * self.heads, self.head_dim).transpose(1, 2)
            rotated, v = packed.split([2 * self.heads, self.heads], dim=1)
            a, b = rotated.chunk(2, dim=-1)
            rotated = torch.cat([a * self.cos - b * self.sin, b * self.cos + a * self.sin], dim=-1)
            q, k = rotated.chunk(2, dim=1)
            if self.written_out:
                score = q @ k.transpose(-1, -2) * (1 / math.sqrt(self.head_dim)) + self.future
                seen = score.softmax(-1) @ v
            else:
                seen = F.scaled_dot_product_attention(q, k, v, is_causal=True)
            seen = seen.transpose(1, 2).reshape(batch, context, self.width)
            x = x + F.linear(seen, w("out"))
            gate, up = F.linear(norm(x, w("norm2")), w("gate_up")).chunk(2, dim=-1)
            x = x + F.linear(F.silu(gate) * up, w("down"))
        logits = F.linear(norm(x, self.norm_f), self.head)
        return F.cross_entropy(logits.view(-1, logits.shape[-1]), targets.view(-1))


def trainer(tensors, recipe, variant, device):
    """A function that takes step n and returns its loss and its gradient norm before clipping."""
    inputs, targets = (tensors.pop(name).long().to(device) for name in ("inputs", "targets"))
    model = Decoder(recipe["shape"], tensors, "written out" in variant).to(device)
    # On a GPU products are bf16, weights and sums float32, as in isoflop.
    precision = torch.autocast(device, torch.bfloat16, enabled=device == "cuda")
    loss_of = torch.compile(model) if "compile" in variant else model
    groups = {0.0: [], recipe["weight_decay"]: []}
    for key, parameter in model.named_parameters():
        decays = model.names[key].split(".")[-1] in DECAYED
        groups[recipe["weight_decay"] if decays else 0.0].append(parameter)
    adamw = torch.optim.AdamW(
        [{"params": parameters, "weight_decay": decay} for decay, parameters in groups.items()],
        lr=recipe["learning_rate"],
        betas=tuple(recipe["betas"]),
        eps=recipe["eps"],
        fused=True,
    )
    parameters = list(model.parameters())

    def step(n):
        adamw.zero_grad(set_to_none=True)
        with precision:
            loss = loss_of(inputs[n % len(inputs)], targets[n % len(targets)])
        loss.backward()
        norm = torch.nn.utils.clip_grad_norm_(parameters, recipe["clip"])
        adamw.step()
        return loss.item(), norm.item()

    return step


def products(shapes):
    """The best rate over all shapes [m, n, k] and the rate of each [GFLOP/s]."""
    rows = []
    for m, n, k in shapes:
        a, b, c = torch.full((m, k), 0.5), torch.full((k, n), 0.5), torch.empty(m, n)
        least, begin = math.inf, time.perf_counter()
        while time.perf_counter() - begin < 0.06:
            start = time.perf_counter()
            torch.mm(a, b, out=c)
            least = min(least, time.perf_counter() - start)
        rows.append({"m_n_k": [m, n, k], "gflops": 2e-9 * m * n * k / least})
    return {"peak_gflops": max(row["gflops"] for row in rows), "products": rows}


if __name__ == "__main__":
    # The reader of stdout may be gone when the last answer is written.
    try:
        main()
    except BrokenPipeError:
        os._exit(0)
