
#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::Plan;
    use crate::shape::Shape;
    use crate::spec::{Parametrization, Spec};

    const SWEEP: &str = r#"
name = "t"
[data]
source = { graph-walk = { nodes = 64, degree = 8, skew = 1.0 } }
[model]
context = 32
[[grid.cells]]
params = 1e4
tokens = 1e6
[optim]
learning_rate = 0.01
batch_tokens = 512
[schedule.cosine]
warmup = 0.0
end = 1.0
"#;

    #[test]
    fn explore() {
        let spec = Spec::parse(SWEEP).unwrap();
        let data = Dataset::load(&spec, None).unwrap();
        let base = Plan::new(&spec, &data.facts).cells[0].recipe.clone();
        let place = Place { device: burn::tensor::Device::flex(), kernels: crate::ops::Kernels::Fused };
        for rate in [0.005, 0.01, 0.02] {
            for p in [Parametrization::Standard, Parametrization::Mup, Parametrization::CompleteP] {
                let run = |width: usize, layers: usize| {
                    let mut sum = [0.0; 4];
                    for seed in 0..3 {
                        let shape = Shape { vocab: 64, context: 32, width, layers, heads: width / 16, ff: width * 8 / 3 / 8 * 8, qk_norm: false, tied: false };
                        let (reference_width, reference_layers) = match p {
                            Parametrization::Mup => (32, 0),
                            Parametrization::Standard => (0, 0),
                            Parametrization::CompleteP => (32, 2),
                        };
                        let recipe = Recipe { shape, parametrization: p, reference_width, reference_layers, learning_rate: rate, seed, ..base.clone() };
                        let c = coordinates(&recipe, &data, &place, 8);
                        for (s, v) in sum.iter_mut().zip([*c.stream.last().unwrap(), *c.stream_change.last().unwrap(), c.logits, c.logits_change]) {
                            *s += v / 3.0;
                        }
                    }
                    sum
                };
                let slope = |runs: &[(f64, [f64; 4])], k: usize| {
                    let n = runs.len() as f64;
                    let mx = runs.iter().map(|r| r.0.ln()).sum::<f64>() / n;
                    let my = runs.iter().map(|r| r.1[k].ln()).sum::<f64>() / n;
                    runs.iter().map(|r| (r.0.ln() - mx) * (r.1[k].ln() - my)).sum::<f64>() / runs.iter().map(|r| (r.0.ln() - mx).powi(2)).sum::<f64>()
                };
                let widths: Vec<_> = [16, 32, 64, 128, 256].map(|w| (w as f64, run(w, 2))).to_vec();
                let depths: Vec<_> = [2, 4, 8, 16, 32].map(|l| (l as f64, run(32, l))).to_vec();
                for (what, runs) in [("width", widths), ("depth", depths)] {
                    println!("{rate} {p:?} {what}: slopes {:.3?}", [0, 1, 2, 3].map(|k| slope(&runs, k)));
                    for r in &runs { println!("      {} {:.3?}", r.0, r.1); }
                }
            }
        }
    }
}
