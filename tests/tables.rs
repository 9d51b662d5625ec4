//! Tables as people have them: every kind gives the law that its rows hold, or says what is in the way.
//!
//! The rows are those of a known law, written in each kind's own way; the law is the oracle.

use std::fs;
use std::path::Path;
use std::process::Output;

use assert_cmd::Command;
use isoflop::import::{self, Imported, Options};
use serde_json::Value;

/// Hoffmann et al. 2022, approach 3, as printed.
fn law(n: f64, d: f64) -> f64 {
    1.69 + 406.4 / n.powf(0.34) + 410.7 / d.powf(0.28)
}

/// Five budgets of five sizes: (C, N, D, L).
fn runs() -> Vec<[f64; 4]> {
    let mut out = Vec::new();
    for c in [1e18, 3e18, 1e19, 3e19, 1e20] {
        let middle = (c / 6.0 / 20.0_f64).sqrt();
        for place in [0.3, 0.55, 1.0, 1.8, 3.2] {
            let n = (middle * place).round();
            let d = (c / (6.0 * n)).round();
            out.push([c, n, d, law(n, d)]);
        }
    }
    out
}

/// A table with a header and one row a run.
fn table(header: &str, row: impl Fn([f64; 4]) -> String) -> String {
    runs().into_iter().fold(format!("{header}\n"), |out, run| out + &row(run) + "\n")
}

fn plain() -> String {
    table("N,D,loss", |[_, n, d, l]| format!("{n},{d},{l}"))
}

fn read_with(bytes: &[u8], map: &[(&str, &str)]) -> Result<Imported, String> {
    let map = map.iter().map(|(r, c)| ((*r).to_owned(), (*c).to_owned())).collect();
    import::parse(bytes, "t", &Options { map, ..Options::default() })
        .map_err(|e| format!("{e}\n{}", e.hint.as_deref().unwrap_or_default()))
}

fn read(text: &str) -> Imported {
    read_with(text.as_bytes(), &[]).unwrap_or_else(|e| panic!("{e}\n{text}"))
}

fn refused(text: &str, words: &[&str]) {
    let error = read_with(text.as_bytes(), &[]).map(|i| i.table.points.len()).unwrap_err();
    for word in words {
        assert!(error.contains(word), "no `{word}` in: {error}");
    }
}

/// The runs of the law, up to what rounding in print takes away.
#[track_caller]
fn same(got: &Imported, within: f64) {
    let points = &got.table.points;
    assert_eq!(points.len(), 25, "{:?}", got.table.excluded);
    for (p, [_, n, d, l]) in points.iter().zip(runs()) {
        for (got, want) in [(p.params, n), (p.tokens, d), (p.loss, l)] {
            assert!((got / want - 1.0).abs() < within, "{got}, want {want}");
        }
    }
}

#[test]
fn separators_first_lines_and_numbers_are_read_as_written() {
    same(&read(&plain()), 1e-9);
    for separator in [";", "\t", "|", " "] {
        same(&read(&plain().replace(',', separator)), 1e-9);
    }
    same(&read(&format!("sep=;\n{}", plain().replace(',', ";"))), 1e-9);
    same(&read(&format!("Sweep of March, second try\n{}", plain())), 1e-9);
    same(
        &read(&table("N;D;loss", |[_, n, d, l]| {
            format!("{n};{d};{}", l.to_string().replace('.', ","))
        })),
        1e-9,
    );
    let grouped = |x: f64| {
        let digits = format!("{x:.0}");
        let mut out = String::new();
        for (i, c) in digits.chars().enumerate() {
            if i > 0 && (digits.len() - i) % 3 == 0 {
                out.push(',');
            }
            out.push(c);
        }
        out
    };
    same(
        &read(&table("N,D,loss", |[_, n, d, l]| {
            format!("\"{}\",\"{}\",{l}", grouped(n), grouped(d))
        })),
        1e-9,
    );
    same(
        &read(&table("N,D,loss", |[_, n, d, l]| format!("{:.6}m,{:.6} B,{l}", n / 1e6, d / 1e9))),
        1e-4,
    );
    same(&read(&table("N,D,\"loss, nats\"", |[_, n, d, l]| format!("{n},{d},{l}"))), 1e-9);
    let utf16: Vec<u8> =
        format!("\u{feff}{}", plain()).encode_utf16().flat_map(u16::to_le_bytes).collect();
    same(&read_with(&utf16, &[]).unwrap(), 1e-9);
    let json: Vec<Value> = runs()
        .iter()
        .map(|[_, n, d, l]| serde_json::json!({"config": {"n_params": n}, "tokens": d, "val_loss": l}))
        .collect();
    same(&read(&serde_json::to_string(&json).unwrap()), 1e-9);
    same(&read(&json.iter().fold(String::new(), |out, r| out + &format!("{r}\n"))), 1e-9);
}

