//! The committed JSON Schemas and the test that keeps them current.

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use schemars::{JsonSchema, schema_for};
    use serde_json::{Map, Value, json};

    use super::super::{
        AlarmBody, BirthBody, MetricsBody, RequestBody, ResponseBody, ResultBody, StateBody, StatusBody,
        UpdateBody,
    };
    use crate::config::Config;

    /// Checks a type's schema.
    fn check<T: JsonSchema>(name: &str) {
        check_text(name, &serde_json::to_value(schema_for!(T)).unwrap());
    }

    /// Compares with the committed file, or writes it when `ZAL_BLESS` is set.
    fn check_text(name: &str, current: &Value) {
        let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("src/bin/zal/schema").join(name);
        if std::env::var_os("ZAL_BLESS").is_some() {
            let text = serde_json::to_string_pretty(current).unwrap() + "\n";
            std::fs::write(&path, text).unwrap();
        }
        // The order of keys depends on what else is built, and means nothing.
        let committed = std::fs::read_to_string(&path).unwrap_or_default();
        let committed: Value = serde_json::from_str(&committed).unwrap_or_default();
        assert!(committed == *current, "{name} is not current: run the tests once with ZAL_BLESS=1");
    }

    #[test]
    fn committed_schemas_are_current() {
        check::<ResultBody>("result.schema.json");
        check::<StatusBody>("status.schema.json");
        check::<BirthBody>("birth.schema.json");
        check::<StateBody>("state.schema.json");
        check::<UpdateBody>("update.schema.json");
        check::<MetricsBody>("metrics.schema.json");
        check::<AlarmBody>("alarm.schema.json");
        check::<RequestBody>("request.schema.json");
        check::<ResponseBody>("response.schema.json");
        check::<Config>("config.schema.json");
    }

    /// Every topic: its last levels, schema, QoS, retained, whether zal sends it, what it is.
    const TOPICS: [(&str, &str, u8, bool, bool, &str); 11] = [
        ("status", "status", 1, true, true, "online, stopped; the last will says offline"),
        ("birth", "birth", 1, true, true, "what the device is, after every connect"),
        ("state", "state", 1, true, true, "what the daemon is doing and what is wrong"),
        ("update", "update", 1, true, true, "which bundle judges, and what an update of it does"),
        ("result", "result", 1, false, true, "every part"),
        ("alert", "result", 1, false, true, "the same body when the part is not ok; never behind a backlog"),
        ("alarm/{code}", "alarm", 1, true, true, "a condition to act on, active or cleared, with help"),
        ("metrics", "metrics", 0, false, true, "every 15 s, expires after 60 s"),
        ("rsp/{request_id}", "response", 1, false, true, "the answer to a command, expires after 30 s"),
        (
            "cmd/{verb}",
            "request",
            1,
            false,
            false,
            "trigger, selftest, replay, rebirth or judge; never retained",
        ),
        (
            "cmd/{model_verb}",
            "request",
            1,
            false,
            false,
            "model_install (path or url), model_confirm, model_rollback; never retained",
        ),
    ];

    /// The contract as an AsyncAPI 3 document beside the schemas it refers to.
    fn async_api() -> Value {
        let (mut channels, mut operations, mut messages) = (Map::new(), Map::new(), Map::new());
        for (leaf, schema, qos, retain, sends, what) in TOPICS {
            let id = leaf.split('/').map(|l| l.trim_matches(['{', '}'])).collect::<Vec<_>>().join("_");
            let names = ["site", "area", "line", "cell", "device"]
                .into_iter()
                .chain(leaf.split('/').filter_map(|l| l.strip_prefix('{')?.strip_suffix('}')));
            let parameters: Map<_, _> = names.map(|name| (name.to_owned(), json!({}))).collect();
            let address = format!("zal/v1/{{site}}/{{area}}/{{line}}/{{cell}}/{{device}}/{leaf}");
            let message = json!({"$ref": format!("#/components/messages/{schema}")});
            channels.insert(
                id.clone(),
                json!({"address": address, "description": what, "parameters": parameters, "messages": {schema: message}}),
            );
            operations.insert(
                id.clone(),
                json!({
                    "action": if sends { "send" } else { "receive" },
                    "channel": {"$ref": format!("#/channels/{id}")},
                    "bindings": {"mqtt": {"qos": qos, "retain": retain, "bindingVersion": "0.2.0"}},
                }),
            );
            let file = format!("./{schema}.schema.json");
            let body = json!({"contentType": "application/json", "payload": {"$ref": file}});
            messages.insert(schema.to_owned(), body);
        }
        json!({
            "asyncapi": "3.0.0",
            "info": {"title": "zal", "version": "1.0.0",
                     "description": "MQTT 5. Consumers de-duplicate on (device, seq)."},
            "defaultContentType": "application/json",
            "channels": channels,
            "operations": operations,
            "components": {"messages": messages},
        })
    }

    #[test]
    fn the_committed_contract_is_current_and_names_only_schemas_that_exist() {
        let document = async_api();
        check_text("asyncapi.json", &document);
        let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("src/bin/zal/schema");
        for message in document["components"]["messages"].as_object().unwrap().values() {
            let file = message["payload"]["$ref"].as_str().unwrap();
            assert!(folder.join(file).exists(), "{file}");
        }
    }
}
