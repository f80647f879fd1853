//! Health over HTTP: `/livez`, `/readyz` and Prometheus' `/metrics`.

use std::sync::Arc;

use axum::Router;
use axum::extract::State;
use axum::http::header::CONTENT_TYPE;
use axum::http::{HeaderName, StatusCode};
use axum::routing::get;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tracing::warn;

use crate::alarms::AlarmCode;
use crate::telemetry::Metrics;

/// Serves until the daemon stops.
pub async fn serve(listener: TcpListener, metrics: Arc<Metrics>, mut stop: watch::Receiver<bool>) {
    let router = Router::new()
        .route("/livez", get(alive))
        .route("/readyz", get(ready))
        .route("/metrics", get(prometheus))
        .with_state(metrics);
    let stopped = async move {
        let _ = stop.wait_for(|stop| *stop).await;
    };
    if let Err(error) = axum::serve(listener, router).with_graceful_shutdown(stopped).await {
        warn!(%error, "health and metrics are no longer served");
    }
}

/// Alive: no scan has kept the detector for too long.
async fn alive(State(metrics): State<Arc<Metrics>>) -> (StatusCode, &'static str) {
    let is_stuck = metrics.alarms().active().iter().any(|alarm| alarm.code == AlarmCode::DetectorStuck);
    if is_stuck {
        (StatusCode::SERVICE_UNAVAILABLE, "the detector hangs\n")
    } else {
        (StatusCode::OK, "ok\n")
    }
}

/// Ready: the detector is loaded, has passed its self-test, and parts are judged and recorded.
/// A missing broker does not count: results are kept.
async fn ready(State(metrics): State<Arc<Metrics>>) -> (StatusCode, String) {
    let why_not = metrics.why_not_ready();
    if why_not.is_empty() {
        return (StatusCode::OK, "ok\n".into());
    }
    (StatusCode::SERVICE_UNAVAILABLE, why_not.join("\n") + "\n")
}

/// The content type says the version of the text format.
async fn prometheus(State(metrics): State<Arc<Metrics>>) -> ([(HeaderName, &'static str); 1], String) {
    ([(CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")], metrics.to_prometheus())
}
