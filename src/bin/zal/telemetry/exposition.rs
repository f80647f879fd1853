//! The counters in Prometheus' text format (version 0.0.4), named after its conventions:
//! base units, `_total` for counters, `_info` for labels that are facts.

use std::fmt::Write as _;
use std::path::Path;
use std::sync::atomic::Ordering;

use super::{EVALUATIONS, Metrics};
use crate::alarms::AlarmCode;

/// Text being written.
#[derive(Default)]
struct Exposition {
    text: String,
}

impl Exposition {
    /// Begins a family.
    fn family(&mut self, name: &str, kind: &str, help: &str) {
        let _ = writeln!(self.text, "# HELP {name} {help}\n# TYPE {name} {kind}");
    }

    /// Writes one sample.
    fn sample(&mut self, name: &str, labels: &[(&str, &str)], value: impl std::fmt::Display) {
        let labels: Vec<String> =
            labels.iter().map(|(label, text)| format!("{label}=\"{}\"", escaped(text))).collect();
        let labels = if labels.is_empty() { String::new() } else { format!("{{{}}}", labels.join(",")) };
        let _ = writeln!(self.text, "{name}{labels} {value}");
    }

    /// A family of one sample without labels.
    fn one(&mut self, name: &str, kind: &str, help: &str, value: impl std::fmt::Display) {
        self.family(name, kind, help);
        self.sample(name, &[], value);
    }
}

/// What a label's value may not hold as it is.
fn escaped(text: &str) -> String {
    text.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}

impl Metrics {
    /// All counters in Prometheus' text format.
    pub fn to_prometheus(&self) -> String {
        let mut out = Exposition::default();
        if let Some(info) = self.info.get() {
            let labels: Vec<(&str, &str)> =
                info.iter().map(|(label, text)| (*label, text.as_str())).collect();
            out.family("zal_build_info", "gauge", "What is running; the value is always 1.");
            out.sample("zal_build_info", &labels, 1);
        }
        self.write_work(&mut out);
        self.write_delivery(&mut out);
        self.write_health(&mut out);
        out.text
    }

    fn write_work(&self, out: &mut Exposition) {
        out.family("zal_results_total", "counter", "Results committed, by evaluation.");
        for (evaluation, count) in EVALUATIONS.iter().zip(&self.results) {
            out.sample(
                "zal_results_total",
                &[("evaluation", evaluation.as_str())],
                count.load(Ordering::Relaxed),
            );
        }
        let overruns = self.overrun_count.load(Ordering::Relaxed);
        out.one(
            "zal_overruns_total",
            "counter",
            "Parts answered without a verdict because they waited too long.",
            overruns,
        );
        out.family(
            "zal_stage_duration_seconds",
            "histogram",
            "Time of each stage of a scan, from waiting to verdict.",
        );
        for (stage, histogram) in self.lock_stages().iter() {
            for (suffix, bound, value) in histogram.samples() {
                let mut labels = vec![("stage", stage.as_str())];
                labels.extend(bound.as_deref().map(|bound| ("le", bound)));
                out.sample(&format!("zal_stage_duration_seconds{suffix}"), &labels, value);
            }
        }
        out.one("zal_queue_scans", "gauge", "Scans claimed and not yet judged.", self.queue_len());
    }

    fn write_delivery(&self, out: &mut Exposition) {
        let load = |counter: &std::sync::atomic::AtomicU64| counter.load(Ordering::Relaxed);
        out.one(
            "zal_mqtt_connected",
            "gauge",
            "Whether the broker is connected.",
            u8::from(self.mqtt_connected()),
        );
        out.one(
            "zal_mqtt_connections_total",
            "counter",
            "Connections made to the broker.",
            load(&self.connection_count),
        );
        out.one(
            "zal_mqtt_published_total",
            "counter",
            "Results and alerts that the broker confirmed.",
            load(&self.published_count),
        );
        out.one(
            "zal_mqtt_refused_total",
            "counter",
            "Messages that the broker refused.",
            self.refused_count(),
        );
        out.one(
            "zal_journal_unacked_results",
            "gauge",
            "Results that the broker has not confirmed.",
            self.journal_depth(),
        );
        out.one(
            "zal_journal_oldest_unacked_seconds",
            "gauge",
            "Age of the oldest result that the broker has not confirmed; 0 when there is none.",
            self.journal_age_s(),
        );
    }

