//! What the operator can set of the management API.

use std::path::PathBuf;

/// Settings of the management API; where it listens is the binary's.
#[derive(Clone, Debug, serde::Deserialize, serde::Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct ManageConfig {
    /// The node's name, as tools are told. Default: `rabbit@` and the machine's name, as RabbitMQ's, because some look
    /// for that.
    pub node_name: Option<String>,
    /// What every path begins with, before `/api`; for a proxy that hands on part of its own paths.
    pub path_prefix: String,
    /// Connections at once; one more is closed without an answer.
    pub connections_max: usize,
    /// Bytes of a request's body; a larger one is refused.
    pub body_bytes_max: usize,
    /// Time a request's body has to come in, in milliseconds.
    pub body_timeout_ms: u64,
    /// How long a connection may be open without a request, in milliseconds.
    pub idle_timeout_ms: u64,
    /// Web pages of these origins may use the API from a browser (`*` for all). Default: none.
    pub cors_origins: Vec<String>,
    /// How long a browser may keep an answer about that, in seconds.
    pub cors_max_age_s: u64,
    /// Definitions to import at start: a file, or a directory whose `.json` files are taken in the order of their names.
    pub load_definitions: Option<PathBuf>,
    /// Whether `/auth` tells browsers to log in by OAuth 2.0.
    pub oauth_enabled: bool,
    /// Who this broker's user interface is to the authorization server.
    pub oauth_client_id: String,
    /// Where the authorization server is.
    pub oauth_provider_url: String,
    /// Which scopes a browser is to ask for, separated by spaces.
    pub oauth_scopes: String,
    /// Whether the API takes tokens only once `oauth_enabled` is set.
    pub oauth_disable_basic_auth: bool,
    /// How long a login by `/login` lasts, in minutes.
    pub login_session_timeout: u64,
    /// Time between two looks at the counters from which rates are made, in milliseconds; at least 1,000.
    pub sample_interval_ms: u64,
    /// How far back the rates of one queue, exchange, connection or channel reach, in seconds.
    pub sample_retention_s: u64,
    /// How far back those of the node and of virtual hosts reach, in seconds.
    pub sample_retention_totals_s: u64,
}

impl Default for ManageConfig {
    fn default() -> Self {
        Self {
            node_name: None,
            path_prefix: String::new(),
            connections_max: 1_024,
            body_bytes_max: 20 << 20,
            body_timeout_ms: 60_000,
            idle_timeout_ms: 60_000,
            cors_origins: Vec::new(),
            cors_max_age_s: 1_800,
            load_definitions: None,
            oauth_enabled: false,
            oauth_client_id: String::new(),
            oauth_provider_url: String::new(),
            oauth_scopes: String::new(),
            oauth_disable_basic_auth: true,
            login_session_timeout: 480,
            sample_interval_ms: 5_000,
            sample_retention_s: 70,
            sample_retention_totals_s: 3_600,
        }
    }
}

/// Settings of the metrics for Prometheus; where they are asked for is the binary's.
#[derive(Clone, Debug, serde::Deserialize, serde::Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct PrometheusConfig {
    /// The path of the aggregated metrics; the others are below it.
    pub path: String,
    /// Whether that path has the metrics of each object, as `/metrics/per-object` has.
    pub return_per_object_metrics: bool,
    /// Whether a login is asked for, of a user with the tag `monitoring` or `administrator`.
    pub authentication: bool,
    /// Connections at once; one more is closed without an answer.
    pub connections_max: usize,
    /// How long a connection may be open without a request, in milliseconds.
    pub idle_timeout_ms: u64,
}

impl Default for PrometheusConfig {
    fn default() -> Self {
        Self {
            path: "/metrics".to_owned(),
            return_per_object_metrics: false,
            authentication: false,
            connections_max: 64,
            idle_timeout_ms: 60_000,
        }
    }
}