#[test]
fn units_are_honoured_where_they_are_said_and_asked_for_where_they_are_not() {
    same(
        &read(&table("Params (M),Tokens (B),Val loss", |[_, n, d, l]| {
            format!("{},{},{l}", n / 1e6, d / 1e9)
        })),
        1e-9,
    );
    same(
        &read(&table("params_m,tokens_b,loss", |[_, n, d, l]| {
            format!("{},{},{l}", n / 1e6, d / 1e9)
        })),
        1e-9,
    );
    same(
        &read(&table("log10_N,ln D,loss", |[_, n, d, l]| format!("{},{},{l}", n.log10(), d.ln()))),
        1e-9,
    );
    same(&read(&table("N,D,val_ppl", |[_, n, d, l]| format!("{n},{d},{}", l.exp()))), 1e-9);

    let millions = table("N,D,loss", |[_, n, d, l]| format!("{},{},{l}", n / 1e6, d / 1e9));
    refused(
        &table("N,D,loss", |[_, n, d, l]| format!("{},{},{l}", n / 1e8, d)),
        &["`N`", "millions", "--map \"params=N (M)\""],
    );
    let said = read_with(millions.as_bytes(), &[("params", "N (M)"), ("tokens", "D (B)")]).unwrap();
    same(&said, 1e-9);
    refused(&table("N,D,loss", |[_, n, d, l]| format!("{n},{},{l}", d / 1e9)), &["`D`", "(M)"]);
    refused(
        &table("N,D,loss", |[_, n, d, l]| format!("{},{},{l}", n.log10(), d.log10())),
        &["logarithms", "(log10)"],
    );
    refused(
        &table("log_N,D,loss", |[_, n, d, l]| format!("{},{d},{l}", n.log10())),
        &["which base", "(ln)"],
    );
    refused(
        &table("N,D,C,loss", |[c, n, d, l]| format!("{n},{d},{},{l}", c / 1e21)),
        &["`C`", "6ND", "ZFLOP"],
    );
    refused(
        &table("N,D,loss", |[_, n, d, l]| format!("{n},{d},{}", l.exp())),
        &["perplexity", "(ppl)"],
    );
    refused(&table("N,D,vocab,loss", |[_, n, d, _]| format!("{n},{d},256,6.1")), &["ln V"]);
    // The user's word makes a remark of a refusal.
    let toy = table("N,D,loss", |[_, n, d, l]| format!("{},{},{l}", n / 1e8, d / 1e8));
    let kept = read_with(toy.as_bytes(), &[("params", "N (1)"), ("tokens", "D (1)")]).unwrap();
    assert!(kept.table.points.len() == 25 && !kept.remarks.is_empty());
}

#[test]
fn the_right_one_of_several_columns_is_taken_and_said() {
    let both = read(&table("N,D,train_loss,loss,val/loss", |[_, n, d, l]| {
        format!("{n},{d},{},{},{l}", l - 0.2, l - 0.1)
    }));
    same(&both, 1e-9);
    assert!(
        both.remarks.iter().any(|r| r.text.contains("`val/loss`") && r.text.contains("`loss`"))
    );
    assert!(both.taken.iter().any(|t| t.symbol == "L" && t.from.contains("held-out")));
    // An empty column gives way to a full one.
    same(&read(&table("N,D,val_loss,eval_loss", |[_, n, d, l]| format!("{n},{d},,{l}"))), 1e-9);
    same(
        &read(&table("num_params,num_scaling_params,D,loss", |[_, n, d, l]| {
            format!("{},{n},{d},{l}", 40.0 * n)
        })),
        1e-9,
    );
    // Whatever they are called: the N whose 6ND is C.
    same(
        &read(&table("params,n_params_alt,tokens,flops,loss", |[c, n, d, l]| {
            format!("{},{n},{d},{c},{l}", 3.0 * n)
        })),
        1e-9,
    );
    same(&read(&table("N,L,d,C,val_loss", |[c, n, _, l]| format!("{n},12,768,{c},{l}"))), 1e-6);
    refused(
        &table("N,D,loss,loss", |[_, n, d, l]| format!("{n},{d},{},{l}", l + 0.1)),
        &["both named `loss`", "loss", "#4"],
    );
    let placed = table("N,D,loss,loss", |[_, n, d, l]| format!("{n},{d},{},{l}", l + 0.1));
    same(&read_with(placed.as_bytes(), &[("loss", "#4")]).unwrap(), 1e-9);
}

