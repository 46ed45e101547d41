//! Graceful shutdown: everybody is told, those who do not go in time are cut off.

use std::time::Duration;

use tokio::time::timeout;

use crate::limits::SHUTDOWN_CUT;
use crate::registry::{Registry, Stage};

/// How a shutdown went.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Farewell {
    /// Connections that were told.
    pub told: usize,
    /// Connections that did not go within the grace time and were cut off.
    pub cut: usize,
}

/// Ends all connections of a registry that gets no new ones.
pub(crate) async fn drain(registry: &Registry, grace: Duration) -> Farewell {
    let told = registry.connection_count();
    registry.enter(Stage::Draining);
    let mut cut = 0;
    if timeout(grace, registry.wait_until_empty()).await.is_err() {
        cut = registry.connection_count();
        registry.enter(Stage::Cutting);
        // A connection that does not even notice this ends with the runtime.
        let _ = timeout(SHUTDOWN_CUT, registry.wait_until_empty()).await;
    }
    Farewell { told, cut }
}
