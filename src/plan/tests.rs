use super::*;

pub(crate) const SWEEP: &str = r#"
name = "t"
[data]
source = "pd-prose"
[grid.isoflop]
budgets = [3e10, 1e11, 3e11, 1e12]
sizes = 6
span = 4.0
tokens_per_param = 60.0
[optim]
learning_rate = 0.01
batch_tokens = 1024
[schedule.cosine]
warmup = 0.1
end = 0.02
"#;

pub(crate) fn facts() -> DataFacts {
    DataFacts {
        vocab: 256,
        train_tokens: Some(25_000_000),
        held_out_tokens: 500_000,
        source: Source::PdProse,
        sha256: "00".into(),
        bytes_per_token: Some(1.0),
        entropy: None,
        mixture: None,
    }
}

pub(crate) fn plan(text: &str) -> Plan {
    Plan::new(&Spec::parse(text).unwrap(), &facts())
}

#[test]
fn every_cell_of_a_budget_spends_it() {
    let plan = plan(SWEEP);
    assert!((20..=24).contains(&plan.cells.len()), "{}", plan.cells.len());
    for cell in &plan.cells {
        let miss = (cell.recipe.flops() / cell.budget.unwrap() - 1.0).abs();
        assert!(miss < 0.01, "{}: {miss}", cell.recipe.shape.short());
    }
    assert!(plan.cells.is_sorted_by(|l, r| l.recipe.flops() >= r.recipe.flops()));
}

#[test]
fn identity_follows_content_and_not_layout() {
    let ids = |text: &str| plan(text).cells.into_iter().map(|c| c.id).collect::<Vec<_>>();
    let base = ids(SWEEP);
    let moved = SWEEP
        .replace(
            "learning_rate = 0.01\nbatch_tokens = 1024",
            "batch_tokens = 1_024 # x\nlearning_rate = 1e-2",
        )
        .replace("budgets = [3e10, 1e11,", "budgets = [1e11, 30_000_000_000,")
        + "[eval]\ntimes = 9\n";
    let (mut left, mut right) = (base.clone(), ids(&moved));
    left.sort();
    right.sort();
    assert_eq!(left, right);
    for (from, to) in [
        ("learning_rate = 0.01", "learning_rate = 0.010000000000000002"),
        ("warmup = 0.1", "warmup = 0.11"),
        ("batch_tokens = 1024", "batch_tokens = 1024\nweight_decay = 0.1"),
    ] {
        let changed = SWEEP.replace(from, to);
        assert_ne!(changed, SWEEP);
        assert!(ids(&changed).iter().all(|id| !base.contains(id)), "{to}");
    }
}

/// Where nothing is said `complete-p` holds, unless the table rules it out; the old name of `mup-hidden-rates`
/// gives its cells, whose recipes say nothing.
#[test]
fn complete_p_is_the_default_where_it_can_be() {
    let with = |model: &str| plan(&format!("{SWEEP}[model]\n{model}\n"));
    let cells = |model: &str| with(model).cells;
    assert_eq!(plan(SWEEP).cells, cells("parametrization = \"complete-p\""));
    let older = cells("parametrization = \"mup-hidden-rates\"");
    assert_eq!(cells("parametrization = \"mup\""), older);
    assert!(!serde_json::to_string(&older).unwrap().contains("parametrization"));
    assert!(older.iter().all(|c| !plan(SWEEP).cells.contains(c)));
    for model in ["tied = true", "reference_width = 0"] {
        let named = format!("{model}\nparametrization = \"mup-hidden-rates\"");
        assert_eq!(cells(model), cells(&named));
        let told = |model: &str| {
            with(model).warnings.iter().any(|w| w.contains("parametrization is not given"))
        };
        assert!(told(model) && !told(&named), "{model}");
    }
    assert_ne!(cells("reference_layers = 4"), plan(SWEEP).cells);
}

