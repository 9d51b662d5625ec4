//! From the sweep file to the cells: every dimension, count, step and rate, before anything runs.
//!
//! Pure: no disk, no device.

mod cell;
pub mod check;
mod corpus;
pub mod cost;
pub mod fit_in;
pub mod memory;
pub mod mixture;
pub mod queue;
pub mod trunk;
mod verify;
mod warn;

pub use cell::{Cell, Draw, Horizon, Recipe, hex, short};
pub use corpus::{CORPUS, Corpus, HeldOutText, Taken, WELL_KNOWN};
pub use verify::{FILE, SEAL, possible, read, sealed, verify};

use std::collections::HashSet;

use self::mixture::Mixture;
use crate::shape::Shape;
use crate::spec::{Grid, Rule, Schedule, Source, Spec};

/// What the plan must know of the data, found out by `data`.
#[derive(Debug, Clone, PartialEq)]
pub struct DataFacts {
    /// Number of token ids.
    pub vocab: usize,
    /// Distinct training tokens; `None` for a source that never ends [tokens].
    pub train_tokens: Option<u64>,
    /// Held-out tokens that can be evaluated [tokens].
    pub held_out_tokens: u64,
    /// What recipes say of the source: its kind, and not where it lies.
    pub source: Source,
    /// Hash of the token ids or of the generator.
    pub sha256: String,
    /// Mean bytes of a held-out token, for bits per byte [bytes/token].
    pub bytes_per_token: Option<f64>,
    /// Exact entropy, where known [nats/token].
    pub entropy: Option<f64>,
    /// How the domains of a dataset are mixed; `None` for other sources.
    pub mixture: Option<Mixture>,
}

impl DataFacts {
    /// Distinct training tokens that a recipe sees, where the source has an end [tokens].
    pub fn unique_tokens(&self, recipe: &Recipe) -> Option<u64> {
        let tokens = recipe.tokens();
        match &self.mixture {
            Some(mixture) => Some(mixture.distinct(tokens, recipe.unique_tokens)),
            None => self.train_tokens.map(|there| tokens.min(there)),
        }
    }
}

/// The expanded grid.
#[derive(Debug, Clone, PartialEq)]
pub struct Plan {
    /// Name of the sweep.
    pub name: String,
    /// Cells, the most expensive first, so that workers finish together.
    pub cells: Vec<Cell>,
    /// What a user should know before spending the compute.
    pub warnings: Vec<String>,
}

/// A run to be planned: sizes and tokens before rounding to a shape and to steps.
struct Request {
    budget: Option<f64>,
    params: f64,
    tokens: Tokens,
    given: Given,
    /// Distinct tokens that are read, where not all are [tokens].
    unique: Option<u64>,
}

/// What is said of the recipe instead of the sweep's rules.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Given {
    /// Peak learning rate [1/step].
    pub learning_rate: Option<f64>,
    /// Batch size before rounding to whole sequences [tokens/step].
    pub batch_tokens: Option<f64>,
    /// Weight decay [-].
    pub weight_decay: Option<f64>,
}

/// How many tokens a request asks for.
enum Tokens {
    /// This many.
    Count(f64),
    /// This many for each parameter of the shape that is built.
    PerParam(f64),
    /// What the budget leaves at the shape's FLOPs per token.
    Budget(f64),
}

