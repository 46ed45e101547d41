//! What the operator can set about the HTTP server that is asked for users; named as in a `rabbitmq.conf`, without
//! `auth_http.` and `auth_cache.`.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

/// Where and how the server is asked.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct HttpConfig {
    /// `get` has what is asked in the address, `post` in a form.
    pub http_method: Method,
    /// Who is asked whether a user may log in.
    pub user_path: String,
    /// Who is asked whether a user may work in a vhost.
    pub vhost_path: String,
    /// Who is asked what a user may do with a queue or an exchange.
    pub resource_path: String,
    /// Who is asked which routing keys a user may use on a topic exchange.
    pub topic_path: String,
    /// Time of a question with its answer, in milliseconds; 1 to 60,000.
    pub request_timeout: u64,
    /// Time for a connection to the server, in milliseconds; 1 to 60,000.
    pub connection_timeout: u64,
    /// Questions at once; 1 to 256.
    pub questions_max: usize,
    /// PEM file of the authorities that the server's certificate is trusted from. Default: the machine's.
    pub cacertfile: Option<PathBuf>,
}

impl Default for HttpConfig {
    fn default() -> Self {
        let path = |name: &str| format!("http://localhost:8000/auth/{name}");
        Self {
            http_method: Method::Get,
            user_path: path("user"),
            vhost_path: path("vhost"),
            resource_path: path("resource"),
            topic_path: path("topic"),
            request_timeout: 5_000,
            connection_timeout: 5_000,
            questions_max: 16,
            cacertfile: None,
        }
    }
}

/// How a question is put.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Method {
    /// In the address.
    Get,
    /// In a form.
    Post,
}

/// How long answers are kept.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct CacheConfig {
    /// How long a yes is good for, in milliseconds; at least 1,000.
    pub cache_ttl: u64,
    /// Whether a no is good for as long; else for a second.
    pub cache_refusals: bool,
    /// Answers, at most.
    pub entries_max: usize,
}

impl Default for CacheConfig {
    fn default() -> Self {
        Self {
            cache_ttl: 15_000,
            cache_refusals: false,
            entries_max: 100_000,
        }
    }
}
