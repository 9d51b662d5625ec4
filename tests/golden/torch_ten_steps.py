#!/usr/bin/env python3
"""Ten training steps in PyTorch, as the expected answer of isoflop's own decoder and optimiser.

Writes two files beside this script:

    torch_ten_steps.json         shapes, hyperparameters, token ids, losses, gradient norms
    torch_ten_steps.safetensors  initial weights, gradients of the first step, final weights (float32, little-endian)

The model is written out in plain tensor operations below, with the weights stored as isoflop stores them. The
gradients, the clipping, the cross-entropy and AdamW are PyTorch's.

    pip install torch numpy safetensors          (and transformers for the check)
    python3 torch_ten_steps.py [--check-transformers]

--check-transformers   write nothing; put the same weights into LlamaForCausalLM and Qwen3ForCausalLM, train those for
                       the same ten steps, and print the largest differences

Layout. Every matrix is [in, out] and is used as `y = x @ W`: the transpose of `torch.nn.Linear.weight`. `qkv` is
[d, 3d], the columns of q, then k, then v; within each, head h owns columns h * head_dim .. (h + 1) * head_dim.
`gate_up` is [d, 2 ff], gate then up. `embed` is [vocab, d]. Arrays are row-major.
"""

import argparse
import json
import math
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from safetensors.numpy import save_file

HERE = Path(__file__).resolve().parent
NAME = "torch_ten_steps"

VOCAB, WIDTH, LAYERS, HEADS, FF = 61, 24, 2, 3, 64
HEAD_DIM = WIDTH // HEADS
CONTEXT, BATCH, STEPS = 20, 4, 10
NORM_EPS, ROPE_BASE = 1e-5, 10_000.0
BETAS, ADAM_EPS, WEIGHT_DECAY, CLIP = (0.9, 0.95), 1e-8, 0.1, 1.0
# A warmup of three steps to 0.012, then a half cosine towards 0.0012.
LEARNING_RATES = [0.004, 0.008, 0.012] + [
    round(0.0012 + 0.0108 * 0.5 * (1 + math.cos(math.pi * i / 7)), 8) for i in range(1, 8)
]
DECAYED = ("qkv", "out", "gate_up", "down", "head")
VARIANTS = {
    "plain": {"qk_norm": False, "tied": False},
    "qk_norm": {"qk_norm": True, "tied": False},
    "tied": {"qk_norm": False, "tied": True},
}
SEED = 20


def shapes(qk_norm, tied):
    """Name and shape of every tensor, in the order in which gradients are summed into the norm."""
    out = {"embed": [VOCAB, WIDTH]}
    for i in range(LAYERS):
        block = {"norm1": [WIDTH], "qkv": [WIDTH, 3 * WIDTH]}
        if qk_norm:
            block |= {"q_norm": [HEAD_DIM], "k_norm": [HEAD_DIM]}
        block |= {"out": [WIDTH, WIDTH], "norm2": [WIDTH], "gate_up": [WIDTH, 2 * FF], "down": [FF, WIDTH]}
        out |= {f"blocks.{i}.{name}": shape for name, shape in block.items()}
    out["norm_f"] = [WIDTH]
    if not tied:
        out["head"] = [WIDTH, VOCAB]
    return out


def initial_weights():
    """One set of float32 weights; each variant uses the tensors it has.

    Gains are spread around 1, and those of `norm_f` around 1/2, to expose mistakes. The scales are such that the norm
    of the gradient is on both sides of 1 during the ten steps, so that clipping is active in some of them and not in
    others; and `embed` is small enough that the epsilon of the first norm is seen.
    """
    generator = torch.Generator().manual_seed(SEED)
    weights = {}
    for name, shape in shapes(qk_norm=True, tied=False).items():
        noise = torch.randn(shape, generator=generator, dtype=torch.float64)
        if name == "norm_f":
            value = 0.5 + 0.125 * noise
        elif len(shape) == 1:
            value = 1 + 0.25 * noise
        elif name == "embed":
            value = 0.1 * noise
        elif name == "head":
            value = 0.5 * noise / math.sqrt(shape[0])
        else:
            value = noise / math.sqrt(shape[0])
        weights[name] = value.float()
    return weights