impl Plan {
    /// Expands a sweep. The same spec and data give the same plan.
    ///
    /// # Example
    ///
    /// ```
    /// use isoflop::data::Dataset;
    /// use isoflop::plan::Plan;
    /// use isoflop::spec::Spec;
    ///
    /// let spec = Spec::parse(
    ///     r#"
    ///     name = "tiny"
    ///     data.source = { graph-walk = { nodes = 16, degree = 4, skew = 0.0 } }
    ///     grid.product = { params = [1e4, "30k"], tokens = ["1M", "3M"] }
    ///     optim = { learning_rate = 0.01, batch_tokens = 1024 }
    ///     schedule.cosine = { warmup = 0.1, end = 0.02 }
    ///     "#,
    /// )?;
    /// let data = Dataset::load(&spec, None)?;
    /// let plan = Plan::new(&spec, &data.facts);
    /// assert_eq!(plan.cells.len(), 4);
    /// // The most expensive first; sizes and tokens are what shapes and whole steps come nearest to.
    /// let first = &plan.cells[0];
    /// assert!((first.params() / 30e3 - 1.0).abs() < 0.2);
    /// assert!((first.recipe.tokens() as f64 / 3e6 - 1.0).abs() < 0.01);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn new(spec: &Spec, data: &DataFacts) -> Self {
        let (mut cells, mut ids) = (Vec::new(), HashSet::new());
        let (mut raised, mut batches, mut wished, mut merged) = (Vec::new(), Vec::new(), 0, 0);
        for request in requests(spec) {
            wished += 1;
            let before = cells.len();
            for seeds in spec.seeds.get_ref().pairs() {
                let cell = cell(spec, data, &request, seeds);
                if let Tokens::Count(asked) = request.tokens
                    && cell.recipe.steps == 1
                    && cell.recipe.tokens() as f64 > 1.5 * asked
                {
                    raised.push((asked, cell.recipe.tokens() as f64));
                }
                let (asked, batch) =
                    (asked_batch(spec, &request, &cell), cell.recipe.batch_tokens());
                if asked < cell.recipe.shape.context as f64 {
                    batches.push((asked, batch as f64));
                }
                // Two requests may round to one shape: a smaller family than asked for, said in `warn`.
                if ids.insert(cell.id.clone()) {
                    cells.push(cell);
                }
            }
            merged += usize::from(cells.len() == before);
        }
        cells.sort_by(|l, r| {
            r.recipe.flops().total_cmp(&l.recipe.flops()).then_with(|| l.id.cmp(&r.id))
        });
        trunk::join(&mut cells);
        let mut warnings = warn::warnings(spec, data, &cells);
        warnings.extend(warn::raised(&raised));
        warnings.extend(warn::batch_raised(&batches));
        // The budgets of an IsoFLOP grid are told of one by one.
        if !matches!(spec.grid, Grid::Isoflop(_)) {
            warnings.extend(warn::merged(merged, wished));
        }
        Self { name: spec.name.get_ref().clone(), cells, warnings }
    }

    /// A cell off the grid by the sweep's own recipe: the shape of the family nearest to `params`, as many
    /// tokens as `flops` leaves it, rate and batch by their rules; `seeds` of weights and of data order
    /// [parameters, FLOP].
    pub fn cell_at(
        spec: &Spec,
        data: &DataFacts,
        params: f64,
        flops: f64,
        seeds: (u64, u64),
    ) -> Cell {
        let request = Request {
            budget: Some(flops),
            params,
            tokens: Tokens::Budget(flops),
            given: Given::default(),
            unique: spec.data.most_unique(),
        };
        cell(spec, data, &request, seeds)
    }

    /// One run outside the grid, with everything else as the sweep says: about `params` parameters on about
    /// `tokens` tokens, with what is `given` instead of the rules.
    pub fn tune_cell(
        spec: &Spec,
        data: &DataFacts,
        (params, tokens): (f64, f64),
        given: Given,
        seed: u64,
    ) -> Cell {
        let tokens = Tokens::Count(tokens);
        let unique = spec.data.most_unique();
        let request = Request { budget: None, params, tokens, given, unique };
        cell(spec, data, &request, (seed, seed))
    }

    /// Planned compute of all cells [FLOP].
    pub fn flops(&self) -> f64 {
        self.cells.iter().map(|c| c.recipe.flops()).sum()
    }

    /// Compute that is planned to be spent: what branches of a trunk share is counted once [FLOP].
    pub fn flops_spent(&self) -> f64 {
        self.cells.iter().map(Cell::flops_spent).sum()
    }

    /// What this study costs with one trunk a size and cooldowns forked from it, over what it would cost
    /// with every cell trained apart (0, 1]. Under a warmup-stable-decay schedule, where cells are trained
    /// apart, what trunks would make of it. `None` where nothing is or could be shared.
    pub fn trunk_share(&self) -> Option<f64> {
        trunk::shared(&self.cells)
    }
}

/// A batch of more is refused [sequences].
const MOST_SEQUENCES: f64 = 1e10;
/// A cell of more is refused; u64 holds twice as many [tokens].
const MOST_TOKENS: f64 = 9e18;

/// The grid, at each number of distinct tokens.
fn requests(spec: &Spec) -> Vec<Request> {
    let at = |unique| grid(spec, unique);
    spec.data.unique_tokens().into_iter().flat_map(at).collect()
}

fn grid(spec: &Spec, unique: Option<u64>) -> Vec<Request> {
    let given = Given::default();
    let plain = |params, tokens| Request { budget: None, params, tokens, given, unique };
    match &spec.grid {
        Grid::Isoflop(grid) => {
            let sizes = *grid.sizes.get_ref();
            let span = *grid.span.get_ref();
            let rung = 2.0 * span.ln() / (sizes.max(2) - 1) as f64;
            let mut out = Vec::new();
            for budget in grid.budgets.get_ref() {
                let mut centre = centre(grid, budget.0);
                if matches!(spec.schedule, Schedule::Trunk { .. }) && rung > 0.0 {
                    // The sizes of all budgets lie on one ladder, so that they can share trunks.
                    let anchor = centre_at_pivot(grid).1;
                    centre = anchor * (((centre / anchor).ln() / rung).round() * rung).exp();
                }
                for i in 0..sizes {
                    // From -1 to 1 over the sizes of a budget; a single size sits at the centre.
                    let place =
                        if sizes == 1 { 0.0 } else { 2.0 * i as f64 / (sizes - 1) as f64 - 1.0 };
                    let params = centre * span.powf(place);
                    out.push(Request {
                        budget: Some(budget.0),
                        ..plain(params, Tokens::Budget(budget.0))
                    });
                }
            }
            out
        }
        Grid::Product(grid) => {
            let mut out = Vec::new();
            for params in grid.params.get_ref() {
                for t in grid.tokens.iter().flat_map(toml::Spanned::get_ref) {
                    out.push(plain(params.0, Tokens::Count(t.0)));
                }
                for r in grid.tokens_per_param.iter().flat_map(toml::Spanned::get_ref) {
                    out.push(plain(params.0, Tokens::PerParam(r.0)));
                }
            }
            out
        }
        Grid::Cells(cells) => cells
            .get_ref()
            .iter()
            .map(|c| Request {
                given: Given {
                    learning_rate: c.learning_rate.map(|r| r.0),
                    batch_tokens: c.batch_tokens.map(|b| b.0),
                    weight_decay: None,
                },
                ..plain(c.params.get_ref().0, Tokens::Count(c.tokens.get_ref().0))
            })
            .collect(),
    }
}

