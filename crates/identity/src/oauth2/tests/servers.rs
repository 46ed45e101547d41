//! Brokers with several names, and several authorization servers.

use super::super::config::{OAuthProvider, ResourceServer};
use super::*;

/// Names `one` and `two` beside `rabbitmq`, the second with rules and a key of its own.
fn several(directory: &Path) -> OAuth2Config {
    let file = directory.join("other.json");
    let k = URL_SAFE_NO_PAD.encode(b"other secret");
    std::fs::write(&file, json!({"kty": "oct", "k": k}).to_string()).unwrap();
    let keys = KeysConfig {
        default_key: Some("other".into()),
        ..with_key("other", file)
    };
    let named = |id: &str| ResourceServer {
        id: id.into(),
        ..ResourceServer::default()
    };
    OAuth2Config {
        preferred_username_claims: vec!["email".into()],
        oauth_providers: vec![OAuthProvider {
            id: "theirs".into(),
            keys,
        }],
        resource_servers: vec![
            named("one"),
            ResourceServer {
                scope_prefix: Some("second:".into()),
                preferred_username_claims: Some(vec!["nick".into()]),
                additional_scopes_key: Some("roles".into()),
                oauth_provider_id: Some("theirs".into()),
                ..named("two")
            },
        ],
        ..configured(directory)
    }
}

fn shown(
    adjust: impl FnOnce(&mut OAuth2Config),
    secret: &[u8],
    more: Value,
) -> Result<User, TokenError> {
    let directory = tempfile::tempdir().unwrap();
    let mut config = several(directory.path());
    adjust(&mut config);
    let token = signed_with(secret, &claims(more));
    user_of(&load(&config).unwrap(), token.as_bytes())
}

#[test]
fn each_name_has_its_rules_and_those_of_the_first_besides() {
    let more = |aud: &str| {
        json!({"aud": aud, "email": "a@x", "nick": "annie",
        "scope": format!("{aud}.tag:monitoring second:tag:management"), "roles": "second:tag:policymaker"})
    };
    let user = |aud: &str, secret: &[u8]| shown(as_configured, secret, more(aud)).unwrap();
    for aud in ["rabbitmq", "one"] {
        let user = user(aud, SECRET);
        assert_eq!(user.name(), "a@x");
        assert_eq!(user.tags(), [Box::from("monitoring")], "{aud}");
    }
    let user = user("two", b"other secret");
    assert_eq!(user.name(), "annie");
    let tags: Vec<&str> = user.tags().iter().map(|tag| &**tag).collect();
    assert_eq!(tags, ["management", "policymaker"]);
}

#[test]
fn keys_of_one_authorization_server_are_nothing_to_another() {
    for (aud, secret) in [("two", SECRET), ("one", b"other secret".as_slice())] {
        let refused = shown(as_configured, secret, json!({"aud": aud}));
        assert_eq!(refused.err(), Some(TokenError::Signature), "{aud}");
    }
    let theirs = |config: &mut OAuth2Config| config.default_oauth_provider = Some("theirs".into());
    assert!(shown(theirs, b"other secret", json!({"aud": "one"})).is_ok());
}

#[test]
fn token_is_for_one_name_only() {
    let refused = |aud: Value| shown(as_configured, SECRET, json!({"aud": aud})).err();
    for aud in [json!(["rabbitmq", "one"]), json!("one rabbitmq")] {
        assert!(
            matches!(refused(aud.clone()), Some(TokenError::Ambiguous(_))),
            "{aud}"
        );
    }
    assert!(matches!(
        refused(json!("three")),
        Some(TokenError::Audience(_))
    ));
}

#[test]
fn token_for_nobody_is_for_the_only_name_that_does_not_ask() {
    let lax = |index: usize| {
        move |config: &mut OAuth2Config| config.resource_servers[index].verify_aud = Some(false)
    };
    for aud in [json!("three"), json!(null)] {
        let more = json!({"aud": aud});
        assert!(shown(lax(0), SECRET, more.clone()).is_ok());
        let all = |config: &mut OAuth2Config| config.verify_aud = false;
        let error = shown(all, SECRET, more).err();
        assert!(matches!(error, Some(TokenError::Audience(_))), "{error:?}");
    }
    // One that is named is taken, whoever else does not ask.
    let error = shown(lax(1), SECRET, json!({"aud": "two"})).err();
    assert_eq!(error, Some(TokenError::Signature));
}

#[test]
fn names_have_letters_and_are_there_once() {
    let refused = |adjust: fn(&mut OAuth2Config)| {
        let directory = tempfile::tempdir().unwrap();
        let mut config = several(directory.path());
        adjust(&mut config);
        load(&config).unwrap_err().to_string()
    };
    for (error, expected) in [
        (refused(|c| c.resource_servers[0].id.clear()), "\"\""),
        (refused(|c| c.resource_servers[0].id = "two".into()), "two"),
        (
            refused(|c| c.resource_servers[1].id = "rabbitmq".into()),
            "rabbitmq",
        ),
        (refused(|c| c.oauth_providers[0].id.clear()), "\"\""),
        (
            refused(|c| c.oauth_providers.push(c.oauth_providers[0].clone())),
            "theirs",
        ),
        (
            refused(|c| c.resource_servers[0].oauth_provider_id = Some("ours".into())),
            "ours",
        ),
    ] {
        assert!(error.contains(expected), "{error}");
    }
    // The first name is not needed, nor a key that nobody uses.
    let directory = tempfile::tempdir().unwrap();
    let mut config = several(directory.path());
    config.resource_server_id.clear();
    config.keys = KeysConfig::default();
    config.resource_servers.remove(0);
    assert!(load(&config).is_ok());
}
