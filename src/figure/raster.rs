//! PNG from a figure's SVG.

use std::sync::{Arc, LazyLock};

use resvg::{tiny_skia, usvg};

use super::canvas::{BOLD, REGULAR};

/// Pixels of the PNG per CSS pixel of the figure.
const SCALE: f32 = 2.0;

/// A figure that could not be turned into pixels.
#[derive(Debug, thiserror::Error)]
pub enum FigureError {
    /// Not an SVG that can be read.
    #[error("cannot read the SVG: {0}")]
    Svg(#[from] usvg::Error),
    /// No pixel, or more than memory holds.
    #[error("cannot make an image of {width} x {height} pixels")]
    Size {
        /// Width asked for [px].
        width: u32,
        /// Height asked for [px].
        height: u32,
    },
    /// The pixels could not be written as PNG.
    #[error("cannot encode the PNG: {0}")]
    Encode(String),
}

/// Renders one of our SVGs at twice its size, with the embedded font and no other.
///
/// # Errors
/// An SVG that cannot be read, or an image without pixels.
pub fn png(svg: &str) -> Result<Vec<u8>, FigureError> {
    static FONTS: LazyLock<Arc<usvg::fontdb::Database>> = LazyLock::new(|| {
        let mut fonts = usvg::fontdb::Database::new();
        fonts.load_font_data(REGULAR.to_vec());
        fonts.load_font_data(BOLD.to_vec());
        fonts.set_sans_serif_family("Inter");
        Arc::new(fonts)
    });
    let options = usvg::Options {
        fontdb: Arc::clone(&FONTS),
        font_family: "Inter".to_owned(),
        ..usvg::Options::default()
    };
    let tree = usvg::Tree::from_str(svg, &options)?;
    let size = tree.size();
    let (width, height) = ((size.width() * SCALE) as u32, (size.height() * SCALE) as u32);
    let mut pixels =
        tiny_skia::Pixmap::new(width, height).ok_or(FigureError::Size { width, height })?;
    resvg::render(&tree, tiny_skia::Transform::from_scale(SCALE, SCALE), &mut pixels.as_mut());
    pixels.encode_png().map_err(|e| FigureError::Encode(e.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_an_svg_is_refused() {
        assert!(matches!(png("not an image"), Err(FigureError::Svg(_))));
    }
}
