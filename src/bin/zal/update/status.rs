//! What the store says, put together for people and for `/update`.

use zal::bundle::store::{Phase, SetbackCode, Store, StoreError};
use zal::bundle::{Bundle, TrustedKeys};

use super::{refusal, say};
use crate::message::{
    BundleBody, ProgressBody, SetbackBody, TrialBody, UPDATE_SCHEMA, UpdateBody, UpdateState,
};

/// Puts the state together.
///
/// # Errors
/// When the store cannot be read.
pub fn body(store: &Store, trusted: &TrustedKeys) -> Result<UpdateBody, StoreError> {
    let index = store.index()?;
    let named = |sha256: &str| bundle(store, sha256, trusted);
    let progress = say::read(store.root());
    let candidate = match &index.phase {
        Phase::Testing { candidate } | Phase::Ready { candidate } => Some(named(candidate)),
        _ => None,
    };
    let trial = match &index.phase {
        Phase::Trial(trial) => Some(TrialBody {
            parts_left: trial.parts_left,
            starts_left: trial.boots_left,
            manual_confirm: trial.manual,
        }),
        _ => None,
    };
    let setback = match &index.phase {
        Phase::Failed { candidate: bundle, setback } | Phase::RolledBack { from: bundle, setback } => {
            Some((setback.code, setback.words.clone(), named(bundle)))
        }
        // Whoever tested it is gone.
        Phase::Testing { candidate } if progress.is_none() => {
            Some((SetbackCode::Interrupted, "its test was interrupted".to_owned(), named(candidate)))
        }
        _ => None,
    };
    let state = match (&progress, &index.phase) {
        (Some(progress), _) => progress.state,
        (None, Phase::Testing { .. }) => UpdateState::Failed,
        (None, phase) => state_of(phase),
    };
    Ok(UpdateBody {
        schema: UPDATE_SCHEMA.into(),
        session: String::new(),
        state,
        current: index.current.as_deref().map(named),
        previous: index.previous.as_deref().map(named),
        factory: store.factory()?.as_deref().map(named),
        candidate,
        security_epoch: index.security_epoch,
        progress: progress.map(|p| ProgressBody { stage: p.stage, done: p.done, total: p.total }),
        help: help(state, trial.as_ref(), setback.as_ref().map(|setback| setback.0)),
        trial,
        setback: setback.map(|(code, text, bundle)| SetbackBody { code: code.name().into(), text, bundle }),
    })
}

/// A bundle of the store by its hash.
pub fn bundle(store: &Store, sha256: &str, trusted: &TrustedKeys) -> BundleBody {
    let path = store.slot(sha256).path;
    match Bundle::peek(&path, trusted) {
        Ok((manifest, signed)) => BundleBody {
            name: manifest.full_name(),
            sha256: sha256.into(),
            signer: format!("{} {}", signed.signer.name(), signed.key_id),
            security_epoch: manifest.security_epoch,
        },
        Err(_) => BundleBody {
            name: String::new(),
            sha256: sha256.into(),
            signer: String::new(),
            security_epoch: 0,
        },
    }
}

const fn state_of(phase: &Phase) -> UpdateState {
    match phase {
        Phase::Idle => UpdateState::Idle,
        Phase::Testing { .. } => UpdateState::Testing,
        Phase::Ready { .. } => UpdateState::Ready,
        Phase::Trial(_) => UpdateState::Trial,
        Phase::Confirmed => UpdateState::Confirmed,
        Phase::Failed { .. } => UpdateState::Failed,
        Phase::RolledBack { .. } => UpdateState::RolledBack,
    }
}

fn help(state: UpdateState, trial: Option<&TrialBody>, setback: Option<SetbackCode>) -> String {
    let text = match state {
        UpdateState::Idle | UpdateState::Confirmed => "nothing to do",
        UpdateState::Receiving | UpdateState::Verified | UpdateState::Staged | UpdateState::Testing => {
            "wait; the line judges with the bundle that it had"
        }
        UpdateState::Ready => "it passed its test but is not in charge: install it again to put it on trial",
        UpdateState::Trial if trial.is_some_and(|trial| trial.manual_confirm) => {
            "watch some parts, then `zal model confirm`, or `zal model rollback` to go back"
        }
        UpdateState::Trial => {
            "nothing: it is confirmed after these parts, or the bundle before comes back by itself"
        }
        UpdateState::Failed | UpdateState::RolledBack => setback.map_or("see the text", refusal::help),
    };
    text.into()
}