fn columns_told(got: &Imported) -> String {
    got.remarks.iter().map(|r| r.text.as_str()).collect::<Vec<_>>().join("\n")
}

/// A quantity of a run.
type Of = fn(&isoflop::points::Point) -> f64;

/// nanochat's two counts: 6ND is C with the one, and the user may want the other.
#[test]
fn a_mapped_column_is_taken_whatever_the_others_say() {
    let two = table("num_params,num_scaling_params,D,flops_budget,loss", |[c, n, d, l]| {
        format!("{},{n},{d},{c},{l}", 40.0 * n)
    });
    let unmapped = read(&two);
    same(&unmapped, 1e-9);
    for column in ["num_params", "#1", "num_params (1)"] {
        let got = read_with(two.as_bytes(), &[("params", column)]).unwrap();
        assert_eq!(got.taken[0].from, "`num_params`", "{column}");
        for (p, [_, n, ..]) in got.table.points.iter().zip(runs()) {
            assert!((p.params / (40.0 * n) - 1.0).abs() < 1e-9, "{column}: {p:?}");
        }
        let told = columns_told(&got);
        assert!(
            told.contains("`flops_budget` is 2.5e-2 of 6ND") && !told.contains("--map"),
            "{told}"
        );
    }
    // The other quantities, each with a better one beside it.
    let text = table("N,D,C,budget,loss,n,d,c,b,l", |[c, n, d, l]| {
        format!(
            "{n},{d},{c},{c},{l},{},{},{},{},{}",
            40.0 * n,
            40.0 * d,
            40.0 * c,
            5.0 * c,
            l + 1.0
        )
    });
    let roles: [(&str, &str, Of, f64); 5] = [
        ("params", "n", |p| p.params, 40.0 * runs()[0][1]),
        ("tokens", "d", |p| p.tokens, 40.0 * runs()[0][2]),
        ("flops", "c", |p| p.flops, 40.0 * runs()[0][0]),
        ("budget", "b", |p| p.budget.unwrap(), 5.0 * runs()[0][0]),
        ("loss", "l", |p| p.loss, 1.0 + runs()[0][3]),
    ];
    for (role, column, of, want) in roles {
        for unit in ["", if role == "loss" { " (nats)" } else { " (1)" }] {
            let got = read_with(text.as_bytes(), &[(role, &format!("{column}{unit}"))]).unwrap();
            let got = of(&got.table.points[0]);
            assert!((got / want - 1.0).abs() < 1e-9, "{role}={column}{unit}: {got}, want {want}");
        }
    }
    // A unit of N says nothing of a C in another unit, and a slip of units is refused as before.
    let zetta = table("N,D,C,loss", |[c, n, d, l]| format!("{n},{d},{},{l}", c / 1e21));
    let error = read_with(zetta.as_bytes(), &[("params", "N (1)")]).unwrap_err();
    assert!(error.contains("look like ZFLOP"), "{error}");
    let thousand = table("N,D,C,loss", |[c, n, d, l]| format!("{},{d},{c},{l}", n / 1e3));
    read_with(thousand.as_bytes(), &[("params", "N")]).unwrap_err();
    assert!(read_with(thousand.as_bytes(), &[("params", "N (1)")]).is_ok());
}

#[test]
fn what_gives_the_tokens_is_taken_where_it_is_mapped() {
    let text = table("N,D,C,loss,r,s,b", |[c, n, d, l]| {
        format!("{n},{d},{c},{l},{},{},1000", 2.0 * d / n, 3.0 * d / 1e3)
    });
    let [_, n, d, _] = runs()[0];
    let first = |map: &[(&str, &str)]| {
        let got = read_with(text.as_bytes(), map).unwrap();
        let p = &got.table.points[0];
        (p.params / n, p.tokens / d, got.taken[0].from.clone(), got.taken[1].from.clone())
    };
    let near = |got: f64, want: f64| (got / want - 1.0).abs() < 1e-9;
    let (n, d, _, from) = first(&[("ratio", "r")]);
    assert!(near(n, 1.0) && near(d, 2.0) && from == "`r` times N", "{n} {d} {from}");
    let (n, d, from, _) = first(&[("ratio", "r"), ("tokens", "D")]);
    assert!(near(n, 0.5) && near(d, 1.0) && from == "D over `r`", "{n} {d} {from}");
    let (n, d, _, from) = first(&[("steps", "s"), ("batch", "b")]);
    assert!(near(n, 1.0) && near(d, 3.0) && from == "`s` times `b`", "{n} {d} {from}");
    for map in [
        &[("params", "N"), ("tokens", "D"), ("ratio", "r")][..],
        &[("tokens", "D"), ("steps", "s"), ("batch", "b")],
        &[("params", "N"), ("ratio", "r"), ("steps", "s"), ("batch", "b")],
    ] {
        let error = read_with(text.as_bytes(), map).unwrap_err();
        assert!(error.contains("--map") && error.contains("leave out"), "{error}");
    }
    let error = read_with(text.as_bytes(), &[("steps", "s")]).unwrap_err();
    assert!(error.contains("--map batch=COLUMN"), "{error}");
}

