//! How a refusal of the store ends a command: the exit code, and what to do about it.

use std::path::Path;

use zal::bundle::store::{Setback, SetbackCode, StoreError};

use crate::bundled;
use crate::exit::{Exit, Failure};

/// The exit code and the way out that fit.
pub fn failure(error: StoreError) -> Failure {
    match error {
        StoreError::Bundle(error) => bundled::refused(error),
        StoreError::Io { .. } => Failure::new(Exit::Io, error)
            .hint("check the disk (space, mount) and run it as root or as the user zal; the line goes on"),
        StoreError::Source { ref source, .. } if source.kind() == std::io::ErrorKind::NotFound => {
            Failure::new(Exit::NoInput, error).hint("is the stick mounted? `lsblk` and `ls` show it")
        }
        StoreError::Source { .. } => Failure::new(Exit::Io, error)
            .hint("take the stick out and put it in again, or try another copy of the file"),
        StoreError::Changed { .. } => Failure::new(Exit::BadData, error)
            .hint("wait until whoever writes the file has finished, then install it again"),
        StoreError::Unfit { .. } => Failure::new(Exit::BadData, error).hint("name a .zalb file"),
        StoreError::Busy => Failure::new(Exit::Unavailable, error).hint("nothing was changed"),
        StoreError::DevelopmentKey { .. } => Failure::new(Exit::Refused, error)
            .hint("ask the bundle's maker for one that is signed with the plant's key; --allow-development-key is for tests"),
        StoreError::Epoch { .. } => Failure::new(Exit::Refused, error)
            .hint("older models were locked out on purpose; ask the maker for a newer bundle"),
        StoreError::NoSlot { .. } => Failure::new(Exit::NoInput, error),
        StoreError::Empty { .. } => Failure::new(Exit::NoInput, error),
        StoreError::Phase { .. } => {
            Failure::new(Exit::Usage, error).hint("`zal model status` says where the update stands")
        }
        other => Failure::new(Exit::Bug, other),
    }
}

/// There is no store here.
pub fn no_store(dir: &Path) -> Failure {
    let error = anyhow::anyhow!("there is no bundle store {}", dir.display());
    Failure::new(Exit::NoInput, error)
        .hint("`zal model install FILE.zalb` makes it; --config or --state-dir name another place")
}

/// How a setback ends a command.
pub const fn exit_of(code: SetbackCode) -> Exit {
    match code {
        SetbackCode::SelfTest => Exit::SelfTestMismatch,
        _ => Exit::RolledBack,
    }
}

/// What a person can do after a setback.
pub const fn help(code: SetbackCode) -> &'static str {
    match code {
        SetbackCode::SelfTest => {
            "this machine computes other scores than the bundle's maker: send the maker this message; do not force it"
        }
        SetbackCode::Latency => {
            "the bundle is too slow for this machine: ask for a smaller one, or raise update.slower_max if the line has time"
        }
        SetbackCode::Memory => {
            "the bundle needs more memory than this machine has: ask the maker for a smaller one"
        }
        SetbackCode::Crash | SetbackCode::Hang => {
            "the bundle ended or stopped the program: keep the file and send it with `zal model log --json` to the maker"
        }
        SetbackCode::Disagreement => {
            "look at the parts that were judged differently before anyone installs it without --shadow"
        }
        SetbackCode::Load => "the bundle does not fit this machine or this version of zal: see the text",
        SetbackCode::Interrupted => "install it again",
        SetbackCode::Boots => {
            "the daemon did not keep running with it: `journalctl -u zal` shows why; the bundle before judges"
        }
        SetbackCode::Manual => "nothing: somebody asked for it",
        SetbackCode::Damaged => "check the disk, then install the bundle again",
    }
}

/// The failure that a setback of an installation is; what judged goes on judging.
pub fn setback_failure(bundle: &str, setback: &Setback) -> Failure {
    let error = anyhow::anyhow!(
        "{bundle} is not taken: {setback}\nnothing was switched, the line goes on with the bundle it had"
    );
    Failure::new(exit_of(setback.code), error).hint(help(setback.code))
}
