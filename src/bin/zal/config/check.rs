//! Whether a well-formed configuration makes sense. Every problem is reported, not the first.

use super::Config;
use crate::publish::address::BrokerAddress;

/// Reports every senseless value as (key path, message).
pub(super) fn check(config: &Config, report: &mut dyn FnMut(&str, String)) {
    device(config, report);
    spool(config, report);
    calibration(config, report);
    super::reference::check(config, report);
    mqtt(config, report);
    update(config, report);
    if config.engine.threads == 0 {
        report("engine.threads", "`threads` is 0, expected at least 1".into());
    }
    if config.engine.providers.is_empty() {
        report("engine.providers", "`providers` is empty, expected at least \"cpu\"".into());
    }
    if config.health.stuck_ms < 100 {
        let message = format!("`stuck_ms` is {}, expected 100 or more", config.health.stuck_ms);
        report("health.stuck_ms", message);
    }
    if config.evidence.dir.is_none() && config.evidence.maps {
        report("evidence.maps", "`maps` needs `dir` in [evidence]".into());
    }
}

/// Topic levels may hold neither separators nor wildcards, or the device would speak on
/// someone else's topics.
fn device(config: &Config, report: &mut dyn FnMut(&str, String)) {
    let device = &config.device;
    let levels = [
        ("site", &device.site),
        ("area", &device.area),
        ("line", &device.line),
        ("cell", &device.cell),
        ("device", &device.device),
    ];
    for (name, level) in levels {
        let fits = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
        if level.is_empty() || level.len() > 64 || !level.chars().all(fits) {
            let message = format!(
                "`{name}` is {level:?}, expected 1 to 64 letters, digits, `-`, `_` or `.` (it is a level of the MQTT topic)"
            );
            report(&format!("device.{name}"), message);
        }
    }
}

fn spool(config: &Config, report: &mut dyn FnMut(&str, String)) {
    if !(1..=64).contains(&config.spool.queue_len_max) {
        let message = format!("`queue_len_max` is {}, expected 1 to 64", config.spool.queue_len_max);
        report("spool.queue_len_max", message);
    }
    if !(10..=600_000).contains(&config.spool.poll_interval_ms) {
        let message =
            format!("`poll_interval_ms` is {}, expected 10 to 600000", config.spool.poll_interval_ms);
        report("spool.poll_interval_ms", message);
    }
    if !(1..=100).contains(&config.spool.tries_max) {
        let message = format!("`tries_max` is {}, expected 1 to 100", config.spool.tries_max);
        report("spool.tries_max", message);
    }
    if !(1..=1_000_000).contains(&config.journal.size_max_mb) {
        let message = format!("`size_max_mb` is {}, expected 1 to 1000000", config.journal.size_max_mb);
        report("journal.size_max_mb", message);
    }
    if config.spool.recipe_separator.as_deref() == Some("") {
        report("spool.recipe_separator", "`recipe_separator` is empty, expected such as \"__\"".into());
    }
    if config.spool.recipe_separator.is_some() && !config.uses_references() {
        let message = "`recipe_separator` needs reference sets, and this configuration judges without them";
        report("spool.recipe_separator", message.into());
    }
    if config.spool.recipe.is_empty() || config.spool.recipe.len() > 64 {
        report("spool.recipe", "`recipe` is empty or longer than 64 bytes".into());
    }
}

fn calibration(config: &Config, report: &mut dyn FnMut(&str, String)) {
    let rate = config.calibration.rate();
    if !(rate > 0.0 && rate < 1.0) {
        let message =
            format!("`false_reject_rate` is {rate}, expected a share between 0 and 1, such as 0.05");
        report("calibration.false_reject_rate", message);
    }
    if config.calibration.from_first_count > 10_000 {
        let message =
            format!("`from_first_count` is {}, expected at most 10000", config.calibration.from_first_count);
        report("calibration.from_first_count", message);
    }
}

fn mqtt(config: &Config, report: &mut dyn FnMut(&str, String)) {
    let mqtt = &config.mqtt;
    let tls = match BrokerAddress::parse(&mqtt.url) {
        Ok(address) => address.tls,
        Err(error) => return report("mqtt.url", error.to_string()),
    };
    if tls && mqtt.ca_file.is_none() {
        report("mqtt.url", "an mqtts:// broker needs `ca_file` in [mqtt]".into());
    }
    if !tls && (mqtt.ca_file.is_some() || mqtt.client_cert_file.is_some()) {
        report("mqtt.url", "certificates are given but the URL is not mqtts://".into());
    }
    if mqtt.client_cert_file.is_some() != mqtt.client_key_file.is_some() {
        report("mqtt", "`client_cert_file` and `client_key_file` belong together, only one is given".into());
    }
    if mqtt.password_file.is_some() && mqtt.username.is_none() {
        report("mqtt.password_file", "`password_file` needs `username`".into());
    }
    let prefix = mqtt.home_assistant_prefix.as_deref().unwrap_or("fits");
    if prefix.is_empty() || prefix.contains(['+', '#', '$', '\0']) || prefix.ends_with('/') {
        let message = format!("`home_assistant_prefix` is {prefix:?}, expected such as \"homeassistant\"");
        report("mqtt.home_assistant_prefix", message);
    }
    if mqtt.keep_alive_s < 5 {
        report("mqtt.keep_alive_s", format!("`keep_alive_s` is {}, expected 5 or more", mqtt.keep_alive_s));
    }
}

fn update(config: &Config, report: &mut dyn FnMut(&str, String)) {
    let update = &config.update;
    if !(1.0..=1_000.0).contains(&update.slower_max) {
        let message = format!("`slower_max` is {}, expected 1.0 to 1000.0", update.slower_max);
        report("update.slower_max", message);
    }
    for (name, value) in [("trial_parts", update.trial_parts), ("trial_starts", update.trial_starts)] {
        if !(1..=100_000).contains(&value) {
            report(&format!("update.{name}"), format!("`{name}` is {value}, expected 1 to 100000"));
        }
    }
    if !(10..=86_400).contains(&update.test_timeout_s) {
        let message = format!("`test_timeout_s` is {}, expected 10 to 86400", update.test_timeout_s);
        report("update.test_timeout_s", message);
    }
}