/// The losses of a vocabulary cannot exceed its ln, and the user may know better.
#[test]
fn losses_above_ln_v_are_kept_where_the_user_says_nats() {
    let text = table("N,D,vocab,loss", |[_, n, d, _]| format!("{n},{d},256,6.1"));
    refused(&text, &["ln V"]);
    let got = read_with(text.as_bytes(), &[("loss", "loss (nats)")]).unwrap();
    assert_eq!(got.table.points.len(), 25);
    assert!(columns_told(&got).contains("25 losses are above ln V"), "{}", columns_told(&got));
}

/// Every option that a remark or a hint gives does what it says.
#[test]
fn a_width_is_told_with_an_option_that_works() {
    let text = table("N,L,d,C,val_loss", |[c, n, _, l]| format!("{n},12,768,{c},{l}"));
    let told = columns_told(&read(&text));
    assert!(told.contains("width") && told.contains("--map \"tokens=d (1)\""), "{told}");
    let got = read_with(text.as_bytes(), &[("tokens", "d (1)")]).unwrap();
    assert!(got.table.points.iter().all(|p| p.tokens == 768.0));
    let error = read_with(text.as_bytes(), &[("tokens", "d")]).unwrap_err();
    assert!(error.contains("width"), "{error}");
    assert_eq!(error.matches("(M)").count(), 1, "{error}");
    let logs = table("N,D,loss", |[_, n, d, l]| format!("{},{},{l}", n.log10(), d.log10()));
    let error = read_with(logs.as_bytes(), &[]).unwrap_err();
    for unit in ["(log10)", "(ln)", "(M)", "(B)", "(1)"] {
        assert_eq!(error.matches(unit).count(), 1, "{error}");
    }
}

#[test]
fn only_what_could_be_the_quantity_is_offered_for_it() {
    let header = "params,param_note,params_rank,tokens,token_multiplier_over20,tokens_x,flops,compute_class,\
                  loss,loss_ptb,loss_lo95,loss_hi95,loss_ci_upper,loss_min,loss_max,loss_note,loss_rank,loss_hi,params_alt,tokens_alt";
    let text = table(header, |[c, n, d, l]| {
        format!(
            "{n},all,3,{d},0.5,7,{c},big,{l},{},{},{},{},{},{},x,300,{},{},{}",
            l + 0.1,
            l - 0.01,
            l + 0.01,
            l + 0.02,
            l - 0.03,
            l + 0.03,
            l + 0.3,
            1.1 * n,
            1.1 * d
        )
    });
    let got = read(&text);
    same(&got, 1e-9);
    let told = columns_told(&got);
    // A loss of Hindi has no `lo` beside it.
    for offered in
        ["`params_alt` is there", "`tokens_alt` is there", "`loss_ptb`, `loss_hi` are there"]
    {
        assert!(told.contains(offered), "no {offered}: {told}");
    }
    assert!(!told.contains("C is"), "{told}");
    // Neither a multiple nor an end of an interval is taken where nothing else is there.
    refused(
        &table("N,token_multiplier_over20,loss", |[_, n, _, l]| format!("{n},0.5,{l}")),
        &["no column for tokens"],
    );
    refused(
        &table("N,D,loss_lo95,loss_hi95", |[_, n, d, l]| format!("{n},{d},{l},{l}")),
        &["no column for loss"],
    );
    // A column that has the role's own name is offered also where its numbers want a unit.
    let small =
        read(&table("N,num_tokens,tokens,loss", |[_, n, d, l]| format!("{n},{},{d},{l}", d / 1e9)));
    assert!(columns_told(&small).contains("`num_tokens` is there"), "{}", columns_told(&small));
}

#[test]
fn conventions_of_n_are_not_mixed() {
    let mut text = String::from("param_convention,flops,N,D,loss\n");
    for (convention, times) in [("all", 1.5), ("matrices", 1.0)] {
        for [c, n, d, l] in runs() {
            text += &format!("{convention},{c},{},{d},{l}\n", n * times);
        }
    }
    refused(
        &text,
        &[
            "2 conventions of N in one table",
            "all, matrices",
            "--where param_convention=",
            "--mixed",
        ],
    );
    let filters = vec![("param_convention".to_owned(), "matrices".to_owned())];
    let one = Options { filters, ..Options::default() };
    same(&import::parse(text.as_bytes(), "t", &one).unwrap(), 1e-9);
    let mixed = Options { mixed: true, ..Options::default() };
    assert_eq!(import::parse(text.as_bytes(), "t", &mixed).unwrap().table.points.len(), 50);
}

