//! The methods that an evaluation can compare, as arms of a study's plan.

use anyhow::{Context, Result, bail};

use crate::study::plan::Arm;

/// Name, what it is, and its arm as a plan would have it.
const METHODS: [(&str, &str, &str); 3] = [
    (
        "3dzal",
        "the paper's pipeline: rgb, FPFH and E_theta concatenated, joint with C_w",
        "name = '3dzal'\nmodes = ['paper']",
    ),
    (
        "without",
        "the same without E_theta and C_w",
        "name = 'without'\nmodes = ['paper']\npoint = false\nlambda = 0.0",
    ),
    (
        "line",
        "the object crop with late fusion, the scan itself as second reference",
        "name = 'line'\nmodes = ['line']\nweights = { point = 0.5 }\nrepetition = { weight = 2.0, rank = 1, margin = 1 }",
    ),
];

/// The arms of these names, in their order.
///
/// # Errors
/// Names the method that is not known.
pub fn method_arms(names: &[String]) -> Result<Vec<Arm>> {
    let arm = |name: &String| {
        let known = METHODS.iter().find(|(method, _, _)| method == name);
        let Some((_, _, text)) = known else {
            let names: Vec<&str> = METHODS.iter().map(|(name, _, _)| *name).collect();
            bail!("--methods: found `{name}`, expected some of {}", names.join(", "));
        };
        toml::from_str(text).with_context(|| format!("method {name}"))
    };
    names.iter().map(arm).collect()
}

/// Classes beside bank and training that an arm has normal scans of: the test class itself, when the
/// line's own scans are a reference.
#[must_use]
pub const fn uses_test_class(_arm: &Arm) -> bool {
    false
}

/// Names and one line of words each, for the command's help.
#[must_use]
pub fn listed() -> String {
    METHODS.iter().map(|(name, words, _)| format!("  {name}: {words}\n")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_method_is_an_arm_of_its_name_and_others_are_refused() {
        for (name, _, _) in METHODS {
            let arms = method_arms(&[name.to_owned()]).expect("an arm");
            assert_eq!(arms[0].name, name);
            assert!(arms[0].modes.is_some(), "{name} says its modes");
        }
        let refused = method_arms(&["btx".to_owned()]).expect_err("no method").to_string();
        assert!(refused.contains("`btx`") && refused.contains("3dzal"), "{refused}");
    }
}
