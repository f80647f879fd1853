//! What a process asks of the file system, as strace writes it: `-f -y -xx` lines, parsed.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

/// One call that changes files or makes changes durable, or a message that left the process.
#[derive(Debug, Clone, PartialEq)]
pub enum Call {
    Create { path: PathBuf, truncate: bool },
    Write { path: PathBuf, offset: Option<u64>, bytes: Vec<u8> },
    Truncate { path: PathBuf, len: u64 },
    Sync { path: PathBuf },
    Rename { from: PathBuf, to: PathBuf },
    MakeDir { path: PathBuf },
    Remove { path: PathBuf },
    Send { bytes: Vec<u8> },
}

/// The calls whose lines are parsed, for strace's `-e trace=`.
pub const TRACED: &str = "openat,write,pwrite64,ftruncate,fsync,fdatasync,rename,renameat,renameat2,mkdir,mkdirat,\
                          unlink,unlinkat,rmdir,sendto,sendmsg,writev";

/// Reads a log in the order in which the calls ended. Calls that failed changed nothing.
pub fn parse(log: &str) -> Vec<Call> {
    let mut begun: HashMap<&str, String> = HashMap::new();
    let mut calls = Vec::new();
    for line in log.lines() {
        let Some((thread, text)) = line.split_once(' ') else { continue };
        let text = text.trim_start();
        if let Some(start) = text.strip_suffix("<unfinished ...>") {
            begun.insert(thread, start.trim_end().to_owned());
            continue;
        }
        let whole = match text.strip_prefix("<... ").and_then(|rest| rest.split_once("resumed>")) {
            Some((_, end)) => begun.remove(thread).unwrap_or_default() + end,
            None => text.to_owned(),
        };
        calls.extend(call_of(&whole));
    }
    calls
}

fn call_of(line: &str) -> Option<Call> {
    let (head, outcome) = line.rsplit_once(" = ")?;
    if outcome.starts_with(['-', '?']) {
        return None;
    }
    let (name, args) = head.trim_end().strip_suffix(')')?.split_once('(')?;
    let strings = quoted(args);
    let file = descriptor(args);
    Some(match name {
        "openat" if args.contains("O_CREAT") => {
            Call::Create { path: path_of(strings.first()?), truncate: args.contains("O_TRUNC") }
        }
        "write" | "sendto" | "sendmsg" | "writev"
            if file.as_ref().is_none_or(|name| name.starts_with("socket:") || name.starts_with("TCP")) =>
        {
            Call::Send { bytes: strings.concat() }
        }
        "write" => Call::Write { path: file?.into(), offset: None, bytes: strings.concat() },
        "pwrite64" => {
            let offset = args.rsplit(", ").next()?.parse().ok()?;
            Call::Write { path: file?.into(), offset: Some(offset), bytes: strings.concat() }
        }
        "ftruncate" => Call::Truncate { path: file?.into(), len: args.rsplit(", ").next()?.parse().ok()? },
        "fsync" | "fdatasync" => Call::Sync { path: file?.into() },
        "rename" | "renameat" | "renameat2" => {
            Call::Rename { from: path_of(strings.first()?), to: path_of(strings.get(1)?) }
        }
        "mkdir" | "mkdirat" => Call::MakeDir { path: path_of(strings.first()?) },
        "unlink" | "unlinkat" | "rmdir" => Call::Remove { path: path_of(strings.first()?) },
        _ => return None,
    })
}

/// The file of the first descriptor: `5<\x2f\x61>, ...`.
fn descriptor(args: &str) -> Option<String> {
    let (number, rest) = args.split_once('<')?;
    let (name, _) = rest.split_once('>')?;
    number.bytes().all(|byte| byte.is_ascii_digit()).then(|| String::from_utf8(unhex(name)).ok()).flatten()
}

/// The strings, each written as `"\x61\x62"`.
fn quoted(args: &str) -> Vec<Vec<u8>> {
    args.split('"').skip(1).step_by(2).map(unhex).collect()
}

fn unhex(text: &str) -> Vec<u8> {
    text.split("\\x").skip(1).filter_map(|hex| u8::from_str_radix(hex, 16).ok()).collect()
}

fn path_of(bytes: &[u8]) -> PathBuf {
    Path::new(std::str::from_utf8(bytes).unwrap_or_default()).into()
}