def batches():
    """Ten batches of `inputs` and `targets`, [batch, context] each, from a noisy linear map on the ids."""
    generator = torch.Generator().manual_seed(SEED + 1)
    ids = torch.randint(VOCAB, (STEPS, BATCH, CONTEXT + 1), generator=generator)
    keep = torch.rand(ids.shape, generator=generator) < 0.8
    for t in range(1, CONTEXT + 1):
        ids[..., t] = torch.where(keep[..., t], (ids[..., t - 1] * 2 + 7) % VOCAB, ids[..., t])
    return ids[..., :-1].contiguous(), ids[..., 1:].contiguous()


# ------------------------------------------------------------------------------------------------------ the model


def rms_norm(x, gain):
    return x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + NORM_EPS) * gain


def rotate(x, cos, sin):
    """Rotates the pairs (i, i + head_dim / 2), as `rotate_half` of transformers does."""
    a, b = x.chunk(2, dim=-1)
    return torch.cat([a * cos - b * sin, b * cos + a * sin], dim=-1)


def logits(weights, ids, qk_norm, tied):
    """ids [batch, seq] -> logits [batch, seq, vocab]."""
    batch, seq = ids.shape
    dtype = weights["embed"].dtype
    frequency = ROPE_BASE ** (-torch.arange(0, HEAD_DIM, 2, dtype=torch.float64) / HEAD_DIM)
    angle = torch.arange(seq, dtype=torch.float64)[:, None] * frequency[None, :]
    cos, sin = angle.cos().to(dtype), angle.sin().to(dtype)
    future = torch.ones(seq, seq, dtype=torch.bool).triu(1)

    x = weights["embed"][ids]
    for i in range(LAYERS):
        w = {name: weights[f"blocks.{i}.{name}"] for name in ("norm1", "qkv", "out", "norm2", "gate_up", "down")}
        q, k, v = (rms_norm(x, w["norm1"]) @ w["qkv"]).chunk(3, dim=-1)
        q, k, v = (part.view(batch, seq, HEADS, HEAD_DIM).transpose(1, 2) for part in (q, k, v))
        if qk_norm:
            q = rms_norm(q, weights[f"blocks.{i}.q_norm"])
            k = rms_norm(k, weights[f"blocks.{i}.k_norm"])
        q, k = rotate(q, cos, sin), rotate(k, cos, sin)
        score = (q @ k.transpose(-1, -2)) / math.sqrt(HEAD_DIM)
        share = score.masked_fill(future, float("-inf")).softmax(-1)
        x = x + (share @ v).transpose(1, 2).reshape(batch, seq, WIDTH) @ w["out"]
        gate, up = (rms_norm(x, w["norm2"]) @ w["gate_up"]).chunk(2, dim=-1)
        x = x + (F.silu(gate) * up) @ w["down"]
    x = rms_norm(x, weights["norm_f"])
    return x @ (weights["embed"].T if tied else weights["head"])


def optimiser(named_parameters):
    """AdamW with decoupled decay of the matrices in DECAYED; neither `embed` nor any gain decays."""
    decayed = [p for name, p in named_parameters if name.split(".")[-1] in DECAYED]
    others = [p for name, p in named_parameters if name.split(".")[-1] not in DECAYED]
    groups = [{"params": decayed, "weight_decay": WEIGHT_DECAY}, {"params": others, "weight_decay": 0.0}]
    return torch.optim.AdamW(groups, betas=BETAS, eps=ADAM_EPS, foreach=False, fused=False)


def train(parameters, forward, adamw):
    """Ten steps. Returns the losses and norms before each update, and the gradients of the first step."""
    inputs, targets = batches()
    losses, norms, first = [], [], None
    for step in range(STEPS):
        adamw.zero_grad()
        loss = F.cross_entropy(forward(inputs[step]).reshape(-1, VOCAB), targets[step].reshape(-1))
        loss.backward()
        if first is None:
            first = {name: p.grad.detach().clone() for name, p in parameters.items()}
        norm = torch.nn.utils.clip_grad_norm_(parameters.values(), CLIP, foreach=False)
        for group in adamw.param_groups:
            group["lr"] = LEARNING_RATES[step]
        adamw.step()
        losses.append(loss.item())
        norms.append(norm.item())
    return losses, norms, first


