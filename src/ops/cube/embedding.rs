//! Rows of an embedding, and its gradient: rows with the same id summed in a fixed order, without atomics.

use burn::tensor::{DType, Tensor};
use burn_cubecl::cubecl;
use burn_cubecl::tensor::CubeTensor;
use cubecl::prelude::*;

use super::{elementwise, empty, indices, lift, lower, reach, unsigned};

/// Rows that one unit sums at a time; a frequent id has many such runs.
const RUN: usize = 64;

#[cube(launch, address_type = "dynamic")]
fn rows_kernel(table: &[f32], ids: &[u32], out: &mut [f32], columns: usize) {
    if ABSOLUTE_POS < out.len() {
        let row = ids[ABSOLUTE_POS / columns] as usize;
        out[ABSOLUTE_POS] = table[row * columns + ABSOLUTE_POS % columns];
    }
}

pub(super) fn rows(table: Tensor<2>, ids: &[i32]) -> Tensor<2> {
    let [_, d] = table.dims();
    let table = lower(table);
    let out = empty(&table, [ids.len(), d], DType::F32);
    let places = indices(&table, &unsigned(ids));
    let (count, dim) = elementwise(&table.client, ids.len() * d);
    rows_kernel::launch(
        &out.client,
        count,
        dim,
        reach(&[&table, &out]),
        table.into_buffer_arg(),
        places,
        out.clone().into_buffer_arg(),
        d,
    );
    lift(out)
}

/// Row k of `out` is the sum of the rows `order[starts[k]..starts[k + 1]]`.
#[cube(launch, address_type = "dynamic")]
fn sums_kernel(rows: &[f32], order: &[u32], starts: &[u32], out: &mut [f32], columns: usize) {
    if ABSOLUTE_POS < out.len() {
        let k = ABSOLUTE_POS / columns;
        let c = ABSOLUTE_POS % columns;
        let mut sum = 0.0f32;
        for i in starts[k]..starts[k + 1] {
            sum += rows[order[i as usize] as usize * columns + c];
        }
        out[ABSOLUTE_POS] = sum;
    }
}

/// Which rows each sum takes.
#[derive(Debug, PartialEq)]
struct Sums {
    order: Vec<u32>,
    /// Where each sum begins in `order`, and the end of the last.
    starts: Vec<u32>,
}

impl Sums {
    fn len(&self) -> usize {
        self.starts.len() - 1
    }

    fn of(&self, rows: CubeTensor, columns: usize) -> CubeTensor {
        let out = empty(&rows, [self.len(), columns], DType::F32);
        let (count, dim) = elementwise(&rows.client, self.len() * columns);
        let [order, starts] = [&self.order, &self.starts].map(|list| indices(&rows, list));
        sums_kernel::launch(
            &out.client,
            count,
            dim,
            reach(&[&rows, &out]),
            rows.into_buffer_arg(),
            order,
            starts,
            out.clone().into_buffer_arg(),
            columns,
        );
        out
    }
}

/// The rows of each id in runs, and the runs of every id of the vocabulary.
fn plan(ids: &[i32], vocab: usize) -> [Sums; 2] {
    let mut order: Vec<u32> = (0..ids.len() as u32).collect();
    order.sort_by_key(|row| ids[*row as usize]);
    let (mut starts, mut firsts) = (vec![0], vec![0; vocab + 1]);
    for same in order.chunk_by(|a, b| ids[*a as usize] == ids[*b as usize]) {
        for run in same.chunks(RUN) {
            starts.push(starts[starts.len() - 1] + run.len() as u32);
        }
        firsts[ids[same[0] as usize] as usize + 1] = same.len().div_ceil(RUN) as u32;
    }
    for id in 0..vocab {
        firsts[id + 1] += firsts[id];
    }
    let runs = Sums { order, starts };
    let sums = Sums { order: (0..runs.len() as u32).collect(), starts: firsts };
    [runs, sums]
}

pub(super) fn gradient(dx: Tensor<2>, ids: &[i32], vocab: usize) -> Tensor<2> {
    let [_, d] = dx.dims();
    let [runs, sums] = plan(ids, vocab);
    lift(sums.of(runs.of(lower(dx), d), d))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_row_is_in_one_run_and_every_run_in_the_sum_of_its_id() {
        let ids: Vec<i32> = (0..300).map(|i| if i % 3 == 0 { 7 } else { i % 5 }).collect();
        let [runs, sums] = plan(&ids, 10);
        let mut rows = runs.order.clone();
        rows.sort_unstable();
        assert_eq!(rows, (0..300).collect::<Vec<u32>>());
        assert_eq!(sums.order, (0..runs.len() as u32).collect::<Vec<u32>>());
        assert_eq!((sums.len(), runs.starts[runs.len()]), (10, 300));
        for id in 0..10 {
            for run in sums.starts[id]..sums.starts[id + 1] {
                let run = run as usize;
                let rows = &runs.order[runs.starts[run] as usize..runs.starts[run + 1] as usize];
                assert!(!rows.is_empty() && rows.len() <= RUN);
                assert!(rows.iter().all(|row| ids[*row as usize] as usize == id));
            }
        }
        assert!(runs.len() > 6, "id 7 has more rows than a run");
    }
}