    fn write_health(&self, out: &mut Exposition) {
        out.one(
            "zal_ready",
            "gauge",
            "Whether parts are judged and recorded.",
            u8::from(self.why_not_ready().is_empty()),
        );
        out.family("zal_alarm_active", "gauge", "Conditions that a person should act on.");
        let active = self.alarms().active();
        for code in AlarmCode::ALL {
            let is_active = active.iter().any(|alarm| alarm.code == code);
            out.sample("zal_alarm_active", &[("code", code.as_str())], u8::from(is_active));
        }
        out.family("zal_disk_free_bytes", "gauge", "Space that zal can still use on a disk.");
        for (use_, dir) in self.disks.get().into_iter().flatten() {
            if let Some(free) = disk_free_bytes(dir) {
                out.sample("zal_disk_free_bytes", &[("use", use_)], free);
            }
        }
        out.one(
            "zal_uptime_seconds",
            "gauge",
            "Time since the daemon began.",
            format!("{:.3}", self.uptime_s()),
        );
    }
}

/// Bytes that an ordinary process may still write on the disk of a folder.
pub fn disk_free_bytes(dir: &Path) -> Option<u64> {
    let stat = rustix::fs::statvfs(dir).ok()?;
    Some(stat.f_bavail.saturating_mul(stat.f_frsize))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::time::Duration;

    use super::*;
    use crate::message::EvaluationBody;

    fn filled() -> Metrics {
        let metrics = Metrics::default();
        metrics.set_info([("version", "1".into()), ("bundle", "a\"b".into())]);
        metrics.set_disks([("spool", "/".into())]);
        metrics.count_result(EvaluationBody::NotOk);
        metrics.note_stage("fpfh", Duration::from_millis(7));
        metrics.note_stage("bank", Duration::from_millis(70));
        metrics
    }

    #[test]
    fn names_and_values_are_as_prometheus_wants_them() {
        let text = filled().to_prometheus();
        for line in [
            "zal_build_info{version=\"1\",bundle=\"a\\\"b\"} 1\n",
            "zal_results_total{evaluation=\"not_ok\"} 1\n",
            "zal_stage_duration_seconds_bucket{stage=\"fpfh\",le=\"0.005\"} 0\n",
            "zal_stage_duration_seconds_bucket{stage=\"fpfh\",le=\"0.01\"} 1\n",
            "zal_stage_duration_seconds_count{stage=\"bank\"} 1\n",
            "zal_alarm_active{code=\"disk_low\"} 0\n",
            "zal_disk_free_bytes{use=\"spool\"} ",
        ] {
            assert!(text.contains(line), "{line} is not in\n{text}");
        }
        let mut families = BTreeSet::new();
        for line in text.lines().filter_map(|line| line.strip_prefix("# TYPE ")) {
            let (name, kind) = line.split_once(' ').unwrap();
            assert!(families.insert(name.to_owned()), "{name} comes twice");
            assert_eq!(kind == "counter", name.ends_with("_total"), "{name}");
        }
        for line in text.lines().filter(|line| !line.starts_with('#')) {
            let name = line.split(['{', ' ']).next().unwrap();
            let family =
                ["_bucket", "_sum", "_count"].iter().find_map(|s| name.strip_suffix(s)).unwrap_or(name);
            assert!(families.contains(family), "{line} belongs to no family");
        }
    }

    #[test]
    fn the_dashboard_asks_for_nothing_that_is_not_there() {
        let text = filled().to_prometheus();
        let dashboard = include_str!("../../../../systemd/grafana.json");
        let mut names = BTreeSet::new();
        for part in dashboard.split("zal_").skip(1) {
            let end = part.find(|c: char| !c.is_ascii_alphanumeric() && c != '_').unwrap_or(part.len());
            names.insert(format!("zal_{}", &part[..end]));
        }
        assert!(names.len() > 5, "{names:?}");
        for name in names {
            assert!(text.contains(&format!("\n{name}")) || text.starts_with(&name), "{name} is unknown");
        }
    }

    /// Debian's prometheus package brings promtool.
    #[test]
    fn promtool_finds_nothing_to_blame() {
        use std::io::Write as _;
        use std::process::{Command, Stdio};
        let mut command = Command::new("promtool");
        command
            .args(["check", "metrics"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let Ok(mut child) = command.spawn() else {
            eprintln!("skipped: there is no promtool (Debian: prometheus)");
            return;
        };
        child.stdin.take().unwrap().write_all(filled().to_prometheus().as_bytes()).unwrap();
        let output = child.wait_with_output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr) + String::from_utf8_lossy(&output.stdout);
        assert!(output.status.success() && said.trim().is_empty(), "{said}");
    }
}