def run(variant, dtype):
    """Trains one variant; returns losses, norms, first gradients and final weights."""
    options = VARIANTS[variant]
    initial = initial_weights()
    weights = {name: initial[name].to(dtype).clone().requires_grad_() for name in shapes(**options)}
    losses, norms, first = train(
        weights, lambda ids: logits(weights, ids, **options), optimiser(list(weights.items()))
    )
    return losses, norms, first, {name: w.detach() for name, w in weights.items()}


# ------------------------------------------------------------------------------------------------------ writing


def furthest(a, b):
    """The largest absolute difference between two sets of tensors of the same names."""
    return max((a[name].double() - b[name].double()).abs().max().item() for name in a)


def shortest(value):
    """The shortest decimal that reads back as this float32."""
    return float(str(np.float32(value)))


def write():
    inputs, targets = batches()
    tensors = {f"init/{name}": w for name, w in initial_weights().items()}
    variants = {}
    for variant, options in VARIANTS.items():
        losses, norms, first, final = run(variant, torch.float32)
        losses_f64, norms_f64, first_f64, final_f64 = run(variant, torch.float64)
        tensors |= {f"{variant}/grad1/{name}": g for name, g in first.items()}
        tensors |= {f"{variant}/final/{name}": w for name, w in final.items()}
        variants[variant] = {
            **options,
            "tensors": shapes(**options),
            "losses": [shortest(x) for x in losses],
            "losses_f64": losses_f64,
            "grad_norms": [shortest(x) for x in norms],
            "grad_norms_f64": norms_f64,
            "clipped": [norm > CLIP for norm in norms_f64],
            "f32_minus_f64": {
                "losses": max(abs(a - b) for a, b in zip(losses, losses_f64)),
                "grad_norms": max(abs(a - b) for a, b in zip(norms, norms_f64)),
                "grad1": furthest(first, first_f64),
                "final": furthest(final, final_f64),
            },
        }
        print(variant, [f"{x:.4f}" for x in losses], [f"{x:.3f}" for x in norms], variants[variant]["f32_minus_f64"])
    document = {
        "about": "Ten steps of a small decoder in PyTorch; see torch_ten_steps.py. Tensors are in the .safetensors "
        "file of the same name, as 'init/<tensor>' (shared by the variants), '<variant>/grad1/<tensor>' (before "
        "clipping) and '<variant>/final/<tensor>' (after ten updates). Matrices are row-major [in, out], y = x @ W. "
        "Losses are means over tokens, before each update [nats/token]; norms are before clipping. f32_minus_f64 is the "
        "largest absolute difference from the same run in float64.",
        "torch": torch.__version__.split("+")[0],
        "model": {
            "vocab": VOCAB,
            "d_model": WIDTH,
            "layers": LAYERS,
            "heads": HEADS,
            "head_dim": HEAD_DIM,
            "ff": FF,
            "context": CONTEXT,
            "norm_eps": NORM_EPS,
            "rope_base": ROPE_BASE,
            "rope_pairs": "half-split: (i, i + head_dim / 2)",
        },
        "optimiser": {
            "name": "AdamW",
            "beta1": BETAS[0],
            "beta2": BETAS[1],
            "eps": ADAM_EPS,
            "weight_decay": WEIGHT_DECAY,
            "decayed": list(DECAYED),
            "clip": CLIP,
            "clip_coefficient": "min(1, clip / (norm + 1e-6))",
            "lr": LEARNING_RATES,
        },
        "batch": BATCH,
        "steps": STEPS,
        "inputs": inputs.tolist(),
        "targets": targets.tolist(),
        "variants": variants,
    }
    text = json.dumps(document, separators=(",", ":"))
    for key in ("torch", "model", "optimiser", "batch", "inputs", "targets", "variants", *VARIANTS):
        text = text.replace(f',"{key}":', f',\n"{key}":')
    (HERE / f"{NAME}.json").write_text(text + "\n")
    save_file({name: np.ascontiguousarray(t.numpy()) for name, t in tensors.items()}, HERE / f"{NAME}.safetensors")


# ------------------------------------------------------------------------------------------------------ the check


