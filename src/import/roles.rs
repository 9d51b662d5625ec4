//! Which names of columns may play which role, and which of several is preferred.

use super::names::{Name, Unit};

/// What a column may mean. The first nine can be named with `--map`; a table's own steps, batches and ratios
/// only help out where tokens are missing.
pub(super) const ROLES: [&str; 12] = [
    "params",
    "tokens",
    "loss",
    "flops",
    "budget",
    "unique_tokens",
    "epochs",
    "id",
    "cluster",
    "ratio",
    "steps",
    "batch",
];

/// Words for data that a model was not trained on.
const HELD_OUT: [&str; 10] = [
    "val",
    "valid",
    "validation",
    "eval",
    "evaluation",
    "test",
    "heldout",
    "holdout",
    "held",
    "dev",
];
/// Words for the data that it was trained on.
const TRAINED: [&str; 2] = ["train", "training"];
/// Words of a loss.
const LOSS: [&str; 9] =
    ["loss", "ce", "nll", "xent", "crossentropy", "entropy", "bpb", "ppl", "perplexity"];
/// Words of what is told about a loss, and is none.
const NO_LOSS: [&str; 22] = [
    "se",
    "std",
    "stderr",
    "sd",
    "acc",
    "accuracy",
    "step",
    "time",
    "delta",
    "diff",
    "gap",
    "scale",
    "coef",
    "weight",
    "count",
    "samples",
    "tokens",
    "predicted",
    "pred",
    "aux",
    "spikes",
    "seconds",
];

const PARAM: [&str; 7] =
    ["param", "params", "parameter", "parameters", "nparams", "n", "num_params"];
const NO_PARAM: [&str; 26] = [
    "per",
    "ratio",
    "wte",
    "wpe",
    "lm",
    "head",
    "transformer",
    "value",
    "embeds",
    "scalars",
    "matrix",
    "matrices",
    "expert",
    "experts",
    "frac",
    "fraction",
    "share",
    "flops",
    "over",
    "lora",
    "norm",
    "tokens",
    "data",
    "layer",
    "convention",
    "multiplier",
];
/// Words of a count that says which matrices are in it.
const COUNTED: [&str; 7] =
    ["scaling", "matmul", "active", "effective", "nonembedding", "nonembed", "nonemb"];

const NO_TOKENS: [&str; 29] = [
    "per",
    "param",
    "params",
    "ratio",
    "batch",
    "sec",
    "second",
    "s",
    "eval",
    "val",
    "valid",
    "validation",
    "test",
    "unique",
    "vocab",
    "throughput",
    "speed",
    "context",
    "seq",
    "sequence",
    "step",
    "heldout",
    "gpu",
    "hour",
    "day",
    "available",
    "multiplier",
    "multiple",
    "over",
];

const NO_FLOPS: [&str; 26] = [
    "per",
    "s",
    "sec",
    "second",
    "token",
    "budget",
    "6nd",
    "spent",
    "mfu",
    "util",
    "utilization",
    "achieved",
    "peak",
    "throughput",
    "speed",
    "gpu",
    "inference",
    "forward",
    "over",
    "hw",
    "hardware",
    "params",
    "eval",
    "time",
    "hours",
    "cost",
];

/// Names of D, the best first.
const TOKENS: [&str; 13] = [
    "tokens",
    "n_tokens",
    "num_tokens",
    "tokens_trained",
    "training_tokens",
    "train_tokens",
    "total_tokens",
    "tokens_seen",
    "tokens_total",
    "dataset_size",
    "dataset_tokens",
    "token_count",
    "d",
];

/// Names of C, the best first.
const FLOPS: [&str; 13] = [
    "flops",
    "c",
    "flop",
    "training_flops",
    "train_flops",
    "total_training_flops",
    "total_flops",
    "flops_total",
    "compute",
    "training_compute",
    "train_compute",
    "compute_flops",
    "model_flops",
];

/// Names of the compute that a run was planned for.
const BUDGET: [&str; 5] = ["budget", "flops_budget", "isoflop_budget", "isoflop", "isoflop_group"];

/// Names of passes over the data.
const EPOCHS: [&str; 7] =
    ["epochs", "n_epochs", "num_epochs", "data_epochs", "epoch", "repeats", "repetitions"];

/// Names of a run's name.
const ID: [&str; 8] =
    ["id", "name", "run", "run_name", "training_run_id", "run_id", "wandb_id", "display_name"];

