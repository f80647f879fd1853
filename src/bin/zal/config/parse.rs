//! Holds a TOML text against the schema of `Config`, so that all misspelt, missing and
//! mistyped keys are found at once and each is shown at its place in the file.

use std::path::Path;

use serde_json::Value;
use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::{Config, Problem, check};

/// Reads the text. There is a configuration when nothing in it is wrong in form.
pub(super) fn read(text: &str) -> (Option<Config>, Vec<Problem>) {
    let root = match DeTable::parse(text) {
        Ok(root) => root,
        Err(error) => return (None, vec![problem_of(&error)]),
    };
    let schema = serde_json::to_value(schemars::schema_for!(Config)).unwrap_or_default();
    let mut problems = Vec::new();
    Walk { schema: &schema, problems: &mut problems }.table(root.get_ref(), root.span(), &schema, "");
    if !problems.is_empty() {
        return (None, problems);
    }
    match toml::from_str::<Config>(text) {
        Ok(config) => {
            check::check(&config, &mut |path, message| {
                problems.push(Problem { span: span_of(root.get_ref(), path), message });
            });
            (Some(config), problems)
        }
        Err(error) => (None, vec![problem_of(&error)]),
    }
}

/// `file:line:column: message`.
pub(super) fn at_place(problem: &Problem, text: &str, path: &Path) -> String {
    let Some(span) = &problem.span else {
        return format!("{}: {}", path.display(), problem.message);
    };
    let before = &text.as_bytes()[..span.start.min(text.len())];
    let line = before.iter().filter(|byte| **byte == b'\n').count() + 1;
    let line_start = before.iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1);
    let column = String::from_utf8_lossy(&before[line_start..]).chars().count() + 1;
    format!("{}:{line}:{column}: {}", path.display(), problem.message)
}

/// The place of a key such as `mqtt.url`, or of the nearest table above it.
fn span_of(root: &DeTable<'_>, path: &str) -> Option<std::ops::Range<usize>> {
    let mut table = root;
    let mut found = None;
    for key in path.split('.') {
        let Some((name, value)) = table.iter().find(|(name, _)| name.get_ref() == key) else { break };
        found = Some(if value.get_ref().is_table() { name.span() } else { value.span() });
        match value.get_ref().as_table() {
            Some(inner) => table = inner,
            None => break,
        }
    }
    found
}

/// A problem from the parser's or serde's own words.
fn problem_of(error: &toml::de::Error) -> Problem {
    let mut names = error.message().split('`').skip(1).step_by(2);
    let message = error.message().trim_end();
    let message = match names.next().and_then(|found| suggest(found, names)) {
        Some(near) if message.starts_with("unknown") => format!("{message}; did you mean `{near}`?"),
        _ => message.to_owned(),
    };
    Problem { span: error.span(), message: message.replace('\n', "; ") }
}

/// Walks the file and the schema side by side.
struct Walk<'a> {
    schema: &'a Value,
    problems: &'a mut Vec<Problem>,
}

impl Walk<'_> {
    /// Checks the keys of one table.
    fn table(&mut self, table: &DeTable<'_>, span: std::ops::Range<usize>, schema: &Value, at: &str) {
        let Some(known) = schema.get("properties").and_then(Value::as_object) else { return };
        for (key, value) in table {
            let path =
                if at.is_empty() { key.get_ref().to_string() } else { format!("{at}.{}", key.get_ref()) };
            match known.get(key.get_ref().as_ref()) {
                Some(inner) => self.value(key, value, &resolve(self.schema, inner), &path),
                None => self.unknown(key, known.keys().map(String::as_str), at),
            }
        }
        let required = schema.get("required").and_then(Value::as_array);
        for name in required.into_iter().flatten().filter_map(Value::as_str) {
            if !table.keys().any(|key| key.get_ref() == name) {
                let path = if at.is_empty() {
                    format!("the section [{name}]")
                } else {
                    format!("`{name}` in [{at}]")
                };
                self.problems
                    .push(Problem { span: Some(span.clone()), message: format!("{path} is missing") });
            }
        }
    }

    /// Checks the type of one value.
    fn value(
        &mut self,
        key: &Spanned<impl AsRef<str>>,
        value: &Spanned<DeValue<'_>>,
        schema: &Value,
        at: &str,
    ) {
        if schema.get("properties").is_some() {
            match value.get_ref().as_table() {
                Some(inner) => self.table(inner, key.span(), schema, at),
                None => self.wrong_type(value, "table", at),
            }
            return;
        }
        let expected = types_of(schema);
        if !expected.is_empty() && !expected.iter().any(|name| fits(name, value.get_ref())) {
            self.wrong_type(value, toml_name(&expected[0]), at);
        }
    }

    fn wrong_type(&mut self, value: &Spanned<DeValue<'_>>, expected: &str, at: &str) {
        let found = value.get_ref().type_str();
        let message = format!("`{at}` is of type {found}, expected {expected}");
        self.problems.push(Problem { span: Some(value.span()), message });
    }

    fn unknown<'k>(
        &mut self,
        key: &Spanned<impl AsRef<str>>,
        known: impl Iterator<Item = &'k str> + Clone,
        at: &str,
    ) {
        let name = key.get_ref().as_ref();
        let place = if at.is_empty() { String::new() } else { format!(" in [{at}]") };
        let help = suggest(name, known.clone()).map_or_else(
            || format!("expected one of {}", known.collect::<Vec<_>>().join(", ")),
            |near| format!("did you mean `{near}`?"),
        );
        let message = format!("unknown key `{name}`{place}; {help}");
        self.problems.push(Problem { span: Some(key.span()), message });
    }
}

/// Follows a `$ref` into the schema's definitions.
fn resolve(root: &Value, schema: &Value) -> Value {
    let target = schema.get("$ref").and_then(Value::as_str).and_then(|r| r.strip_prefix('#'));
    target.and_then(|pointer| root.pointer(pointer)).unwrap_or(schema).clone()
}

/// The JSON types that a schema allows.
fn types_of(schema: &Value) -> Vec<String> {
    match schema.get("type") {
        Some(Value::String(one)) => vec![one.clone()],
        Some(Value::Array(many)) => many.iter().filter_map(Value::as_str).map(str::to_owned).collect(),
        _ => Vec::new(),
    }
}

fn fits(json_type: &str, value: &DeValue<'_>) -> bool {
    match json_type {
        "string" => value.is_str(),
        "integer" => value.is_integer(),
        "number" => value.is_integer() || value.is_float(),
        "boolean" => value.is_bool(),
        "array" => value.is_array(),
        "object" => value.is_table(),
        _ => false,
    }
}

fn toml_name(json_type: &str) -> &str {
    match json_type {
        "number" => "float",
        "object" => "table",
        other => other,
    }
}

/// The candidate nearest to a misspelt word, when it is near enough to be meant.
pub(super) fn suggest<'k>(word: &str, candidates: impl Iterator<Item = &'k str>) -> Option<&'k str> {
    let nearest = candidates.map(|c| (edit_distance(word, c), c)).min()?;
    (nearest.0 <= 1 + word.chars().count() / 4).then_some(nearest.1)
}

/// Levenshtein distance.
fn edit_distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, from) in a.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, to) in b.iter().enumerate() {
            let change = diagonal + usize::from(from != *to);
            diagonal = row[j + 1];
            row[j + 1] = change.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[b.len()]
}
