//! What methods differ by, cell by cell: same data set, training, seed and test class, also across
//! modes, with intervals from resampling whole trainings.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use zal::metrics::Bootstrap;

use super::grid::{Method, figures};
use crate::study::plan::Plan;
use crate::study::summary::{Estimate, estimate};
use crate::study::table::{Cell, Figure};

/// Data set, seed, training and test class.
type Key<'a> = (&'a str, u64, &'a str, &'a str);

/// The section of `tables.md`; empty with a single method.
#[must_use]
pub fn markdown(plan: &Plan, methods: &[Method], cells: &[Cell], bootstrap: &Bootstrap) -> String {
    let mut text = String::new();
    let Some(baseline) = methods.iter().find(|method| method.arm == plan.baseline()) else { return text };
    if methods.len() < 2 {
        return text;
    }
    let figures = figures();
    let heads: Vec<&str> = figures.iter().map(|(_, head)| *head).collect();
    let _ = writeln!(
        text,
        "\n## Differences to `{}`\n\nIn points of percent, cell by cell, with 95 % intervals from resampling whole \
         trainings; one that holds 0 shows nothing.\n\n| method | {} |\n|---|{}",
        baseline.label,
        heads.join(" | "),
        "---|".repeat(heads.len())
    );
    for method in methods.iter().filter(|method| *method != baseline) {
        let of = |(figure, _): &(Figure, _)| words(difference(cells, *figure, method, baseline, bootstrap));
        let row: Vec<String> = figures.iter().map(of).collect();
        let _ = writeln!(text, "| {} | {} |", method.label, row.join(" | "));
    }
    text
}

fn difference(
    cells: &[Cell],
    figure: Figure,
    method: &Method,
    baseline: &Method,
    bootstrap: &Bootstrap,
) -> Option<Estimate> {
    let expected = values(cells, figure, baseline);
    let mut trainings: BTreeMap<(&str, u64), Vec<f64>> = BTreeMap::new();
    for (key, value) in values(cells, figure, method) {
        if let Some(base) = expected.get(&key) {
            trainings.entry((key.2, key.1)).or_default().push(value - base);
        }
    }
    estimate(&trainings.into_values().collect::<Vec<_>>(), bootstrap)
}

fn values<'a>(cells: &'a [Cell], figure: Figure, method: &Method) -> BTreeMap<Key<'a>, f64> {
    let of_method = |cell: &&Cell| cell.place.arm == method.arm && cell.place.mode == method.mode;
    let value = |cell: &'a Cell| {
        let place = &cell.place;
        let key: Key<'a> = (&place.data_set, place.seed, &place.training, cell.figures.test_class.as_str());
        Some((key, cell.figures.get(figure)?))
    };
    cells.iter().filter(of_method).filter_map(value).collect()
}

fn words(estimate: Option<Estimate>) -> String {
    let Some(Estimate { mean, interval, .. }) = estimate else { return "-".to_owned() };
    let interval = interval.map(|[low, high]| format!(" [{:+.1}, {:+.1}]", 100.0 * low, 100.0 * high));
    format!("{:+.1}{}", 100.0 * mean, interval.unwrap_or_default())
}
