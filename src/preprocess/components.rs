//! Connected components on an image grid, for the clusters of a cloud and the regions of an
//! anomaly map.

/// Component number of every pixel, row-major; [`NONE`] where the pixel is not a member.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Components {
    /// `[height * width]`, numbered from 0 in the order of each component's first pixel.
    pub labels: Vec<u32>,
    /// Number of components.
    pub count: usize,
}

/// Label of a pixel that belongs to no component.
pub const NONE: u32 = u32::MAX;

/// Finds the 8-connected components of the pixels where `member` is true. Two neighbouring
/// members are connected when `linked` says so of their row-major indices.
///
/// # Panics
/// When `width` is 0 or the pixels do not fill whole rows.
#[must_use]
pub fn components(member: &[bool], width: usize, linked: impl Fn(usize, usize) -> bool) -> Components {
    assert!(width > 0 && member.len().is_multiple_of(width), "the pixels fill whole rows");
    let mut labels = vec![NONE; member.len()];
    let mut stack = Vec::new();
    let mut next = 0_u32;
    for first in 0..member.len() {
        if !member[first] || labels[first] != NONE {
            continue;
        }
        labels[first] = next;
        stack.push(first);
        while let Some(pixel) = stack.pop() {
            for neighbor in neighbors_8(pixel, width, member.len()) {
                if member[neighbor] && labels[neighbor] == NONE && linked(pixel, neighbor) {
                    labels[neighbor] = next;
                    stack.push(neighbor);
                }
            }
        }
        next += 1;
    }
    Components { labels, count: next as usize }
}

/// The up to eight pixels around `pixel` that lie within the image.
fn neighbors_8(pixel: usize, width: usize, len: usize) -> impl Iterator<Item = usize> {
    let (row, column) = (pixel / width, pixel % width);
    let rows = row.saturating_sub(1)..(row + 2).min(len / width);
    rows.flat_map(move |r| (column.saturating_sub(1)..(column + 2).min(width)).map(move |c| r * width + c))
        .filter(move |&neighbor| neighbor != pixel)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Pixels of a drawing: `#` is a member.
    fn drawing(rows: &[&str]) -> (Vec<bool>, usize) {
        (rows.iter().flat_map(|row| row.bytes().map(|b| b == b'#')).collect(), rows[0].len())
    }

    #[test]
    fn diagonal_neighbors_are_connected_and_rows_do_not_wrap() {
        let (member, width) = drawing(&["#..#", ".#..", "...#", "#..."]);
        let found = components(&member, width, |_, _| true);
        assert_eq!(found.count, 4);
        assert_eq!(found.labels[0], found.labels[5]);
        assert_ne!(found.labels[11], found.labels[12]);
        assert_eq!(found.labels[1], NONE);
    }

    #[test]
    fn a_refused_link_separates() {
        let (member, width) = drawing(&["####"]);
        let found = components(&member, width, |a, b| a.min(b) != 1);
        assert_eq!(found.labels, [0, 0, 1, 1]);
    }

    #[test]
    fn no_members_no_components() {
        assert_eq!(components(&[false; 6], 3, |_, _| true).count, 0);
        assert_eq!(components(&[], 3, |_, _| true).count, 0);
    }
}
