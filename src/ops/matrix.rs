//! Matrix products on parts of larger buffers, by the `gemm` crate, behind bounds checks.

/// A matrix inside a slice: element (i, j) is at `offset + i * rows.1 + j * columns.1`.
#[derive(Debug, Clone, Copy)]
pub(super) struct View {
    /// First element.
    pub(super) offset: usize,
    /// Number of rows and the distance between them.
    pub(super) rows: (usize, usize),
    /// Number of columns and the distance between them.
    pub(super) columns: (usize, usize),
}

impl View {
    /// Rows of `columns` adjacent elements, `stride` apart.
    pub(super) fn new(offset: usize, rows: usize, columns: usize, stride: usize) -> Self {
        Self { offset, rows: (rows, stride), columns: (columns, 1) }
    }

    /// Rows and columns exchanged.
    pub(super) fn transposed(self) -> Self {
        Self { offset: self.offset, rows: self.columns, columns: self.rows }
    }

    fn fits(&self, len: usize) -> bool {
        let ((m, rs), (n, cs)) = (self.rows, self.columns);
        m > 0 && n > 0 && self.offset + (m - 1) * rs + (n - 1) * cs < len
    }
}

/// `c = factor * a b`, or `c += factor * a b` with `add`, on the calling thread.
///
/// # Panics
///
/// When the shapes do not match or a view reaches outside its slice.
#[expect(unsafe_code, reason = "gemm takes pointers and strides")]
pub(super) fn multiply(
    c: (&mut [f32], View),
    a: (&[f32], View),
    b: (&[f32], View),
    factor: f32,
    add: bool,
) {
    let ((c, cv), (a, av), (b, bv)) = (c, a, b);
    let (m, n, k) = (cv.rows.0, cv.columns.0, av.columns.0);
    assert!(av.rows.0 == m && bv.columns.0 == n && bv.rows.0 == k, "shapes of a matrix product");
    assert!(cv.fits(c.len()) && av.fits(a.len()) && bv.fits(b.len()), "views lie in their slices");
    let stride = |s: usize| s.cast_signed();
    // SAFETY: all three views lie inside their slices (checked above), c is borrowed mutably and so
    // overlaps neither a nor b, and c's elements are distinct because its strides are those of a
    // row-major buffer.
    unsafe {
        gemm::gemm(
            m,
            n,
            k,
            c.as_mut_ptr().add(cv.offset),
            stride(cv.columns.1),
            stride(cv.rows.1),
            add,
            a.as_ptr().add(av.offset),
            stride(av.columns.1),
            stride(av.rows.1),
            b.as_ptr().add(bv.offset),
            stride(bv.columns.1),
            stride(bv.rows.1),
            1.0_f32,
            factor,
            false,
            false,
            false,
            gemm::Parallelism::None,
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn products_of_parts_agree_with_arithmetic_on_paper() {
        // a = [[1, 2], [3, 4]] inside a 2 x 3 buffer, b = its transpose.
        let a = [1.0, 2.0, 9.0, 3.0, 4.0, 9.0];
        let view = View::new(0, 2, 2, 3);
        let mut c = [1.0; 4];
        multiply((&mut c, View::new(0, 2, 2, 2)), (&a, view), (&a, view.transposed()), 1.0, false);
        assert_eq!(c, [5.0, 11.0, 11.0, 25.0]);
        multiply((&mut c, View::new(0, 2, 2, 2)), (&a, view), (&a, view), 2.0, true);
        assert_eq!(c, [5.0 + 14.0, 11.0 + 20.0, 11.0 + 30.0, 25.0 + 44.0]);
    }

    #[test]
    #[should_panic(expected = "views lie in their slices")]
    fn a_view_outside_its_slice_is_refused() {
        let a = [0.0; 5];
        let view = View::new(0, 2, 2, 4);
        multiply((&mut [0.0; 4], View::new(0, 2, 2, 2)), (&a, view), (&a, view), 1.0, false);
    }
}