#[test]
fn a_cell_off_the_grid_is_the_one_that_the_grid_would_have_there() {
    let spec = Spec::parse(&format!("seeds = 2\n{SWEEP}")).unwrap();
    let plan = Plan::new(&spec, &facts());
    for want in &plan.cells {
        let (n, c) = (want.params(), want.budget.unwrap());
        let seeds = (want.recipe.init_seed, want.recipe.order());
        assert_eq!(Plan::cell_at(&spec, &facts(), n, c, seeds), *want);
    }
    let ten = Plan::cell_at(&spec, &facts(), 2e5, 1e13, (7, 8));
    assert!((ten.recipe.flops() / 1e13 - 1.0).abs() < 0.01, "the exact budget");
    assert!((ten.params() / 2e5 - 1.0).abs() < 0.2 && ten.recipe.order() == 8);
    assert!(!plan.cells.iter().any(|c| c.id == ten.id));
}

#[test]
fn seeds_repeat_the_grid_with_other_identities() {
    let two = plan(&format!("seeds = 2\n{SWEEP}"));
    let one = plan(SWEEP);
    assert_eq!(two.cells.len(), 2 * one.cells.len());
    assert!(one.cells.iter().all(|c| two.cells.contains(c)), "the first seed is the same study");
}

/// 0.005 and 0.02 at two sizes, 0.01 alone at the third; then seeds, which are no sweep.
#[test]
fn several_rates_at_equal_n_and_d_are_told() {
    let cell = |n: &str, rate: &str| {
        format!("{{ params = {n}, tokens = 2e5, learning_rate = {rate} }},\n")
    };
    let cells =
        cell("1e4", "0.005") + &cell("1e4", "0.02") + &cell("3e4", "0.005") + &cell("3e4", "0.02");
    let with = |cells: &str| {
        let (start, end) = (SWEEP.find("[grid").unwrap(), SWEEP.find("[optim]").unwrap());
        let grid = format!("grid.cells = [\n{cells}]\n");
        let told = plan(&format!("seeds = 2\n{grid}{}{}", &SWEEP[..start], &SWEEP[end..])).warnings;
        told.into_iter().find(|w| w.contains("trained with several"))
    };
    let told = with(&(cells + &cell("1e5", "0.01"))).unwrap();
    assert!(told.contains("2 of 3 pairs") && told.contains("rates (0.005 to 0.02): "), "{told}");
    assert!(!told.contains("batches ("), "{told}");
    assert_eq!(with(&(cell("1e4", "0.005") + &cell("3e4", "0.02"))), None);
}

/// Sequences are 128 tokens long here.
#[test]
fn a_batch_below_one_sequence_is_raised_and_told() {
    let told = |batch: &str| {
        let plan = plan(&SWEEP.replace("batch_tokens = 1024", &format!("batch_tokens = {batch}")));
        let least = plan.cells.iter().map(|c| c.recipe.batch_tokens()).min();
        let told = plan.warnings.into_iter().find(|w| w.contains("smaller than one sequence"));
        (least.unwrap(), told)
    };
    let (batch, warning) = told("32");
    assert_eq!(batch, 128);
    let warning = warning.unwrap();
    assert!(warning.contains("from 32.0 to 128 tokens a step"), "{warning}");
    // The nearest whole number of sequences is no more than rounding.
    assert_eq!(told("150"), (128, None));
}

#[test]
fn a_ratio_grid_is_warned_about_because_it_cannot_separate_n_from_d() {
    let grid = "[grid.product]\nparams = [1e4, 3e4, 1e5]\ntokens_per_param = [20.0]\n";
    let start = SWEEP.find("[grid").unwrap();
    let text = format!("{}{grid}{}", &SWEEP[..start], &SWEEP[SWEEP.find("[optim]").unwrap()..]);
    let plan = plan(&text);
    assert_eq!(plan.cells.len(), 3);
    assert!(
        plan.warnings.iter().any(|w| w.contains("D is proportional to N")),
        "{:?}",
        plan.warnings
    );
}
