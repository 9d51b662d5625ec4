//! `isoflop device`: what is there, what is missing, and how to get it.

use serde::Serialize;

use crate::cli::{print, print_json};
use crate::device::{self, Found};
use crate::error::exit;
use crate::units::bytes;

/// What is there.
#[derive(Serialize)]
struct There {
    cpu: Cpu,
    #[serde(flatten)]
    found: Found,
    /// Whether this program can use NVIDIA GPUs at all.
    built_with_cuda: bool,
    usable: bool,
}

#[derive(Serialize)]
struct Cpu {
    cores: usize,
    memory_bytes: Option<u64>,
}

pub(super) fn show(json: bool) -> u8 {
    let found = device::look();
    let built = cfg!(feature = "cuda");
    let cpu = Cpu {
        cores: std::thread::available_parallelism().map_or(1, usize::from),
        memory_bytes: device::memory::limit(),
    };
    let there = There { usable: built && found.usable(), built_with_cuda: built, cpu, found };
    if json {
        print_json(&there);
    } else {
        print(&text(&there));
    }
    if there.usable { 0 } else { exit::INPUT }
}

fn text(there: &There) -> String {
    let memory =
        there.cpu.memory_bytes.map_or_else(String::new, |b| format!(", {}", bytes(b as f64)));
    let mut out = format!("CPU    {} cores{memory}\n", there.cpu.cores);
    let found = &there.found;
    if let Some(driver) = &found.driver {
        let release = driver.release.as_ref().map_or_else(String::new, |r| format!(" {r}"));
        out += &format!("Driver{release}, CUDA {}.{}\n", driver.cuda.0, driver.cuda.1);
        for card in &driver.cards {
            out += &format!(
                "GPU {}  {}, {}, compute capability {}.{}, {} multiprocessors\n",
                card.index,
                card.name,
                bytes(card.memory as f64),
                card.capability.0,
                card.capability.1,
                card.processors
            );
        }
    }
    if let Some(visible) = &found.visible {
        let shown = found.driver.as_ref().is_some_and(|d| !d.cards.is_empty());
        let effect =
            if shown { "only these are counted" } else { "it may hide every card: unset it" };
        out += &format!("CUDA_VISIBLE_DEVICES={visible}: {effect}\n");
    }
    out += "\n";
    let mut mends: Vec<&String> = Vec::new();
    for part in &found.parts {
        let version = part.version.as_ref().map_or_else(String::new, |v| format!("  {v}"));
        let path = part.path.as_ref().map(|p| format!("{}{version}", p.display()));
        let lacks = part.problem.as_ref().map(|problem| {
            format!("! {problem}{}", if part.needed { "" } else { " (training does without)" })
        });
        let mut lines = path.into_iter().chain(lacks);
        out += &format!("  {:<16}{}\n", part.name, lines.next().unwrap_or_default());
        lines.for_each(|line| out += &format!("  {:<16}{line}\n", ""));
        let mend = part.mend.as_ref().filter(|m| part.needed && !mends.contains(m));
        mends.extend(mend);
    }
    out += "\n";
    if !there.built_with_cuda {
        out += "This isoflop was built without CUDA: `cargo build --release --features cuda`.\n";
    }
    out += "The CPU can be used: --device cpu.\n";
    if there.usable {
        out += "A GPU can be used: --device cuda.\n`isoflop device check --device cuda` says whether it \
                computes right.\n";
    } else {
        out += "No GPU can be used.\n";
        for mend in mends {
            out += &format!("hint: {mend}\n");
        }
    }
    out
}