#[test]
fn what_is_missing_follows_from_the_identity_of_compute() {
    same(
        &read(&table("parameters,compute_budget,final_loss", |[c, n, _, l]| {
            format!("{n},{c},{l}")
        })),
        1e-6,
    );
    same(&read(&table("tokens,flops,loss", |[c, _, d, l]| format!("{d},{c},{l}"))), 1e-6);
    same(
        &read(&table("N,tokens_per_param,loss", |[_, n, d, l]| format!("{n},{},{l}", d / n))),
        1e-9,
    );
    let named = table("size,money,loss", |[c, n, _, l]| format!("{n},{c},{l}"));
    same(&read_with(named.as_bytes(), &[("params", "size"), ("budget", "money")]).unwrap(), 1e-6);
    refused("N,loss\n1e8,3\n", &["no column for tokens", "C / 6N"]);
}

#[test]
fn a_table_of_which_nothing_is_left_says_why() {
    refused(
        &table("N,D,loss", |[_, n, d, l]| format!("~{n},{d},{l}")),
        &["none of its 25 rows", "params is `~"],
    );
    refused("dim,1e18,3e18\nd512,3.1,3.0\n", &["wide table", "melt"]);
    refused(
        &table("N,D,loss,state", |[_, n, d, l]| format!("{n},{d},{l},crashed")),
        &["its state is `crashed`"],
    );
}

#[test]
fn swept_rates_are_no_seeds() {
    let swept = runs().into_iter().flat_map(|[_, n, d, l]| {
        [(1e-3, 0.03), (2e-3, 0.0), (4e-3, 0.02)]
            .map(|(lr, more)| format!("{n},{d},{lr},{}\n", l + more))
    });
    let got = read(&format!("N,D,peak_lr,loss\n{}", swept.collect::<String>()));
    same(&got, 1e-9);
    assert_eq!(got.table.excluded.len(), 50);
    assert!(got.remarks.iter().any(|r| r.text.contains("`peak_lr`")), "{:?}", got.remarks);
    // Seeds are fitted together.
    let seeds: String = runs()
        .into_iter()
        .flat_map(|[_, n, d, l]| (0..2).map(move |s| format!("{n},{d},{s},{l}{s}\n")))
        .collect();
    let got = read(&format!("N,D,seed,loss\n{seeds}"));
    assert!(got.table.points.len() == 50 && got.remarks.is_empty(), "{:?}", got.remarks);
}

#[test]
fn unfinished_runs_are_left_out_by_name() {
    let states = ["finished", "crashed", "running", "Failed", "killed"];
    let mut text = String::from("N,D,loss,State\n");
    for (i, [_, n, d, l]) in runs().into_iter().enumerate() {
        text += &format!("{n},{d},{l},{}\n", states[i % 5]);
    }
    let got = read(&text);
    assert_eq!((got.table.points.len(), got.table.excluded.len()), (5, 20));
    assert_eq!(got.table.excluded[0].reason, "its State is `crashed`");
}

#[test]
fn checkpoints_of_one_run_are_one_cluster_without_an_id() {
    let mut text = String::from("N,D,loss\n");
    for n in [1e7, 3e7, 1e8] {
        for d in (1..=8).map(|i| 1e9 * f64::from(i)) {
            text += &format!("{n},{d},{}\n", law(n, d));
        }
    }
    let got = read(&text);
    let mut clusters: Vec<&str> = got.table.points.iter().map(|p| p.cluster.as_str()).collect();
    clusters.dedup();
    assert_eq!(clusters.len(), 3);
    let told = |r: &isoflop::points::Remark| {
        r.text.contains("24 rows are taken for checkpoints of 3 runs")
    };
    assert!(got.remarks.iter().any(told), "{:?}", got.remarks);
    // The user's word.
    let separate = Options { separate: true, ..Options::default() };
    let own = import::parse(text.as_bytes(), "t", &separate).unwrap();
    assert!(own.table.points.iter().all(|p| p.cluster == p.id) && own.remarks.is_empty());
    // Other settings, other seeds, and losses of no curve are no checkpoints.
    for (header, cell) in [("lr", [1e-3, 2e-3]), ("seed", [1.0, 2.0])] {
        let mut text = format!("N,D,loss,{header}\n");
        for i in 1..=12 {
            let d = 1e9 * f64::from(i);
            text += &format!("1e7,{d},{},{}\n", law(1e7, d), cell[i as usize % 2]);
        }
        let got = read(&text);
        assert!(got.table.points.iter().all(|p| p.cluster == p.id), "{header}");
    }
    let scattered = (1..=12).fold(String::from("N,D,loss\n"), |text, i| {
        let d = 1e9 * f64::from(i);
        text + &format!("1e7,{d},{}\n", law(1e7, d) * (1.0 + 0.1 * f64::from(i % 2)))
    });
    assert!(read(&scattered).table.points.iter().all(|p| p.cluster == p.id));
    // A grid has lengths by factors.
    let grid = read(&plain());
    assert!(grid.remarks.is_empty(), "{:?}", grid.remarks);
}

