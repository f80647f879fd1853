//! What the process is asked by signals: SIGTERM and SIGINT stop it in order, SIGHUP has the configuration read again.
//!
//! They are caught for the process and not for one daemon: a reload ends one daemon and starts the next, and a stop
//! that comes meanwhile must not be lost.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::Context as _;
use tokio::signal::unix::{SignalKind, signal};
use tracing::info;

use crate::daemon::Stopper;

/// What was asked so far.
#[derive(Clone, Default)]
pub struct Asked {
    stop: Arc<AtomicBool>,
    reload: Arc<AtomicBool>,
    /// Stops the daemon that runs.
    stopper: Arc<Mutex<Option<Stopper>>>,
}

impl Asked {
    /// Catches the signals from now on, as long as the process lives.
    ///
    /// # Errors
    /// When the system does not allow it.
    pub fn by_signals() -> anyhow::Result<Self> {
        let asked = Self::default();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let (mut term, mut int, mut hup) = {
            let _context = runtime.enter();
            (
                signal(SignalKind::terminate())?,
                signal(SignalKind::interrupt())?,
                signal(SignalKind::hangup())?,
            )
        };
        let heard = asked.clone();
        let listen = async move {
            loop {
                tokio::select! {
                    _ = term.recv() => heard.ask_to_stop("SIGTERM"),
                    _ = int.recv() => heard.ask_to_stop("SIGINT"),
                    _ = hup.recv() => heard.reload.store(true, Ordering::Relaxed),
                }
            }
        };
        std::thread::Builder::new()
            .name("zal-signals".into())
            .spawn(move || runtime.block_on(listen))
            .context("cannot start the thread of the signals")?;
        Ok(asked)
    }

    fn ask_to_stop(&self, name: &str) {
        info!("{name}: stopping");
        self.stop.store(true, Ordering::Relaxed);
        if let Some(stopper) = &*self.stopper.lock().unwrap_or_else(PoisonError::into_inner) {
            stopper.stop();
        }
    }

    /// Names the daemon that a stop is for; one that was asked for already stops it at once.
    pub fn attach(&self, stopper: Stopper) {
        let mut current = self.stopper.lock().unwrap_or_else(PoisonError::into_inner);
        if self.is_stop() {
            stopper.stop();
        }
        *current = Some(stopper);
    }

    /// Whether the process is to end.
    pub fn is_stop(&self) -> bool {
        self.stop.load(Ordering::Relaxed)
    }

    /// Whether a reload was asked for since the last call.
    pub fn take_reload(&self) -> bool {
        self.reload.swap(false, Ordering::Relaxed)
    }
}
