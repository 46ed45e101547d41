//! Users whom the broker does not keep itself: whoever shows a token that an authorization server signed.
//!
//! It implements [`ternmq_broker::Backend`] and knows neither sockets nor protocols: a token is a password to whoever
//! hands it in. What a token allows is decided when it is shown, and asked of [`ternmq_broker::Rights`] from then on.
//!
//! | what | where |
//! |---|---|
//! | who is asked, in which order | `config.rs` |
//! | tokens: signature, claims, the user they make | `oauth2/mod.rs`, `oauth2/token.rs` |
//! | keys that sign them | `oauth2/keys.rs`, `oauth2/pem.rs`, `oauth2/jwk.rs`, `oauth2/algorithm.rs` |
//! | scopes: where a token has them, what they allow | `oauth2/scopes.rs`, `oauth2/details.rs`, `oauth2/rights.rs` |
//!
//! Where to start: `oauth2/mod.rs`.

pub mod config;
pub mod oauth2;

pub use config::{AuthConfig, BackendName, Step};
pub use oauth2::{OAuth2, OAuth2Error};