#[test]
fn repeated_tokens_are_said() {
    let got = read(&table("N,D,epochs,loss", |[_, n, d, l]| format!("{n},{d},4,{l}")));
    assert_eq!(got.table.points[0].unique_tokens, Some(got.table.points[0].tokens / 4.0));
    let options = isoflop::fit::Options { bootstrap: 0, holdout: 0, ..Default::default() };
    let fit = isoflop::fit::analyse(&got.table, isoflop::fit::Compute::SixNd, &options).unwrap();
    let told = |w: &isoflop::fit::Warning| {
        w.text.contains("repeat their tokens") && w.text.contains("4.000 epochs")
    };
    assert!(fit.warnings.iter().any(told), "{:?}", fit.warnings);
}

struct Bench(tempfile::TempDir);

impl Bench {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn write(&self, name: &str, text: &str) {
        let path = self.0.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    fn run(&self, args: &[&str]) -> Output {
        Command::new(env!("CARGO_BIN_EXE_isoflop"))
            .current_dir(self.0.path())
            // Sentences are looked for, and a terminal of 80 columns breaks them.
            .env("COLUMNS", "1000")
            .args(args)
            .output()
            .unwrap()
    }

    #[track_caller]
    fn ok(&self, args: &[&str]) -> (String, String) {
        let output = self.run(args);
        let (out, err) =
            (String::from_utf8(output.stdout).unwrap(), String::from_utf8(output.stderr).unwrap());
        assert!(output.status.success(), "{args:?}: {err}");
        (out, err)
    }

