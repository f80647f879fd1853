//! Health over HTTP: `/livez`, `/readyz` and Prometheus' `/metrics`.

use std::sync::Arc;

use axum::Router;
use axum::extract::State;
use axum::http::StatusCode;
use axum::routing::get;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tracing::warn;

use crate::telemetry::Metrics;

/// Serves until the daemon stops.
pub async fn serve(listener: TcpListener, metrics: Arc<Metrics>, mut stop: watch::Receiver<bool>) {
    let router = Router::new()
        .route("/livez", get(|| async { "ok\n" }))
        .route("/readyz", get(ready))
        .route("/metrics", get(|State(metrics): State<Arc<Metrics>>| async move { metrics.to_prometheus() }))
        .with_state(metrics);
    let stopped = async move {
        let _ = stop.wait_for(|stop| *stop).await;
    };
    if let Err(error) = axum::serve(listener, router).with_graceful_shutdown(stopped).await {
        warn!(%error, "health and metrics are no longer served");
    }
}

/// Ready: the detector is loaded and nothing is wrong. A missing broker does not count: results are kept.
async fn ready(State(metrics): State<Arc<Metrics>>) -> (StatusCode, String) {
    let degraded = metrics.degraded();
    if metrics.is_ready() && degraded.is_empty() {
        return (StatusCode::OK, "ok\n".into());
    }
    let why = if metrics.is_ready() { degraded.join("\n") } else { "the detector is not loaded".into() };
    (StatusCode::SERVICE_UNAVAILABLE, why + "\n")
}
