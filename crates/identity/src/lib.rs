//! Users whom the broker does not keep itself: whoever shows a token that an authorization server signed, and whom an HTTP
//! server knows.
//!
//! It implements [`ternmq_broker::Backend`] and knows no protocol that clients speak: a token is a password to whoever
//! hands it in. What a token allows is decided when it is shown, and asked of [`ternmq_broker::Rights`] from then on.
//!
//! | what | where |
//! |---|---|
//! | who is asked, in which order | `config.rs` |
//! | tokens: signature, claims, the user they make | `oauth2/mod.rs`, `oauth2/token.rs` |
//! | whom a token is for: the names that the broker has | `oauth2/server.rs` |
//! | keys that sign them | `oauth2/provider.rs`, `oauth2/keys.rs`, `oauth2/pem.rs`, `oauth2/jwk.rs`, `oauth2/algorithm.rs` |
//! | keys that are fetched | `oauth2/remote.rs`, `oauth2/fetch.rs` |
//! | scopes: where a token has them, what they allow | `oauth2/scopes.rs`, `oauth2/details.rs`, `oauth2/rights.rs` |
//!
//! | the HTTP server that is asked: who waits for answers, and who asks | `http/mod.rs`, `http/desk.rs`, `http/clerk.rs` |
//! | what it is asked, and its answers | `http/question.rs` |
//!
//! Its threads are called `ternmq-asks`, `auth.http.questions_max` of them if the server is asked at all, and `ternmq-keys`,
//! one for each place that keys are fetched from; they wait for questions and for the server, and nothing waits for them but
//! who wants to. It has four locks, each held for memory work only, and none while another is taken: the desk's, a bell's,
//! the look at files of keys, and who wants keys.
//!
//! Where to start: `oauth2/mod.rs`, `http/mod.rs`.

mod aside;
mod client;
pub mod config;
pub mod http;
pub mod oauth2;

pub use client::AuthoritiesError;
pub use config::{AuthConfig, BackendName, Step};
pub use http::{Http, HttpError};
pub use oauth2::{OAuth2, OAuth2Error};
pub use ternmq_broker::aside::Aside;