    fn source(&self, fit: &str) -> String {
        let json: Value =
            serde_json::from_slice(&fs::read(self.0.path().join(fit)).unwrap()).unwrap();
        json["source"].as_str().unwrap().to_owned()
    }
}

#[test]
fn no_table_overwrites_another_study() {
    let bench = Bench::new();
    bench.write("a/results.csv", &plain());
    bench.write("b/results.csv", &plain());
    let fit = |table: &str| bench.ok(&["fit", table, "--bootstrap", "0"]);
    let (out, _) = fit("a/results.csv");
    assert!(out.starts_with("25 runs of a/results.csv, read as\n  N  `N`\n  D  `D`\n"), "{out}");
    fit("b/results.csv");
    assert_eq!(bench.source("analysis/results/fit.json"), "a/results.csv");
    // The same table again goes to its own place, however it is called.
    fit("./a/results.csv");
    let places = fs::read_dir(bench.0.path().join("analysis")).unwrap().count();
    assert_eq!(places, 2);
    // A sweep's analysis is no table's place, nor the other way.
    bench.write("analysis/prose/fit.json", r#"{"source": "prose"}"#);
    bench.write("prose.csv", &plain());
    fit("prose.csv");
    assert_eq!(bench.source("analysis/prose/fit.json"), "prose");
    bench.write("results.toml", "name = \"results\"\n[data]\nsource = \"pd-prose\"\n[[grid.cells]]\nparams = 2e3\ntokens = 2e4\n[optim]\nlearning_rate = 0.01\nbatch_tokens = 512\n[schedule.cosine]\nwarmup = 0.1\nend = 0.1\n");
    let refused = bench.run(&["run", "results.toml"]);
    let said = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(refused.status.code() == Some(2) && said.contains("would overwrite"), "{said}");
}

#[test]
fn every_verb_takes_a_table_or_its_fit() {
    let bench = Bench::new();
    bench.write("runs.csv", &plain());
    bench.ok(&["report", "runs.csv"]);
    let ask = |from: &str| bench.ok(&["predict", from, "--flops", "1e21"]).0;
    let answer = ask("analysis/runs/fit.json");
    assert_eq!(ask("analysis/runs"), answer);
    assert_eq!(ask("runs.csv"), answer);
    let page = bench.0.path().join("analysis/runs/report.html");
    fs::remove_file(&page).unwrap();
    bench.ok(&["report", "analysis/runs/fit.json"]);
    assert!(page.exists());
    bench.ok(&["fit", "analysis/runs/fit.json", "--bootstrap", "0"]);
    bench.write("named.csv", &plain().replace("N,D,loss", "N,D,\"loss, at the end\""));
    bench.ok(&[
        "fit",
        "named.csv",
        "--bootstrap",
        "0",
        "--map",
        "params=N,tokens=D,loss=loss, at the end",
    ]);
    for from in ["runs.csv", "analysis/runs", "analysis/runs/fit.json"] {
        bench.ok(&["backtest", from, "--bootstrap", "20"]);
        bench.ok(&["selftest", from, "--studies", "20", "--bootstrap", "20"]);
    }
    let refused = bench.run(&["fit", "analysis"]);
    assert_eq!(refused.status.code(), Some(2));
}

/// The report shows what `backtest` printed, whatever it was asked for, and makes one where there is none.
#[test]
fn backtest_and_report_show_the_same_numbers() {
    let bench = Bench::new();
    let noisy = table("N,D,loss", |[_, n, d, l]| {
        format!("{n},{d},{}", l * (1.0 + 0.002 * (n * 1e-3).sin()))
    });
    bench.write("runs.csv", &noisy);
    let page = || fs::read_to_string(bench.0.path().join("analysis/runs/report.html")).unwrap();
    bench.ok(&["fit", "runs.csv", "--bootstrap", "20"]);
    assert!(page().contains("Not made for these runs"));
    let shown = |out: &str, page: &str| {
        let from = out.find("  reach").unwrap();
        let rows: Vec<&str> = out[from..].lines().skip(1).take_while(|l| l.contains('%')).collect();
        assert!(rows.len() >= 2, "{out}");
        for cell in rows.iter().flat_map(|row| row.split_whitespace()).filter(|c| c.contains('%')) {
            let cell = cell.replace('-', "−");
            assert!(page.contains(&format!(">{cell}<")), "no {cell}: {out}");
        }
    };
    for level in ["0.9", "0.5"] {
        let asked = ["backtest", "runs.csv", "--bootstrap", "20", "--level", level];
        let (out, _) = bench.ok(&asked);
        bench.ok(&["report", "analysis/runs/fit.json"]);
        shown(&out, &page());
    }
    // Of other runs: made again, by the defaults.
    bench.write("runs.csv", &noisy.lines().take(22).fold(String::new(), |t, l| t + l + "\n"));
    bench.ok(&["report", "runs.csv"]);
    let (out, _) = bench.ok(&["backtest", "runs.csv"]);
    shown(&out, &page());
}

/// A law that breaks at 3e19 FLOP, 5% higher for each e-fold beyond: no form has that, and the smaller runs cannot know.
#[test]
fn a_backtest_whose_intervals_hold_too_few_runs_says_so() {
    let bench = Bench::new();
    let mut tables = [String::from("N,D,loss\n"), String::from("N,D,loss\n")];
    for i in 0..70 {
        let c = 1e18 * 10_f64.powf(f64::from(i / 7) / 3.0);
        let n = 0.1 * c.sqrt() * (0.4 * f64::from(i % 7) - 1.2).exp();
        let d = c / 6.0 / n;
        let l = law(n, d) * (1.0 + 0.002 * (17.0 * f64::from(i)).sin());
        let bent = l * (0.05 * (c / 3e19).ln().max(0.0)).exp();
        for (table, l) in tables.iter_mut().zip([l, bent]) {
            *table += &format!("{n},{d},{l}\n");
        }
    }
    for (name, table, below) in [("straight", &tables[0], false), ("bent", &tables[1], true)] {
        let file = format!("{name}.csv");
        bench.write(&file, table);
        let asked = ["backtest", file.as_str(), "--bootstrap", "40"];
        let (out, _) = bench.ok(&asked);
        let (json, _) = bench.ok(&[&asked[..], &["--json"]].concat());
        let json: serde_json::Value = serde_json::from_str(&json).unwrap();
        let codes = json["warnings"].to_string();
        assert_eq!(codes.contains("coverage-below"), below, "{out}");
        let told = out.split_whitespace().collect::<Vec<_>>().join(" ");
        let words =
            "intervals hold the measured loss, significantly fewer than promised (binomial test on";
        assert_eq!(told.contains(words), below, "{out}");
        bench.ok(&["report", &file]);
        let page = bench.0.path().join(format!("analysis/{name}/report.html"));
        assert_eq!(fs::read_to_string(page).unwrap().contains(words), below);
    }
}

/// Three rates at each (N, D) of an own sweep, one seed.
#[test]
fn the_rates_of_an_own_sweep_are_no_seeds() {
    let bench = Bench::new();
    let mut sweep = String::from(
        "name = \"rates\"\n[data]\nsource = { graph-walk = { nodes = 16, degree = 4, skew = 0.0 } }\n[model]\n\
         context = 16\nwidth_multiple = 4\n[optim]\nlearning_rate = \"0.02\"\nbatch_tokens = 256\n\
         [schedule.cosine]\nwarmup = \"0.1\"\nend = 0.02\n[eval]\ntokens = 4096\ntimes = 1\n[fit]\nbootstrap = 20\n",
    );
    for n in ["1e3", "3e3", "6e3"] {
        for d in ["1e4", "3e4", "9e4"] {
            for rate in ["0.002", "\"2e-2\"", "0.05"] {
                sweep += &format!(
                    "[[grid.cells]]\nparams = {n}\ntokens = {d}\nlearning_rate = {rate}\n"
                );
            }
        }
    }
    bench.write("rates.toml", &sweep);
    bench.ok(&["run", "rates.toml"]);
    let json = fs::read(bench.0.path().join("analysis/rates/fit.json")).unwrap();
    let fit: Value = serde_json::from_slice(&json).unwrap();
    assert_eq!(fit["points"].as_array().unwrap().len(), 9, "one of each N and D");
    assert_eq!(fit["excluded"].as_array().unwrap().len(), 18);
    assert!(fit["noise"].is_null(), "{}", fit["noise"]);
    let warnings = fit["warnings"].as_array().unwrap();
    assert!(
        warnings.iter().any(|w| w["code"] == "swept-settings"
            && w["text"].as_str().unwrap().contains("learning_rate"))
    );
    // The sweep file, its results and its fit are one study.
    let ask = |from: &str| bench.ok(&["predict", from, "--flops", "1e11"]).0;
    assert_eq!(ask("rates.toml"), ask("results/rates"));
    bench.ok(&["fit", "rates.toml"]);
}

#[test]
fn a_sweep_file_is_told_in_its_own_words() {
    let bench = Bench::new();
    let sweep = |head: &str, grid: &str, batch: &str| {
        format!(
            "name = \"s\"\n{head}[data]\nsource = \"pd-prose\"\n[model]\ncontext = 64\nwidth_multiple = 4\n{grid}[optim]\nlearning_rate = \"1e-2\"\nbatch_tokens = {batch}\n[schedule.cosine]\nwarmup = 0.1\nend = \"0.1\"\n"
        )
    };
    let product = "[grid.product]\nparams = [2e3, 4e3]\ntokens = [2e4, 4e4]\n";
    bench.write("s.toml", &sweep("seeds = [1, 2, 3]\n", product, "\"1k\""));
    let refused = bench.run(&["plan", "s.toml", "--no-probe"]);
    let said = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(said.contains("write seeds = 3") && !said.contains("variant"), "{said}");
    bench.write("s.toml", &sweep("seeds = { init = 2, order = 2 }\n", product, "\"1k\""));
    bench.ok(&["plan", "s.toml", "--no-probe"]);
    bench.write("s.toml", &sweep("", product, "500_000"));
    let (_, said) = bench.ok(&["plan", "s.toml", "--no-probe"]);
    assert!(said.contains("D was raised"), "{said}");
    let cells = "[[grid.cells]]\nparams = 4e3\ntokens = 2e5\n".repeat(2);
    bench.write("s.toml", &sweep("", &cells, "512"));
    let (_, said) = bench.ok(&["plan", "s.toml", "--no-probe"]);
    assert!(said.contains("1 of 2 entries of the grid"), "{said}");
}

/// The cases that the project's readers keep beside the repository, where they are.
#[test]
fn the_kept_cases_are_read_or_refused_with_a_next_step() {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/cases/tables/formats");
    let Ok(files) = fs::read_dir(&dir) else {
        println!("skipped: no {}", dir.display());
        return;
    };
    for file in files {
        let path = file.unwrap().path();
        match import::read(&path, &Options::default()) {
            Ok(read) => {
                assert_eq!(read.table.points.len(), 20, "{}", path.display());
                let p = &read.table.points[0];
                let near = |got: f64, want: f64| (got / want - 1.0).abs() < 2e-3;
                assert!(
                    near(p.params, 7085551.0) && near(p.tokens, 2352204743.0),
                    "{}: {p:?}",
                    path.display()
                );
                assert!(near(p.loss, 4.51163), "{}: {p:?}", path.display());
            }
            Err(import::ImportError::Input(e)) => {
                assert!(e.hint.is_some(), "{}: {e}", path.display());
            }
            Err(e) => panic!("{}: {e}", path.display()),
        }
    }
}