/// The guessed optimum of a budget [parameters]: from C = 6 N D and D/N at the geometric mean of the
/// budgets, moved along N* ~ C^exponent.
fn centre(grid: &crate::spec::Isoflop, budget: f64) -> f64 {
    let (pivot, at_pivot) = centre_at_pivot(grid);
    at_pivot * (budget / pivot).powf(*grid.exponent.get_ref())
}

/// The geometric mean of the budgets [FLOP] and the guessed optimum there [parameters].
fn centre_at_pivot(grid: &crate::spec::Isoflop) -> (f64, f64) {
    let budgets = grid.budgets.get_ref();
    let pivot = (budgets.iter().map(|b| b.0.ln()).sum::<f64>() / budgets.len() as f64).exp();
    (pivot, (pivot / (6.0 * grid.tokens_per_param.get_ref())).sqrt())
}

/// Tokens that a request asks for at a shape.
fn asked_tokens(request: &Request, shape: &Shape) -> f64 {
    match request.tokens {
        Tokens::Count(n) => n,
        Tokens::PerParam(ratio) => ratio * shape.counts().matmul,
        Tokens::Budget(flops) => flops / shape.flops_per_token().total(),
    }
}

/// The batch that a request asks for, before it is rounded to whole sequences [tokens/step].
fn asked_batch(spec: &Spec, request: &Request, cell: &Cell) -> f64 {
    let rule = spec.optim.batch_tokens.get_ref();
    let tokens = asked_tokens(request, &cell.recipe.shape);
    request.given.batch_tokens.unwrap_or_else(|| rule.at(cell.params(), tokens))
}

fn cell(spec: &Spec, data: &DataFacts, request: &Request, seeds: (u64, u64)) -> Cell {
    let shape = Shape::of_params(request.params, data.vocab, &spec.model);
    let params = shape.counts().matmul;
    let tokens = asked_tokens(request, &shape);
    let rule = |rule: &Rule, given: Option<f64>| given.unwrap_or_else(|| rule.at(params, tokens));
    let batch = rule(spec.optim.batch_tokens.get_ref(), request.given.batch_tokens);
    // Numbers beyond these wrap in what is derived from them; `check` refuses what comes near.
    let batch_sequences = (batch / shape.context as f64).round().clamp(1.0, MOST_SEQUENCES) as u64;
    let steps = (tokens / (batch_sequences * shape.context as u64) as f64).round();
    let steps =
        steps.clamp(1.0, MOST_TOKENS / (batch_sequences * shape.context as u64) as f64) as u64;
    let (reference_width, reference_layers) = spec.model.reference();
    // A trunk does not know how far it goes: D is then the tokens so far.
    let law = spec.optim.learning_rate.get_ref();
    let trunk =
        matches!(spec.schedule, Schedule::Trunk { .. }) && request.given.learning_rate.is_none();
    let horizon = (trunk && law.tokens_exponent != 0.0)
        .then_some(Horizon { tokens: law.tokens_ref, exponent: law.tokens_exponent });
    let learning_rate = match horizon {
        Some(_) => law.at(params, law.tokens_ref),
        None => rule(law, request.given.learning_rate),
    };
    let window = shape.context as u64;
    let eval = (spec.eval.tokens.get_ref().0 as u64).min(data.held_out_tokens) / window * window;
    Cell::new(
        request.budget,
        Recipe {
            version: Recipe::current_version(),
            source: data.source.clone(),
            tokenizer: spec.data.tokenizer(),
            data_sha256: data.sha256.clone(),
            shape,
            embedding_std: spec.model.embedding_std,
            reference_width,
            parametrization: spec.model.parametrization(),
            reference_layers,
            steps,
            batch_sequences,
            learning_rate,
            betas: *spec.optim.betas.get_ref(),
            eps: *spec.optim.eps.get_ref(),
            weight_decay: rule(spec.optim.weight_decay.get_ref(), request.given.weight_decay),
            clip: *spec.optim.clip.get_ref(),
            schedule: spec.schedule.clone(),
            horizon,
            eval_tokens: eval.max(window),
            init_seed: seeds.0,
            order_seed: (seeds.1 != seeds.0).then_some(seeds.1),
            mix: spec.data.mix.as_ref().and(data.mixture.as_ref()).map(Mixture::shares),
            unique_tokens: request.unique,
        },
    )
}

#[cfg(test)]
pub(crate) mod tests;
