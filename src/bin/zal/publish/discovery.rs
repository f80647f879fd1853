//! Home Assistant's device discovery: one retained message that describes the device, sent
//! only when `mqtt.home_assistant_prefix` is configured.
//!
//! Results sent late (`historical`) must not move a dashboard's state back, so the templates
//! keep the state for them.

use serde_json::{Value, json};

use crate::config::Device;

/// Topic and body of the discovery message.
pub fn message(prefix: &str, device: &Device) -> (String, Value) {
    let id = device.client_id().replace('.', "_");
    let base = device.topic_base();
    let version = env!("CARGO_PKG_VERSION");
    let of_result = |component: &str, name: &str, template: &str| {
        json!({
            "p": component,
            "name": name,
            "uniq_id": format!("{id}-{}", name.to_lowercase().replace(' ', "-")),
            "stat_t": format!("{base}/result"),
            "val_tpl": format!("{{{{ ({template}) if not value_json.historical else this.state }}}}"),
        })
    };
    let mut defect =
        of_result("binary_sensor", "Defect", "'ON' if value_json.evaluation == 'not_ok' else 'OFF'");
    defect["dev_cla"] = "problem".into();
    let body = json!({
        "dev": {"ids": [id], "name": format!("zal {}", device.device), "mf": "zal", "sw": version,
                "sa": device.area},
        "o": {"name": "zal", "sw": version},
        "avty": [{
            "t": format!("{base}/status"),
            "val_tpl": "{{ 'online' if value_json.status == 'online' else 'offline' }}",
        }],
        "cmps": {
            "evaluation": of_result("sensor", "Evaluation", "value_json.evaluation"),
            "score": of_result("sensor", "Score", "value_json.score"),
            "part": of_result("sensor", "Part", "value_json.part_id"),
            "defect": defect,
            "state": {
                "p": "sensor", "name": "State", "uniq_id": format!("{id}-state"),
                "stat_t": format!("{base}/state"), "val_tpl": "{{ value_json.state }}",
                "ent_cat": "diagnostic",
            },
        },
    });
    (format!("{prefix}/device/{id}/config"), body)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_part_has_its_own_id_and_listens_to_this_device() {
        let level = |text: &str| text.to_owned();
        let device = Device {
            site: level("s"),
            area: level("a"),
            line: level("l"),
            cell: level("c"),
            device: level("cam.1"),
        };
        let (topic, body) = message("homeassistant", &device);
        assert_eq!(topic, "homeassistant/device/zal-s-a-l-c-cam_1/config");
        let parts: Vec<&Value> = body["cmps"].as_object().unwrap().values().collect();
        let ids: std::collections::BTreeSet<&str> =
            parts.iter().filter_map(|p| p["uniq_id"].as_str()).collect();
        assert_eq!(ids.len(), parts.len());
        assert!(parts.iter().all(|p| p["stat_t"].as_str().unwrap().starts_with("zal/v1/s/a/l/c/cam.1/")));
        let template = body["cmps"]["score"]["val_tpl"].as_str().unwrap();
        assert_eq!(template, "{{ (value_json.score) if not value_json.historical else this.state }}");
    }
}
