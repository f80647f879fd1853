//! The demo's page: one file, no network, pictures beside it.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use super::parts::Part;
use super::subscriber::Verdict;
use super::{Summary, spent_ms};
use crate::message::{EvaluationBody, ResultBody};

const STYLE: &str = include_str!("page.css");

/// The whole page.
pub fn render(summary: &Summary, parts: &[Part], verdicts: &BTreeMap<String, Verdict>) -> String {
    let mut html = format!(
        "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">\
         <meta name=\"viewport\" content=\"width=device-width\"><title>zal demo</title>\
         <style>{STYLE}</style></head><body>\n<header><h1>zal <small>demo</small></h1>\n{}</header>\n",
        tiles(summary)
    );
    let _ = writeln!(
        html,
        "<p class=\"note\">Procedural parts of a family that the bundle never saw, judged by the daemon \
         and heard over MQTT. The first {} parts were good and set the threshold as they came, so \
         they have no verdict.</p>",
        summary.calibration_scans
    );
    html.push_str(&chart(summary, parts, verdicts));
    html.push_str("<main>\n");
    for part in parts {
        match verdicts.get(&part.name) {
            Some(verdict) => html.push_str(&card(part, verdict)),
            None => {
                let _ =
                    writeln!(html, "<article class=\"lost\"><h2>{}: result lost</h2></article>", part.name);
            }
        }
    }
    html.push_str("</main>\n<footer>zal ");
    html.push_str(env!("CARGO_PKG_VERSION"));
    html.push_str(": pictures from the left: verdict with the anomaly map, shape, ground truth.</footer></body></html>\n");
    html
}

/// The figures at the top.
fn tiles(summary: &Summary) -> String {
    let figure = |f: Option<f64>, digits: usize| f.map_or("none".into(), |f| format!("{f:.digits$}"));
    let rows = [
        ("scans", summary.scans.to_string()),
        ("lost", summary.lost.to_string()),
        ("ok", summary.ok.to_string()),
        ("not ok", summary.not_ok.to_string()),
        ("not decidable", summary.not_decidable.to_string()),
        ("image AUROC", figure(summary.image_auroc, 3)),
        ("AUPRO 0.3", figure(summary.aupro, 3)),
        ("ms a scan", figure(summary.p50_ms, 0)),
        ("engine", format!("{} / {}", summary.engine, summary.provider)),
        ("bundle", summary.bundle.clone()),
    ];
    let cells =
        rows.iter().map(|(name, value)| format!("<div><b>{}</b><span>{name}</span></div>", escape(value)));
    format!("<section class=\"tiles\">{}</section>\n", cells.collect::<String>())
}

/// All scores in the order of the parts, with the threshold.
fn chart(summary: &Summary, parts: &[Part], verdicts: &BTreeMap<String, Verdict>) -> String {
    let score_of = |part: &Part| verdicts.get(&part.name).and_then(|v| v.result.score).map(f64::from);
    let all = || parts.iter().filter_map(score_of).chain(summary.threshold.map(f64::from));
    let (low, high) = (all().fold(f64::MAX, f64::min), all().fold(f64::MIN, f64::max));
    if low >= high {
        return String::new();
    }
    let y = |score: f64| 150.0 - 130.0 * (score - low) / (high - low);
    let step = 960.0 / f64::from(u32::try_from(parts.len()).unwrap_or(u32::MAX)).max(1.0);
    let mut svg =
        String::from("<svg class=\"chart\" viewBox=\"0 0 1000 170\" role=\"img\"><title>scores</title>");
    if let Some(threshold) = summary.threshold.map(f64::from) {
        let at = y(threshold);
        let _ = write!(
            svg,
            "<line x1=\"20\" x2=\"980\" y1=\"{at:.1}\" y2=\"{at:.1}\"/><text x=\"980\" y=\"{:.1}\">threshold {threshold:.2}</text>",
            at - 5.0
        );
    }
    let mut x = 20.0 + step / 2.0;
    for part in parts {
        if let Some(score) = score_of(part) {
            let class = if part.is_defective() { "bad" } else { "good" };
            let _ = write!(
                svg,
                "<circle class=\"{class}\" cx=\"{x:.1}\" cy=\"{:.1}\" r=\"5\"><title>{}: {} {score:.3}</title></circle>",
                y(score),
                part.name,
                part.truth()
            );
        }
        x += step;
    }
    svg + "</svg><p class=\"legend\"><i class=\"good\"></i> good part <i class=\"bad\"></i> defective part</p>\n"
}

/// One part.
fn card(part: &Part, verdict: &Verdict) -> String {
    let result = &verdict.result;
    let number = |n: Option<f32>| n.map_or("none".to_owned(), |n| format!("{n:.3}"));
    let overlay = result.evidence.as_ref().map_or_else(
        || "<div class=\"none\">no map</div>".to_owned(),
        |name| picture(&format!("evidence/{name}"), "anomaly map"),
    );
    let class = result.evaluation.as_str();
    format!(
        "<article class=\"{class}\"><h2><em>{}</em> {} <small>{}</small></h2>\n<div class=\"pictures\">{overlay}{}{}</div>\n\
         <dl><dt>score</dt><dd>{}</dd><dt>p</dt><dd>{}</dd><dt>time</dt><dd>{:.0} ms</dd><dt>truth</dt><dd>{}{}</dd></dl>{}</article>\n",
        class.replace('_', " "),
        escape(&part.name),
        format_args!("seq {}", result.seq),
        picture(&format!("images/{}-depth.png", part.name), "shape"),
        picture(&format!("images/{}-truth.png", part.name), "ground truth"),
        number(result.score),
        number(result.p_value),
        spent_ms(result),
        part.truth().replace('_', " "),
        mark(part, result),
        details(result),
    )
}

/// Whether verdict and truth agree.
fn mark(part: &Part, result: &ResultBody) -> &'static str {
    match (result.evaluation, part.is_defective()) {
        (EvaluationBody::Ok, false) | (EvaluationBody::NotOk, true) => " <b class=\"hit\">&#10003;</b>",
        (EvaluationBody::Ok, true) => " <b class=\"miss\">missed</b>",
        (EvaluationBody::NotOk, false) => " <b class=\"miss\">false alarm</b>",
        _ => "",
    }
}

/// Regions and reasons in words.
fn details(result: &ResultBody) -> String {
    let regions = result.regions.iter().take(3).map(|region| {
        let [left, top, width, height] = region.bbox_px;
        format!("{width} x {height} px at ({left}, {top}), {:.0} mm&sup2;", region.area_mm2)
    });
    let reasons = result.reasons.iter().map(|r| format!("{}: {}", escape(&r.code), escape(&r.text)));
    let lines: String = reasons.chain(regions).map(|line| format!("<li>{line}</li>")).collect();
    if lines.is_empty() { String::new() } else { format!("<ul>{lines}</ul>") }
}

fn picture(path: &str, name: &str) -> String {
    format!("<a href=\"{path}\"><img loading=\"lazy\" src=\"{path}\" alt=\"{name}\"></a>")
}

/// Text for HTML.
fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}
