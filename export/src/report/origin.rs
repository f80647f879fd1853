//! How a run was made: its record, its time and memory, and tables of guards, as the run left them.

use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use anyhow::{Context, Result};
use serde_json::Value;

use super::csv::Table;
use super::markup::escaped;

/// Records that a run may leave.
const RECORDS: [&str; 2] = ["run.json", "gate.json"];
/// Parts of a record that the page shows elsewhere.
const SHOWN_ELSEWHERE: [&str; 1] = ["judged"];

/// The commands, versions and hashes of a run.
///
/// # Errors
/// When a record cannot be read.
pub fn records(out: &Path, command: Option<&str>) -> Result<String> {
    let mut html = String::from("<dl>");
    if let Some(command) = command {
        let _ = write!(html, "<dt>this page<dd><code>{}</code>", escaped(command));
    }
    let _ = write!(html, "<dt>zal-export<dd>{}", env!("CARGO_PKG_VERSION"));
    for name in RECORDS {
        let path = out.join(name);
        if path.exists() {
            let bytes = fs::read(&path).with_context(|| format!("cannot read {}", path.display()))?;
            let value: Value =
                serde_json::from_slice(&bytes).with_context(|| format!("{} is no JSON", path.display()))?;
            push_value(&mut html, "", &value);
        }
    }
    html.push_str("</dl>\n");
    if let Some(words) = summary_head(out) {
        let _ = writeln!(html, "<p class=note>{}</p>", escaped(&words));
    }
    Ok(html)
}

/// Scalars and lists of scalars, by their path in the record.
fn push_value(html: &mut String, path: &str, value: &Value) {
    let scalar = |value: &Value| match value {
        Value::String(text) => Some(escaped(text)),
        Value::Number(_) | Value::Bool(_) => Some(value.to_string()),
        _ => None,
    };
    match value {
        Value::Object(map) => {
            for (key, value) in map.iter().filter(|(key, _)| !SHOWN_ELSEWHERE.contains(&key.as_str())) {
                let path = if path.is_empty() { key.clone() } else { format!("{path}, {key}") };
                push_value(html, &path, value);
            }
        }
        Value::Array(list) if list.iter().all(|value| scalar(value).is_some()) => {
            if !list.is_empty() {
                let words: Vec<String> = list.iter().filter_map(scalar).collect();
                let _ = write!(html, "<dt>{}<dd>{}", escaped(&path.replace('_', " ")), words.join(", "));
            }
        }
        Value::Array(list) => {
            for (index, value) in list.iter().enumerate() {
                push_value(html, &format!("{path} {}", index + 1), value);
            }
        }
        Value::Null => {}
        _ => {
            let words = scalar(value).unwrap_or_default();
            let _ = write!(html, "<dt>{}<dd><code>{words}</code>", escaped(&path.replace('_', " ")));
        }
    }
}

/// What a study's summary says of itself, below its title.
fn summary_head(out: &Path) -> Option<String> {
    let text = fs::read_to_string(out.join("summary.md")).ok()?;
    let mut lines = text.lines().filter(|line| !line.is_empty());
    let title = lines.next()?.trim_start_matches("# ").to_owned();
    Some(format!("{title} {}", lines.next()?))
}

/// `OUT/timing.txt` as it is.
#[must_use]
pub fn timing(out: &Path) -> String {
    let text = fs::read_to_string(out.join("timing.txt")).unwrap_or_default();
    if text.is_empty() { text } else { format!("<pre>{}</pre>\n", escaped(&text)) }
}

/// `OUT/confounds.csv` as a table: numbers with three decimals, flagged rows set off.
///
/// # Errors
/// When it is no table.
pub fn confounds(out: &Path) -> Result<String> {
    let Some(table) = Table::read(&out.join("confounds.csv"))? else { return Ok(String::new()) };
    let mut html = String::from(
        "<div class=wide><table class=grid><caption><b>Confounds</b>: image AUROC of plain numbers that do not look at \
         the part; an interval without 0.5 says that good and defective scans differ by how they were taken</caption>\
         <thead><tr>",
    );
    for name in &table.names {
        let _ = write!(html, "<th scope=col>{}", escaped(&name.replace('_', " ")));
    }
    html.push_str("</thead><tbody>\n");
    for row in &table.rows {
        html.push_str("<tr>");
        for field in row {
            let decimals = field.contains('.').then(|| field.parse::<f64>().ok()).flatten();
            let words = decimals.map_or_else(|| escaped(field), |number| format!("{number:.3}"));
            let flagged = matches!(field.as_str(), "true" | "flagged" | "yes");
            let _ = write!(html, "<td>{}", if flagged { "<b>yes</b>" } else { &words });
        }
        html.push('\n');
    }
    html.push_str("</table></div>\n");
    Ok(html)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_are_listed_by_their_paths() {
        let out = tempfile::tempdir().expect("a folder");
        let record = r#"{"command": "zal-export eval <x>", "request": {"seeds": [1, 2], "rgb": null},
            "left_out": [{"what": "a", "why": "b"}], "judged": [{"mode": "line"}]}"#;
        fs::write(out.path().join("run.json"), record).expect("written");
        let html = records(out.path(), Some("zal-export report OUT")).expect("a record");
        for part in ["eval &lt;x&gt;", "request, seeds<dd>1, 2", "left out 1, what", "report OUT"] {
            assert!(html.contains(part), "{part}: {html}");
        }
        assert!(!html.contains("rgb") && !html.contains("mode"), "{html}");
        fs::write(out.path().join("run.json"), "{").expect("written");
        assert!(records(out.path(), None).is_err());
    }

    #[test]
    fn confounds_are_shown_when_there_are_any() {
        let out = tempfile::tempdir().expect("a folder");
        assert_eq!(confounds(out.path()).expect("none"), "");
        let text = "test_class,statistic,auroc,flagged\nrope,missing,0.98765,true\nrope,depth,0.5,false\n";
        fs::write(out.path().join("confounds.csv"), text).expect("written");
        let html = confounds(out.path()).expect("a table");
        assert!(html.contains("0.988") && html.contains("<b>yes</b>") && html.contains("depth"), "{html}");
    }
}