/// Names of D/N.
const RATIO: [&str; 9] = [
    "tokens_per_param",
    "tokens_per_parameter",
    "token_per_param",
    "tokens_params_ratio",
    "token_param_ratio",
    "tokens_to_params",
    "d_n",
    "d_over_n",
    "tpp",
];

/// Names of optimiser steps.
const STEPS: [&str; 17] = [
    "steps",
    "n_steps",
    "num_steps",
    "train_steps",
    "training_steps",
    "total_steps",
    "max_steps",
    "iterations",
    "num_iterations",
    "n_iterations",
    "iters",
    "global_step",
    "step",
    "iteration",
    "train_global_step",
    "train_step",
    "trainer_global_step",
];

/// Names of tokens per step.
const BATCH: [&str; 7] = [
    "batch_tokens",
    "tokens_per_batch",
    "tokens_per_step",
    "batch_size_tokens",
    "batch_size_in_tokens",
    "global_batch_tokens",
    "global_batch_size_tokens",
];

fn place(plain: &str, names: &[&str]) -> Option<u32> {
    names.iter().position(|n| *n == plain).map(|i| i as u32)
}

/// How a name suits a role, the least the best; `None` where it does not. Hundreds are classes: a column of a
/// better class is taken however few of its cells are filled.
pub(super) fn rank(role: &str, name: &Name) -> Option<u32> {
    let plain = name.plain.as_str();
    match role {
        "params" => params(name),
        "tokens" => {
            let pattern = name.has(&["tokens", "toks", "token"]) && !name.has(&NO_TOKENS);
            place(plain, &TOKENS)
                .or_else(|| plain.starts_with("dataset_size__").then_some(30))
                .or_else(|| pattern.then_some(50))
        }
        "loss" => loss(name),
        "flops" => {
            let word = |w: &str| matches!(w, "flop" | "flops" | "compute") || w.ends_with("flops");
            // A rate, as a rule.
            let speed = matches!(plain, "tflops" | "gflops" | "mflops");
            let pattern = name.words().any(word) && !name.has(&NO_FLOPS) && !speed;
            place(plain, &FLOPS).or_else(|| pattern.then_some(50))
        }
        "budget" => {
            let of = ["flop", "flops", "compute", "c", "isoflop", "training", "train"];
            let pattern = name.has(&["budget"]) && name.has(&of);
            place(plain, &BUDGET).or_else(|| pattern.then_some(50))
        }
        "unique_tokens" => {
            let pattern = name.has(&["unique"]) && name.has(&["tokens", "toks", "token"]);
            place(plain, &["unique_tokens", "u", "unique"]).or_else(|| pattern.then_some(50))
        }
        "epochs" => place(plain, &EPOCHS),
        "id" => place(plain, &ID),
        "cluster" => place(plain, &["cluster", "trunk"]),
        "ratio" => place(plain, &RATIO),
        "steps" => place(plain, &STEPS),
        "batch" => place(plain, &BATCH),
        _ => None,
    }
}

/// Counts that say what is in them come before those that do not, and totals last.
fn params(name: &Name) -> Option<u32> {
    let plain = name.plain.as_str();
    let general = [
        "params",
        "n",
        "n_params",
        "num_params",
        "nparams",
        "parameters",
        "parameter_count",
        "param_count",
        "num_parameters",
        "n_parameters",
        "model_params",
        "model_parameters",
        "model_size",
    ];
    if let Some(at) = place(plain, &general) {
        return Some(20 + at);
    }
    if plain.starts_with("model_size__") {
        return Some(40);
    }
    let without = ["non_emb", "no_emb", "wo_emb", "without_emb", "excl_emb", "ex_emb"];
    let counted = name.has(&COUNTED) || without.iter().any(|w| plain.contains(w));
    if !name.has(&PARAM) || name.has(&NO_PARAM) {
        return None;
    }
    if counted {
        return Some(0);
    }
    if name.has(&["emb", "embed", "embedding", "embeddings"]) && !name.has(&["with", "incl"]) {
        return None;
    }
    // `n_layers` and `n_heads` count other things.
    if !name.has(&PARAM[..5]) && !name.has(&["total", "with", "incl"]) {
        return None;
    }
    Some(if name.has(&["total", "all", "with", "incl"]) { 70 } else { 50 })
}

