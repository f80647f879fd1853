//! The methods that are built in: arms by name, written as a plan would write them.

use anyhow::{Context, Result, bail, ensure};

use super::arm::{Arm, Reference};

/// A built-in arm.
#[derive(Debug, Clone, Copy)]
pub struct Method {
    /// Its name, or its pattern: K, N and R stand for numbers.
    pub name: &'static str,
    /// What it is, in a line.
    pub description: &'static str,
    /// Its keys, as they stand in a plan.
    keys: &'static str,
}

/// All built-in methods.
pub const METHODS: [Method; 12] = [
    Method {
        name: "3dzal",
        description: "the paper's pipeline: rgb, FPFH and E_theta concatenated, joint score with C_w",
        keys: r#"modes = ["paper"]"#,
    },
    Method {
        name: "without",
        description: "3dzal without E_theta and C_w: rgb (when there is a backbone) and FPFH, blocks scaled",
        keys: r#"
            modes = ["paper"]
            point = false
            lambda = 0.0
        "#,
    },
    Method {
        name: "btf",
        description: "BTF as published: raw rgb + FPFH, unoriented normals, zeros averaged in, 8-bit map",
        keys: r#"
            modes = ["paper"]
            branches = ["rgb", "fpfh"]
            lambda = 0.0
            fusion = "raw"
            orientation = "none"
            missing = "zeros"
            rgb_pooling = "btf"
            map = "eight_bits"
        "#,
    },
    Method {
        name: "btf mended",
        description: "BTF with oriented normals, missing pixels skipped and blocks scaled alike",
        keys: r#"
            modes = ["paper"]
            branches = ["rgb", "fpfh"]
            lambda = 0.0
        "#,
    },
    Method {
        name: "fpfh only",
        description: "FPFH alone in mode paper",
        keys: r#"
            modes = ["paper"]
            branches = ["fpfh"]
            lambda = 0.0
        "#,
    },
    Method {
        name: "rgb only",
        description: "the colour backbone alone in mode paper",
        keys: r#"
            modes = ["paper"]
            branches = ["rgb"]
            lambda = 0.0
        "#,
    },
    Method {
        name: "random",
        description: "control: random maps and image scores",
        keys: r#"
            modes = ["paper"]
            control = "random"
        "#,
    },
    Method {
        name: "mask",
        description: "control: the object's mask as map, the object's size as image score",
        keys: r#"
            modes = ["paper"]
            control = "mask"
        "#,
    },
    Method {
        name: "line",
        description: "the product's default mode: object crop, late fusion, the scan itself as reference",
        keys: LINE,
    },
    Method {
        name: "line anchors K",
        description: "line with K good scans of the test class as references; not zero-shot",
        keys: LINE,
    },
    Method {
        name: "line buffer N at R",
        description: "line with N unlabelled scans of the test class, a share R defective; not zero-shot",
        keys: LINE,
    },
    Method { name: "line anchors K buffer N at R", description: "line with both; not zero-shot", keys: LINE },
];

/// The settings of a bundle's mode `line`.
const LINE: &str = r#"
    modes = ["line"]
    weights = { point = 0.5 }
    repetition = { weight = 2.0, rank = 1, margin = 1 }
"#;

/// The built-in arm of a name.
///
/// # Errors
/// Lists the names when there is none of that name.
pub fn by_name(name: &str) -> Result<Arm> {
    let words: Vec<&str> = name.split(' ').collect();
    let matches = |method: &&Method| {
        let pattern: Vec<&str> = method.name.split(' ').collect();
        let fits = |(p, w): (&&str, &&str)| p == w || ["K", "N", "R"].contains(p);
        pattern.len() == words.len() && pattern.iter().zip(&words).all(fits)
    };
    let Some(method) = METHODS.iter().find(matches) else {
        let names: Vec<&str> = METHODS.iter().map(|m| m.name).collect();
        bail!("there is no method `{name}`; there are: {}", names.join(", "));
    };
    let text = format!("name = \"{name}\"\n{}", method.keys);
    let mut arm: Arm = toml::from_str(&text).context("a built-in method is an arm")?;
    arm.reference = reference(&words).with_context(|| format!("method `{name}`"))?;
    Ok(arm)
}

/// The numbers behind `anchors`, `buffer` and `at`.
fn reference(words: &[&str]) -> Result<Option<Reference>> {
    let after = |word: &str| words.iter().position(|w| *w == word).and_then(|at| words.get(at + 1));
    let count = |word: &str| -> Result<usize> {
        let Some(text) = after(word) else { return Ok(0) };
        text.parse().with_context(|| format!("found {word} `{text}`, expected a number of scans"))
    };
    let (anchors, buffer) = (count("anchors")?, count("buffer")?);
    let defect_rate = after("at").map_or(Ok(0.0), |text| {
        text.parse().with_context(|| format!("found `at {text}`, expected a share such as 0.1"))
    })?;
    ensure!((0.0..=1.0).contains(&defect_rate), "found `at {defect_rate}`, expected a share from 0 to 1");
    let found = Reference { anchors, rotations: 12, buffer, defect_rate, bank: true, lowest_share: None };
    Ok((anchors + buffer > 0).then_some(found))
}

#[cfg(test)]
mod tests {
    use zal::detector::Mode;

    use super::*;
    use crate::study::plan::Plan;

    #[test]
    fn every_method_is_an_arm_that_a_plan_takes() {
        let arms = METHODS.iter().map(|method| {
            let name = method.name.replace('K', "4").replace('N', "32").replace('R', "0.1");
            by_name(&name).expect(method.name)
        });
        let mut arms: Vec<Arm> = arms.collect();
        arms[0].baseline = true;
        let plan = Plan {
            description: "all".into(),
            modes: vec![Mode::Paper, Mode::Line],
            training: vec![vec!["ring".into()]],
            seeds: vec![1],
            fraction: 0.1,
            rows_max: 100,
            rgb: None,
            train: serde_json::Map::new(),
            arms,
        };
        plan.check().expect("a plan of all methods");
        let zero_shot = plan.arms.iter().filter(|arm| arm.is_zero_shot()).count();
        assert_eq!((plan.arms.len(), zero_shot), (12, 9));
    }

    #[test]
    fn numbers_in_a_name_are_read() {
        let both = by_name("line anchors 4 buffer 32 at 0.25").expect("a method").reference.expect("scans");
        assert_eq!((both.anchors, both.buffer, both.bank), (4, 32, true));
        assert!((both.defect_rate - 0.25).abs() < 1e-12);
        assert_eq!(by_name("line").expect("a method").reference, None);
        for (name, words) in [
            ("line anchors x", "number of scans"),
            ("line buffer 8 at 3", "from 0 to 1"),
            ("line anchors", "there are: 3dzal, without, btf,"),
            ("3DSR", "there is no method `3DSR`"),
        ] {
            let refused = format!("{:#}", by_name(name).expect_err("no method"));
            assert!(refused.contains(words), "{refused}");
        }
    }
}
