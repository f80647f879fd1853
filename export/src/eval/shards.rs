//! [`Shard`]: one of several processes, each with its own output folder, that share the trainings of an
//! evaluation. Whole trainings are dealt out in turns, so that each is done once and every process
//! knows its own from the command line alone.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// Shard `number` of `count`, from 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Shard {
    /// Which one, from 1.
    pub number: usize,
    /// Of how many.
    pub count: usize,
}

impl FromStr for Shard {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let parsed = text.split_once('/').and_then(|(number, count)| {
            let (number, count) = (number.parse().ok()?, count.parse().ok()?);
            (1..=count).contains(&number).then_some(Self { number, count })
        });
        parsed.ok_or_else(|| format!("found `{text}`, expected I/N with I from 1 to N, such as 2/8"))
    }
}

impl fmt::Display for Shard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.number, self.count)
    }
}

impl Shard {
    /// What falls to this shard: every `count`-th item, from `number` on.
    pub fn deal<T: Clone>(self, items: &[T]) -> Vec<T> {
        items.iter().skip(self.number - 1).step_by(self.count).cloned().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_item_is_dealt_once_and_evenly() {
        let items: Vec<usize> = (0..10).collect();
        let hands: Vec<Vec<usize>> = (1..=3).map(|number| Shard { number, count: 3 }.deal(&items)).collect();
        assert_eq!(hands.iter().map(Vec::len).collect::<Vec<_>>(), [4, 3, 3]);
        let mut all = hands.concat();
        all.sort_unstable();
        assert_eq!(all, items);
    }

    #[test]
    fn a_shard_is_read_as_written() {
        let shard: Shard = "2/8".parse().expect("a shard");
        assert_eq!((shard, shard.to_string()), (Shard { number: 2, count: 8 }, "2/8".to_owned()));
        for text in ["0/3", "4/3", "1", "a/3", "1/0", "1/", ""] {
            assert!(text.parse::<Shard>().is_err(), "{text}");
        }
    }
}