/// Held-out losses first, then those that do not say, training losses last.
fn loss(name: &Name) -> Option<u32> {
    let plain = name.plain.as_str();
    let per_byte = name.unit == Some(Unit::BitsPerByte);
    if plain == "l" {
        return Some(120);
    }
    if !(name.has(&LOSS) || per_byte) || name.has(&NO_LOSS) {
        return None;
    }
    let kind = match () {
        () if name.has(&["loss"]) => 0,
        () if per_byte => 20,
        () if name.has(&["ppl", "perplexity"]) => 30,
        () => 10,
    };
    if name.has(&HELD_OUT) {
        return Some(kind + u32::from(plain != "val_loss"));
    }
    if name.has(&TRAINED) {
        return Some(200 + kind);
    }
    Some(100 + kind + u32::from(plain != "loss"))
}

/// Whether a name is one that the role has of its own, and not only made of words that fit.
pub(super) fn is_own(role: &str, name: &Name) -> bool {
    match role {
        "loss" => ["loss", "val_loss"].contains(&name.plain.as_str()),
        "params" => rank(role, name).is_some_and(|r| (20..50).contains(&r)),
        _ => rank(role, name).is_some_and(|r| r < 50),
    }
}

/// What is counted or measured by the convention that a column names, such as N by `param_convention`.
pub(super) fn convention(name: &Name) -> Option<&'static str> {
    let mut words = name.words();
    if !["convention", "counting", "definition"].contains(&words.next_back()?) {
        return None;
    }
    let of: Vec<&str> = words.collect();
    let has = |any: &[&str]| of.iter().any(|w| any.contains(w));
    match () {
        () if has(&["param", "params", "parameter", "parameters", "n", "size"]) => Some("N"),
        () if has(&["token", "tokens", "d"]) => Some("D"),
        () if has(&["flop", "flops", "compute", "c"]) => Some("C"),
        () if has(&["loss"]) => Some("the loss"),
        () => None,
    }
}

/// Whether a name says that a loss is of held-out data (`true`), of training data (`false`), or neither.
pub(super) fn held_out(name: &Name) -> Option<bool> {
    if name.has(&HELD_OUT) {
        Some(true)
    } else if name.has(&TRAINED) {
        Some(false)
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The names of one role, the preferred ones first.
    fn order(role: &str, names: &[&str]) -> Vec<String> {
        let mut ranked: Vec<(u32, &str)> =
            names.iter().filter_map(|n| Some((rank(role, &Name::of(n))?, *n))).collect();
        ranked.sort_by_key(|(rank, _)| *rank);
        ranked.into_iter().map(|(_, n)| n.to_owned()).collect()
    }

    #[test]
    fn held_out_losses_come_before_losses_and_those_before_training_losses() {
        let names = [
            "train_loss",
            "loss",
            "loss_se",
            "val/loss",
            "eval_loss",
            "val_accuracy",
            "train/loss",
            "val_bpb",
            "Validation Loss",
            "val_ppl",
            "best_step",
        ];
        assert_eq!(
            order("loss", &names),
            [
                "val/loss",
                "eval_loss",
                "Validation Loss",
                "val_bpb",
                "val_ppl",
                "loss",
                "train_loss",
                "train/loss"
            ]
        );
    }

    #[test]
    fn a_count_that_says_what_is_in_it_comes_before_a_total() {
        let names = [
            "total_params",
            "num_params",
            "num_scaling_params",
            "params_wte",
            "params_lm_head",
            "n_layers",
            "model/num_params",
            "tokens_per_param",
            "n_heads",
            "embedding_params",
        ];
        assert_eq!(
            order("params", &names),
            ["num_scaling_params", "num_params", "model/num_params", "total_params"]
        );
        assert_eq!(order("params", &["N", "N_non_emb", "N_total"]), ["N_non_emb", "N", "N_total"]);
    }

    #[test]
    fn tokens_and_compute_are_told_from_their_rates() {
        let names = [
            "tokens_per_second",
            "train/total_tokens",
            "batch_tokens",
            "Tokens (B)",
            "eval_tokens",
            "unique_tokens",
            "tokens_per_param",
            "D",
        ];
        assert_eq!(order("tokens", &names), ["Tokens (B)", "D", "train/total_tokens"]);
        let names = [
            "flops_per_token",
            "tflops",
            "compute_budget",
            "train_flops",
            "flops_6nd",
            "zflops",
            "C",
        ];
        assert_eq!(order("flops", &names), ["C", "train_flops", "zflops"]);
        assert_eq!(
            order("budget", &["compute_budget", "token_budget", "budget"]),
            ["budget", "compute_budget"]
        );
    }
}
