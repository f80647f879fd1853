//! Tables of finer things than cells, such as scans and curves: their first columns are those of
//! `cells.csv`, and their rows stand in its order, so that shards are merged by those columns alone.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result, ensure};

use crate::onnx::write_bytes;

/// The tables, where an evaluation has them.
const NAMES: [&str; 2] = ["scans.csv", "curves.csv"];
/// Columns of a cell: data set, seed, training, method, mode, test class.
const CELL_COLUMNS: usize = 6;

/// Merges the tables of all folders.
///
/// # Errors
/// When a folder lacks a table that another has, or their columns differ.
pub fn merge(parts: &[&Path], out: &Path) -> Result<()> {
    for name in NAMES {
        let present: Vec<&&Path> = parts.iter().filter(|part| part.join(name).exists()).collect();
        if present.is_empty() {
            continue;
        }
        if let Some(without) = parts.iter().find(|part| !part.join(name).exists()) {
            anyhow::bail!("{} has no {name}, but {} has", without.display(), present[0].display());
        }
        let read = |part: &&Path| {
            let path = part.join(name);
            fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))
        };
        let texts = parts.iter().map(read).collect::<Result<Vec<_>>>()?;
        let merged = merged(&texts).with_context(|| format!("{name} of the shards"))?;
        write_bytes(&out.join(name), merged.as_bytes())?;
    }
    Ok(())
}

/// The rows of all texts below one head, in the order of their cells.
fn merged(texts: &[String]) -> Result<String> {
    let head = texts.first().and_then(|text| text.lines().next()).unwrap_or_default();
    let mut rows = Vec::new();
    for text in texts {
        let found = text.lines().next().unwrap_or_default();
        ensure!(found == head, "the columns differ: found `{found}` and `{head}`");
        for row in text.lines().skip(1) {
            let fields: Vec<&str> = row.split(',').take(CELL_COLUMNS).collect();
            ensure!(fields.len() == CELL_COLUMNS, "found the row `{row}`, expected {CELL_COLUMNS} columns");
            let seed: u64 = fields[1].parse().with_context(|| format!("the seed of the row `{row}`"))?;
            rows.push(((fields[0], seed, fields[2..].to_vec()), row));
        }
    }
    // Stable: rows of one cell are of one shard, in its order.
    rows.sort_by(|a, b| a.0.cmp(&b.0));
    let mut text = format!("{head}\n");
    rows.iter().for_each(|(_, row)| text.extend([row, "\n"]));
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_come_in_the_order_of_their_cells_and_keep_their_own() {
        let head = "data_set,seed,training,arm,mode,test_class,scan";
        let text = |rows: &[&str]| format!("{head}\n{}\n", rows.join("\n"));
        let one = text(&["d,9,ring,a,line,ball,z", "d,9,ring,a,line,ball,b", "d,9,ring,b,line,ball,a"]);
        let two = text(&["d,9,cone,a,line,ball,x", "d,10,ring,a,line,ball,c"]);
        let expected = text(&[
            "d,9,cone,a,line,ball,x",
            "d,9,ring,a,line,ball,z",
            "d,9,ring,a,line,ball,b",
            "d,9,ring,b,line,ball,a",
            "d,10,ring,a,line,ball,c",
        ]);
        assert_eq!(merged(&[one.clone(), two]).expect("merged"), expected);
        let other = "data_set,seed\n".to_owned();
        assert!(merged(&[one, other]).expect_err("other columns").to_string().contains("columns"));
    }
}
