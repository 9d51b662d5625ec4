//! `isoflop device check`: whether a device computes right.

use std::time::Instant;

use serde::Serialize;

use super::{choose, say, watched};
use crate::cli::args::DeviceCheckArgs;
use crate::cli::{Failure, print_json};
use crate::device::check::{self, Check, Checked};
use crate::error::exit;

#[derive(Serialize)]
struct Report<'a> {
    device: &'a str,
    numerics: &'a str,
    holds: bool,
    checks: Vec<Checked>,
    left_out: Vec<Check>,
}

pub(super) fn check(args: &DeviceCheckArgs) -> Result<u8, Failure> {
    let device = choose(&args.which)?;
    let begin = Instant::now();
    let say = |text: &str| say(&args.which, text);
    say(&format!("{}: {}\n", device.name, device.numerics));
    // In their own order, each once.
    let asked = Check::ALL.iter().filter(|c| args.only.is_empty() || args.only.contains(c));
    let (mut checks, mut left_out) = (Vec::new(), Vec::new());
    watched(args.which.limit, "device check", || {
        for which in asked {
            if begin.elapsed().as_secs_f64() > args.which.limit {
                say(&format!("{:<11} left out: the limit is over (--limit)\n", which.name()));
                left_out.push(*which);
                continue;
            }
            let mut checked = check::run(*which, &device);
            if args.compile_only {
                // What was computed is not looked at; that it could be launched is.
                checked.wrong.clear();
                checked.nearest = None;
            }
            say(&line(&checked, args.compile_only));
            let lost = checked.ended.as_ref().is_some_and(|why| why.contains("poisoned"));
            checks.push(checked);
            if lost {
                say("The device does nothing more for this process.\n");
                break;
            }
        }
    });
    let holds = checks.iter().all(Checked::holds);
    let code = match (holds, left_out.is_empty()) {
        (false, _) => exit::BUG,
        (true, false) => exit::AGAIN,
        (true, true) => 0,
    };
    if args.which.json {
        let (device, numerics) = (device.name.as_str(), device.numerics.as_str());
        print_json(&Report { device, numerics, holds, checks, left_out });
    }
    Ok(code)
}

/// One line a check, and a few for what is wrong.
fn line(checked: &Checked, compile_only: bool) -> String {
    /// Wrong cases that are shown.
    const SHOWN: usize = 12;
    let name = checked.check.name();
    let seconds = checked.seconds;
    let mut out = match (&checked.ended, checked.wrong.len()) {
        (Some(_), _) => {
            format!("{name:<11} ended early after {} cases  {seconds:.1} s\n", checked.cases)
        }
        (None, 0) if compile_only => {
            format!(
                "{name:<11} {} cases launched, values not looked at  {seconds:.1} s\n",
                checked.cases
            )
        }
        (None, 0) => format!("{name:<11} right: {} cases  {seconds:.1} s\n", checked.cases),
        (None, wrong) => {
            format!("{name:<11} WRONG: {wrong} of {} cases  {seconds:.1} s\n", checked.cases)
        }
    };
    if let Some(why) = &checked.ended {
        let short: String = why.chars().take(600).collect();
        out += &format!("            error: {short}\n");
    }
    // One of each operation tells more than all of the first.
    let mut kinds: Vec<&str> = Vec::new();
    let one_each = checked.wrong.iter().filter(|case| {
        let kind = case.name.split(['[', ':']).next().unwrap_or_default();
        let new = !kinds.contains(&kind);
        kinds.push(kind);
        new
    });
    for case in one_each.take(SHOWN) {
        let off = if case.worst.is_finite() {
            format!("is off by {:.2e}, may be {:.1e}", case.worst, case.tolerance)
        } else {
            "is not a number, or not there".to_owned()
        };
        out += &format!("            differs: {} {off}\n", case.name);
    }
    if let (true, Some(case)) = (checked.wrong.is_empty(), &checked.nearest) {
        out += &if case.worst > 0.0 {
            format!(
                "            nearest to its tolerance: {}, off by {:.1e} of {:.1e}\n",
                case.name, case.worst, case.tolerance
            )
        } else {
            "            every result exact\n".to_owned()
        };
    }
    out
}
