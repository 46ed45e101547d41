//! What changes in a running process when its configuration is read again.

use std::time::Duration;

use ternmq_manage::Manage;
use ternmq_net::server::Server;
use tracing::{error, info, warn};

use crate::cli::Cli;
use crate::config::Config;
use crate::identity::Identities;
use crate::logging::Filter;
use crate::tls::Certificates;

/// How often files of certificates and keys are looked at.
pub(crate) const WATCH: Duration = Duration::from_secs(2);

/// What can be changed.
pub(crate) struct Running<'a> {
    pub(crate) cli: &'a Cli,
    pub(crate) server: &'a Server,
    pub(crate) certificates: &'a Certificates,
    pub(crate) identities: &'a Identities,
    pub(crate) manage: &'a Manage,
    pub(crate) filter: &'a Filter,
}

/// Keys that are in effect as soon as they are read; sections end with a point.
const AT_ONCE: [&str; 4] = [
    "log.level",
    "limits.connections_max",
    "limits.shutdown_grace_ms",
    "tls.",
];

impl Running<'_> {
    /// Reads certificates and keys again that have changed.
    pub(crate) fn look_at_files(&self) {
        self.identities.look_at_keys();
        if self.certificates.reload_changed() {
            self.manage.set_certificates(self.certificates.shown());
        }
    }

    /// Reads the configuration again, and changes what can be changed. One that cannot be used changes nothing.
    pub(crate) fn reload(&self, current: &mut Config) {
        let checked =
            Config::load(self.cli.clone()).and_then(|new| self.filter.set(&new.log).map(|()| new));
        let new = match checked {
            Ok(new) => new,
            Err(error) => {
                let error = crate::in_one_line(&error);
                error!(
                    error,
                    "the new configuration cannot be used, the old one stays"
                );
                return;
            }
        };
        new.log_remarks();
        self.server.set_connections_max(new.limits.connections_max);
        self.certificates.reload(&new);
        self.identities.reload();
        self.manage.set_certificates(self.certificates.shown());
        let (at_once, later): (Vec<_>, Vec<_>) = current
            .changes(&new)
            .into_iter()
            .partition(|key| is_at_once(key));
        if !later.is_empty() {
            warn!(keys = later.join(", "), "these changes need a restart");
        }
        info!(changed = at_once.join(", "), "configuration read again");
        current.adopt(new);
    }
}

/// Whether a change of this key needs no restart: named above, or the `tls` of a protocol.
fn is_at_once(key: &str) -> bool {
    let mut named = AT_ONCE.into_iter();
    named.any(|named| key == named || (named.ends_with('.') && key.starts_with(named)))
        || key.contains(".tls.")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_that_need_no_restart_are_told_from_those_that_do() {
        for key in [
            "log.level",
            "tls.certfile",
            "amqp.tls.keyfile",
            "limits.connections_max",
        ] {
            assert!(is_at_once(key), "{key}");
        }
        for key in [
            "log.format",
            "amqp.tls_listen",
            "amqp.listen",
            "limits.handshakes_max",
        ] {
            assert!(!is_at_once(key), "{key}");
        }
    }
}
