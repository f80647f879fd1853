//! The committed JSON Schemas and the test that keeps them current.

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use schemars::{JsonSchema, schema_for};

    use super::super::{
        AlarmBody, BirthBody, MetricsBody, RequestBody, ResponseBody, ResultBody, StateBody, StatusBody,
    };
    use crate::config::Config;

    /// Compares with the committed file, or writes it when `ZAL_BLESS` is set.
    fn check<T: JsonSchema>(name: &str) {
        let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("src/bin/zal/schema").join(name);
        let current = serde_json::to_string_pretty(&schema_for!(T)).unwrap() + "\n";
        if std::env::var_os("ZAL_BLESS").is_some() {
            std::fs::write(&path, &current).unwrap();
        }
        let committed = std::fs::read_to_string(&path).unwrap_or_default();
        assert!(committed == current, "{name} is not current: run the tests once with ZAL_BLESS=1");
    }

    #[test]
    fn committed_schemas_are_current() {
        check::<ResultBody>("result.schema.json");
        check::<StatusBody>("status.schema.json");
        check::<BirthBody>("birth.schema.json");
        check::<StateBody>("state.schema.json");
        check::<MetricsBody>("metrics.schema.json");
        check::<AlarmBody>("alarm.schema.json");
        check::<RequestBody>("request.schema.json");
        check::<ResponseBody>("response.schema.json");
        check::<Config>("config.schema.json");
    }
}
