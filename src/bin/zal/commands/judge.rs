//! `zal judge`: what a person says of a judged part.

use super::teaching::{self, LineArgs, WhoArgs};
use crate::exit::CommandResult;
use crate::reference::{Request, Verb};

/// Arguments of `zal judge`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The result: its `result_id` as published, or its seq
    #[arg(value_name = "RESULT_ID")]
    result: String,
    /// What the part is
    #[arg(value_enum)]
    judgement: Judgement,
    #[command(flatten)]
    who: WhoArgs,
    #[command(flatten)]
    line: LineArgs,
}

/// What a part is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Judgement {
    /// Good: it becomes an anchor
    #[value(name = "ok")]
    Ok,
    /// Not good: it leaves the reference set
    #[value(name = "not_ok")]
    NotOk,
    /// Take back what was said
    Withdraw,
}

/// Runs the command.
///
/// # Errors
/// When there is no such result, or the daemon refuses it.
pub fn run(args: &Args) -> CommandResult {
    let config = teaching::open(&args.line.config)?;
    let found = teaching::find(&config, &args.result)?;
    let request = Request {
        verb: match args.judgement {
            Judgement::Ok => Verb::AnchorAdd,
            Judgement::NotOk => Verb::NotOk,
            Judgement::Withdraw => Verb::Withdraw,
        },
        recipe: found.recipe,
        name: found.claim_id,
        scan: None,
        result_id: Some(found.result_id),
        who: args.who.name(),
        at: teaching::now(),
    };
    args.who.ask(&args.line, &config, request)
}
