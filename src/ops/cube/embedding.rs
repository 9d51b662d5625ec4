//! The gradient of an embedding: rows with the same id summed in a fixed order, without atomics.

use burn::tensor::Tensor;
use burn_cubecl::cubecl;
use burn_cubecl::tensor::CubeTensor;
use cubecl::prelude::*;

use super::{elementwise, indices, lift, lower, reach};

/// Rows that one unit sums at a time; a frequent id has many such runs.
const RUN: usize = 64;

/// Row `places[k]` of `out` is the sum of the rows `order[starts[k]..starts[k + 1]]`.
#[cube(launch, address_type = "dynamic")]
fn kernel(
    rows: &[f32],
    order: &[u32],
    starts: &[u32],
    places: &[u32],
    out: &mut [f32],
    columns: usize,
) {
    if ABSOLUTE_POS < places.len() * columns {
        let k = ABSOLUTE_POS / columns;
        let c = ABSOLUTE_POS % columns;
        let mut sum = 0.0f32;
        for i in starts[k]..starts[k + 1] {
            sum += rows[order[i as usize] as usize * columns + c];
        }
        out[places[k] as usize * columns + c] = sum;
    }
}

/// Which rows a sum takes and where it goes.
#[derive(Debug, Default, PartialEq)]
struct Sums {
    order: Vec<u32>,
    starts: Vec<u32>,
    places: Vec<u32>,
}

impl Sums {
    fn add(&mut self, rows: impl IntoIterator<Item = u32>, place: u32) {
        self.starts.push(self.order.len() as u32);
        self.order.extend(rows);
        self.places.push(place);
    }

    /// Writes the sums of `rows`; all of `out` that has no sum stays.
    fn write(mut self, rows: CubeTensor, out: &CubeTensor, columns: usize) {
        self.starts.push(self.order.len() as u32);
        let (count, dim) = elementwise(&out.client, self.places.len() * columns);
        let [order, starts, places] =
            [self.order, self.starts, self.places].map(|list| indices(&rows, &list));
        kernel::launch(
            &out.client,
            count,
            dim,
            reach(&[&rows, out]),
            rows.into_buffer_arg(),
            order,
            starts,
            places,
            out.clone().into_buffer_arg(),
            columns,
        );
    }
}

/// The rows of each id in runs, and the runs of each id.
fn plan(ids: &[i32]) -> [Sums; 2] {
    let mut rows: Vec<u32> = (0..ids.len() as u32).collect();
    rows.sort_by_key(|row| ids[*row as usize]);
    let (mut runs, mut sums) = (Sums::default(), Sums::default());
    for same in rows.chunk_by(|a, b| ids[*a as usize] == ids[*b as usize]) {
        let first = runs.places.len() as u32;
        for run in same.chunks(RUN) {
            let place = runs.places.len() as u32;
            runs.add(run.iter().copied(), place);
        }
        sums.add(first..runs.places.len() as u32, ids[same[0] as usize].cast_unsigned());
    }
    [runs, sums]
}

pub(super) fn gradient(dx: Tensor<2>, ids: &[i32], vocab: usize) -> Tensor<2> {
    let [_, d] = dx.dims();
    let device = dx.device();
    let [runs, sums] = plan(ids);
    let parts = lower(Tensor::<2>::zeros([runs.places.len(), d], &device));
    runs.write(lower(dx), &parts, d);
    let out = lower(Tensor::<2>::zeros([vocab, d], &device));
    sums.write(parts, &out, d);
    lift(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_row_is_in_one_run_and_every_run_in_one_sum() {
        let ids: Vec<i32> = (0..300).map(|i| if i % 3 == 0 { 7 } else { i % 5 }).collect();
        let [runs, sums] = plan(&ids);
        let mut rows = runs.order.clone();
        rows.sort_unstable();
        assert_eq!(rows, (0..300).collect::<Vec<u32>>());
        assert_eq!(sums.order, (0..runs.places.len() as u32).collect::<Vec<u32>>());
        let first = |s: &Sums, k: usize| s.order[s.starts[k] as usize] as usize;
        for (k, id) in sums.places.iter().enumerate() {
            assert_eq!(ids[first(&runs, first(&sums, k))].cast_unsigned(), *id);
        }
        assert!(runs.places.len() > sums.places.len(), "id 7 has more rows than a run");
    }
}
