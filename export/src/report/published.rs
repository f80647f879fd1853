//! The published figures: Wang, Peng, Fu, "Towards Zero-shot 3D Anomaly Localization", WACV 2025 (arXiv 2412.04304),
//! tables 1 (AUPRO, published rule, limit 0.3) and 2 (image AUROC), on MVTec 3D-AD, in percent. Of BTF and 3DSR the
//! paper prints the rows' means alone.

use std::path::Path;

use anyhow::{Context, Result};

use super::csv::Table;

const AUPRO: &str = include_str!("published/aupro.csv");
const AUROC: &str = include_str!("published/auroc.csv");

/// Where the figures are from, in words.
pub const SOURCE: &str =
    "Wang, Peng, Fu: Towards Zero-shot 3D Anomaly Localization, WACV 2025, tables 1 and 2";

/// A row: one method trained on one class.
#[derive(Debug, Clone, PartialEq)]
pub struct PublishedRow {
    /// 3DzAL, BTF or 3DSR.
    pub method: &'static str,
    /// The training class.
    pub training: String,
    /// Test class and figure, 0 to 1.
    pub fields: Vec<(String, f64)>,
    /// Mean over the test classes, 0 to 1, as printed.
    pub mean: f64,
}

/// The rows of AUPRO.
///
/// # Errors
/// Never: the tables are part of the program, and tested.
pub fn aupro() -> Result<Vec<PublishedRow>> {
    rows(AUPRO)
}

/// The rows of the image AUROC.
///
/// # Errors
/// Never: the tables are part of the program, and tested.
pub fn auroc() -> Result<Vec<PublishedRow>> {
    rows(AUROC)
}

fn rows(text: &str) -> Result<Vec<PublishedRow>> {
    let table = Table::parse(Path::new("published figures"), text)?;
    let classes = 1..table.need("mean")?;
    let means =
        [("3DzAL", "mean"), ("BTF", "btf_mean"), ("3DSR", "3dsr_mean")].map(|(m, c)| (m, table.need(c)));
    let mut rows = Vec::new();
    for index in 0..table.rows.len() {
        for (method, column) in &means {
            let column = *column.as_ref().map_err(|e| anyhow::anyhow!("{e}"))?;
            let percent = |column: usize| Ok(table.number(index, column)?.map(|p| p / 100.0));
            let mut fields = Vec::new();
            for class in classes.clone().filter(|_| *method == "3DzAL") {
                let value: Result<Option<f64>> = percent(class);
                fields.extend(value?.map(|value| (table.names[class].clone(), value)));
            }
            let mean = percent(column)?.context("every row has its means")?;
            rows.push(PublishedRow { method, training: table.rows[index][0].clone(), fields, mean });
        }
    }
    Ok(rows)
}

#[cfg(test)]
mod tests {
    use super::super::cells::mean;
    use super::*;

    #[test]
    fn the_printed_means_recompute() {
        for rows in [aupro().expect("rows"), auroc().expect("rows")] {
            assert_eq!(rows.len(), 30);
            for row in rows.iter().filter(|row| row.method == "3DzAL") {
                assert_eq!(row.fields.len(), 9, "{}", row.training);
                let found = mean(row.fields.iter().map(|(_, value)| *value)).expect("nine");
                assert!((found - row.mean).abs() < 0.000_51, "{}: {found} {}", row.training, row.mean);
                assert!(row.fields.iter().all(|(class, _)| *class != row.training));
            }
        }
        let grand = |rows: Vec<PublishedRow>, method: &str| {
            mean(rows.iter().filter(|row| row.method == method).map(|row| row.mean)).expect("ten")
        };
        assert!((grand(aupro().expect("rows"), "3DzAL") - 0.708).abs() < 0.000_6);
        assert!((grand(auroc().expect("rows"), "BTF") - 0.512).abs() < 0.001);
    }
}
