//! What the figures' columns are called for people, and where chance lies.

use super::cells::Cells;

/// A figure of the cells.
#[derive(Debug, Clone, PartialEq)]
pub struct Figure {
    /// Name of its column.
    pub column: String,
    /// Short name, such as `AUPRO-fg`.
    pub name: String,
    /// Rule and domain in words; empty when the name says all.
    pub note: String,
    /// What a map or score of noise has.
    pub chance: Option<f64>,
}

impl Figure {
    /// The figure of a column.
    #[must_use]
    pub fn of_column(column: &str) -> Self {
        let (name, note, chance) = describe(column);
        Self { column: column.into(), name, note, chance }
    }

    /// The first column of the cells that starts so and has values.
    #[must_use]
    pub fn find(cells: &Cells, start: &str) -> Option<Self> {
        let column = cells.figures.iter().find(|name| name.starts_with(start) && cells.has(name))?;
        Some(Self::of_column(column))
    }

    /// AUPRO over all pixels, AUPRO over the object, and image AUROC, as far as they are there.
    #[must_use]
    pub fn main(cells: &Cells) -> Vec<Self> {
        let columns = ["aupro_published", "aupro_fg_published", "image_auroc"];
        columns.iter().filter_map(|start| Self::find(cells, start)).collect()
    }

    /// All that stands in the overview: every figure but ends of intervals and the second rule.
    #[must_use]
    pub fn overview(cells: &Cells) -> Vec<Self> {
        let mut figures = Self::main(cells);
        for column in &cells.figures {
            let interval = column.ends_with("_low") || column.ends_with("_high");
            let second_rule = column.contains("_exact");
            let taken = figures.iter().any(|figure| figure.column == *column);
            if !interval && !second_rule && !taken && cells.has(column) {
                figures.push(Self::of_column(column));
            }
        }
        figures
    }
}

/// Name, note and chance of a column; an unknown one keeps its name.
fn describe(column: &str) -> (String, String, Option<f64>) {
    if let Some(rest) = column.strip_prefix("aupro_") {
        let (name, rest) = match rest.strip_prefix("fg_") {
            Some(rest) => ("AUPRO-fg", rest),
            None => ("AUPRO", rest),
        };
        let (rule, limit) = rest.split_once('_').unwrap_or((rest, ""));
        let domain = if name == "AUPRO" { "all pixels" } else { "pixels of the object" };
        let note = format!("{rule} rule, limit {limit}, {domain}");
        return (name.into(), note, limit.parse().ok().map(|limit: f64| limit / 2.0));
    }
    let words = column.split('_').collect::<Vec<_>>();
    let has = |word: &str| words.contains(&word);
    let known = |name: &str, note: &str, chance| (name.into(), note.into(), chance);
    match column {
        "image_auroc" => known("image AUROC", "ties count half", Some(0.5)),
        "hit1" => known("hit1", "share of the defective scans whose map peaks on the defect", None),
        _ if has("conf") => known(
            "conf",
            "image AUROC with the defect's patches erased: what the acquisition alone gives away",
            Some(0.5),
        ),
        _ if has("cf") => known(
            "cf",
            "image AUROC of the same defective scans with against without their defect",
            Some(0.5),
        ),
        _ if has("pixel") && has("auroc") => {
            let fg = has("fg") || has("object");
            let domain = if fg { "pixels of the object" } else { "all pixels" };
            known(if fg { "pixel AUROC-fg" } else { "pixel AUROC" }, domain, Some(0.5))
        }
        _ => (column.replace('_', " "), String::new(), None),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_say_rule_limit_and_domain() {
        let figure = Figure::of_column("aupro_fg_published_0.3");
        assert_eq!((figure.name.as_str(), figure.chance), ("AUPRO-fg", Some(0.15)));
        assert_eq!(figure.note, "published rule, limit 0.3, pixels of the object");
        assert_eq!(Figure::of_column("aupro_exact_0.05").note, "exact rule, limit 0.05, all pixels");
        assert_eq!(Figure::of_column("image_auroc_conf").name, "conf");
        assert_eq!(Figure::of_column("pixel_auroc_fg").name, "pixel AUROC-fg");
        assert_eq!(Figure::of_column("f1_max").name, "f1 max");
    }
}