def their_model(variant):
    """The variant as a model of transformers, with the initial weights, and a map from our names to its parameters."""
    from transformers import LlamaConfig, LlamaForCausalLM, Qwen3Config, Qwen3ForCausalLM

    options = VARIANTS[variant]
    config, model = (Qwen3Config, Qwen3ForCausalLM) if options["qk_norm"] else (LlamaConfig, LlamaForCausalLM)
    model = model(
        config(
            vocab_size=VOCAB,
            hidden_size=WIDTH,
            intermediate_size=FF,
            num_hidden_layers=LAYERS,
            num_attention_heads=HEADS,
            num_key_value_heads=HEADS,
            head_dim=HEAD_DIM,
            max_position_embeddings=CONTEXT,
            rms_norm_eps=NORM_EPS,
            rope_parameters={"rope_type": "default", "rope_theta": ROPE_BASE},
            tie_word_embeddings=options["tied"],
            attention_bias=False,
            use_cache=False,
            attn_implementation="eager",
        )
    )
    theirs = {"embed": [model.model.embed_tokens.weight], "norm_f": [model.model.norm.weight]}
    for i, layer in enumerate(model.model.layers):
        a, m = layer.self_attn, layer.mlp
        theirs |= {
            f"blocks.{i}.norm1": [layer.input_layernorm.weight],
            f"blocks.{i}.qkv": [a.q_proj.weight, a.k_proj.weight, a.v_proj.weight],
            f"blocks.{i}.out": [a.o_proj.weight],
            f"blocks.{i}.norm2": [layer.post_attention_layernorm.weight],
            f"blocks.{i}.gate_up": [m.gate_proj.weight, m.up_proj.weight],
            f"blocks.{i}.down": [m.down_proj.weight],
        }
        if options["qk_norm"]:
            theirs |= {f"blocks.{i}.q_norm": [a.q_norm.weight], f"blocks.{i}.k_norm": [a.k_norm.weight]}
    if not options["tied"]:
        theirs["head"] = [model.lm_head.weight]
    assert sum(p.numel() for p in model.parameters()) == sum(p.numel() for ps in theirs.values() for p in ps)
    initial = initial_weights()
    with torch.no_grad():
        for name, ps in theirs.items():
            for p, part in zip(ps, initial[name].chunk(len(ps), dim=-1)):
                p.copy_(part if name == "embed" or part.dim() == 1 else part.T)
    return model, theirs


def ours_from(theirs, tensors):
    """Puts tensors that are keyed by (our name, part) back into our layout."""
    out = {}
    for name, ps in theirs.items():
        parts = [tensors[f"{name}#{j}"] for j in range(len(ps))]
        flip = name != "embed" and parts[0].dim() == 2
        out[name] = torch.cat([part.T if flip else part for part in parts], dim=-1)
    return out


def check():
    inputs, _ = batches()
    for variant, options in VARIANTS.items():
        model, theirs = their_model(variant)
        # The embedding is shared with the head here, and there is one parameter for both.
        initial = {name: initial_weights()[name] for name in shapes(**options)}
        with torch.no_grad():
            ours = torch.stack([logits(initial, ids, **options) for ids in inputs])
            difference = (ours - torch.stack([model(ids).logits for ids in inputs])).abs().max().item()
        parameters = {f"{name}#{j}": p for name, ps in theirs.items() for j, p in enumerate(ps)}
        named = [(key.split("#")[0], p) for key, p in parameters.items()]
        losses, norms, first = train(parameters, lambda ids: model(ids).logits, optimiser(named))
        our_losses, our_norms, our_first, our_final = run(variant, torch.float32)
        final = ours_from(theirs, {key: p.detach() for key, p in parameters.items()})
        gaps = {
            f"logits (of size {ours.abs().max().item():.2f})": difference,
            "losses": max(abs(a - b) for a, b in zip(losses, our_losses)),
            "grad_norms": max(abs(a - b) for a, b in zip(norms, our_norms)),
            "grad1": furthest(our_first, ours_from(theirs, first)),
            "final": furthest(our_final, final),
        }
        print(variant, type(model).__name__, {name: f"{gap:.2e}" for name, gap in gaps.items()})
        assert difference < 2e-5 and gaps["losses"] < 2e-4, variant


def main():
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--check-transformers", action="store_true")
    torch.set_num_threads(1)
    torch.use_deterministic_algorithms(True)
    if arguments.parse_args().check_transformers:
        check()
    else:
        write()


if __name__ == "__main__":
    main()
