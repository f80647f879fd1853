//! The methods that an evaluation can compare: the built-in arms of [`crate::study::methods`].

use anyhow::{Context, Result};

use crate::study::methods::{METHODS, by_name};
use crate::study::plan::Arm;

/// The arms of these names, in their order.
///
/// # Errors
/// Names the method that is not known.
pub fn method_arms(names: &[String]) -> Result<Vec<Arm>> {
    names.iter().map(|name| by_name(name).context("--methods")).collect()
}

/// Names and one line of words each, for the command's help.
#[must_use]
pub fn listed() -> String {
    METHODS.iter().map(|method| format!("  {}: {}\n", method.name, method.description)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn methods_are_arms_and_others_are_refused() {
        let arms = method_arms(&["3dzal".to_owned(), "line anchors 4".to_owned()]).expect("arms");
        assert!(arms[0].is_zero_shot() && !arms[1].is_zero_shot());
        let refused = format!("{:#}", method_arms(&["btx".to_owned()]).expect_err("no method"));
        assert!(
            refused.contains("`btx`") && refused.contains("3dzal") && refused.contains("--methods"),
            "{refused}"
        );
        assert_eq!(listed().lines().count(), METHODS.len());
    }
}
