//! [`Windows`]: where the members of every block of an organised cloud lie, as found by
//! the window search, kept for later passes over the image.

use multiversion::multiversion;

use super::grid::{LANES, Lane};
use super::window::Window;

/// Rows that one task works on; the search starts each row from the one above, so a band
/// costs one start from nothing.
pub const BAND_ROWS: usize = 16;

/// A run of offsets in one row of a block's window, with a member in at least one lane.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Span {
    /// Rows below the block.
    pub row: i16,
    /// Columns to the right of the block, first of the run.
    pub column: i16,
    /// Length of the run.
    pub len: u16,
}

/// One block: [`LANES`] pixels of a row, from `column` on.
#[derive(Debug, Clone)]
pub struct Block {
    /// Row of the image.
    pub row: usize,
    /// Column of the first lane.
    pub column: usize,
    /// Squared distance up to which a pixel is a neighbour; negative for a lane that has
    /// none here (no measured point, or left to the kd-tree).
    pub limits: Lane,
    spans: std::ops::Range<usize>,
}

/// The blocks of [`BAND_ROWS`] rows, those without measured points left out.
#[derive(Debug, Clone, Default)]
pub struct Band {
    blocks: Vec<Block>,
    spans: Vec<Span>,
}

/// All bands of an image, top to bottom.
#[derive(Debug, Clone)]
pub struct Windows {
    /// Band `i` begins at row `i * BAND_ROWS`.
    pub bands: Vec<Band>,
}

impl Band {
    /// Adds a block with the distances of its window.
    pub fn push(
        &mut self,
        (row, column): (usize, usize),
        limits: Lane,
        window: Window,
        distances_sq: &[Lane],
    ) {
        let first = self.spans.len();
        push_spans(distances_sq, window, &limits, &mut self.spans);
        self.blocks.push(Block { row, column, limits, spans: first..self.spans.len() });
    }

    /// The blocks with their spans.
    pub fn blocks(&self) -> impl Iterator<Item = (&Block, &[Span])> {
        self.blocks.iter().map(|block| (block, &self.spans[block.spans.clone()]))
    }

    /// The spans of the block added last.
    #[must_use]
    pub fn last_spans(&self) -> &[Span] {
        self.blocks.last().map_or(&[], |block| &self.spans[block.spans.clone()])
    }
}

/// The smallest window that holds all spans.
#[must_use]
pub fn window_of(spans: &[Span]) -> Window {
    let mut window = [0_i16; 4];
    for span in spans {
        let last = span.column + i16::try_from(span.len).unwrap_or(i16::MAX) - 1;
        for (side, extent) in window.iter_mut().zip([-span.row, span.row, -span.column, last]) {
            *side = (*side).max(extent);
        }
    }
    window.map(|side| usize::try_from(side).unwrap_or(0))
}

#[multiversion(targets(
    "x86_64+avx512f+avx512bw+avx512vl+avx512dq+avx2+fma",
    "x86_64+avx2+fma",
    "aarch64+neon"
))]
#[expect(clippy::cast_possible_truncation, clippy::cast_possible_wrap, reason = "windows are under 100 wide")]
fn push_spans(distances_sq: &[Lane], window: Window, limits: &Lane, out: &mut Vec<Span>) {
    let [up, _, left, right] = window;
    for (row, distances_sq) in distances_sq.chunks_exact(left + right + 1).enumerate() {
        let first = distances_sq.iter().position(|d| any_within(d, limits));
        let Some(first) = first else { continue };
        let last = distances_sq.iter().rposition(|d| any_within(d, limits)).unwrap_or(first);
        out.push(Span {
            row: row as i16 - up as i16,
            column: first as i16 - left as i16,
            len: (last - first + 1) as u16,
        });
    }
}

/// Whether any lane's distance is within its limit.
#[inline(always)]
pub(crate) fn any_within(distances_sq: &Lane, limits: &Lane) -> bool {
    let mut any = false;
    for l in 0..LANES {
        any |= distances_sq[l] <= limits[l];
    }
    any
}
