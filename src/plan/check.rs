//! What the rules of a sweep come to at each of its cells: numbers that training can use, or a refusal by the key.

use crate::plan::{Cell, Plan};
use crate::spec::MAX_BATCH;
use crate::units::count;

/// A rule that comes to no usable number at a cell.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[error("`{key}` comes to {value:e} for the cell of N = {params}, D = {tokens}; want {want}")]
pub struct Derived {
    /// Dotted path of the key.
    pub key: &'static str,
    /// What it comes to.
    pub value: f64,
    /// Size of the cell, as people write it [parameters].
    pub params: String,
    /// Its data [tokens].
    pub tokens: String,
    /// What would do.
    pub want: &'static str,
}

impl Plan {
    /// Refuses a plan of which a cell's rate, decay or batch is no number to train with.
    ///
    /// # Errors
    ///
    /// [`Derived`] for the first such cell.
    pub fn check(&self) -> Result<(), Derived> {
        self.cells.iter().try_for_each(check)
    }
}

/// The same of one cell.
///
/// # Errors
///
/// [`Derived`].
pub fn check(cell: &Cell) -> Result<(), Derived> {
    let recipe = &cell.recipe;
    let refuse = |key, value, want| {
        let (params, tokens) = (count(cell.params()), count(tokens(cell)));
        Err(Derived { key, value, params, tokens, want })
    };
    let rate = recipe.learning_rate;
    if !(rate.is_finite() && rate > 0.0) {
        return refuse(
            "optim.learning_rate",
            rate,
            "a finite rate above 0: lower its exponents or mend its references",
        );
    }
    if !recipe.weight_decay.is_finite() {
        let want = "a finite number: lower its exponents or mend its references";
        return refuse("optim.weight_decay", recipe.weight_decay, want);
    }
    let batch = recipe.batch_sequences as f64 * recipe.shape.context as f64;
    if batch > MAX_BATCH {
        return refuse("optim.batch_tokens", batch, "at most 1e9 tokens a step");
    }
    if tokens(cell) > MAX_TOKENS {
        return refuse(
            "grid",
            tokens(cell),
            "at most 2e18 tokens: lower budgets, tokens or tokens_per_param",
        );
    }
    Ok(())
}

/// Most tokens of a cell: twice the cap of the sweep file, for rounding to whole steps [tokens].
const MAX_TOKENS: f64 = 2e18;

/// The tokens of a cell, without the arithmetic of whole numbers, which would wrap [tokens].
fn tokens(cell: &Cell) -> f64 {
    let recipe = &cell.recipe;
    recipe.steps as f64 * recipe.batch_sequences as f64 * recipe.shape.context as f64
}

#[cfg(test)]
mod tests {
    use crate::plan::tests::{SWEEP, plan};

    #[test]
    fn a_rule_that_overflows_is_refused_by_its_key() {
        assert_eq!(plan(SWEEP).check(), Ok(()));
        let steep = "{ value = 1.0, params_exponent = 4.0, params_ref = 1e-300 }";
        let flat = "{ value = 1e-300, params_exponent = -4.0, params_ref = 1e-3 }";
        for (key, rule, value) in [
            ("learning_rate = 0.01", format!("learning_rate = {steep}"), f64::INFINITY),
            ("learning_rate = 0.01", format!("learning_rate = {flat}"), 0.0),
            (
                "learning_rate = 0.01",
                format!("learning_rate = 0.01\nweight_decay = {steep}"),
                f64::INFINITY,
            ),
        ] {
            let refused = plan(&SWEEP.replace(key, &rule)).check().unwrap_err();
            assert!(rule.contains(refused.key.trim_start_matches("optim.")), "{refused}");
            assert_eq!(refused.value, value, "{refused}");
        }
        let refused =
            plan(&SWEEP.replace("batch_tokens = 1024", &format!("batch_tokens = {steep}"))).check();
        assert_eq!(refused.unwrap_err().key, "optim.batch_tokens");
    }
}
