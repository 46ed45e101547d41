//! Tokens of `golden.json`, signed by another implementation, and tokens made here with a symmetric key.

use std::net::{IpAddr, Ipv4Addr};
use std::path::Path;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::hmac;
use serde_json::{Value, json};
use ternmq_broker::{Authority as _, Rights, Scene};
use ternmq_core::access::Right;
use ternmq_core::error::Kind;

use super::config::{KeysConfig, ScopeAlias, SigningKey};
use super::keys::KeyRing;
use super::*;

mod authorities;
mod fetching;
mod servers;

const NOW_S: u64 = 1_800_000_000;
const NOW: Timestamp = Timestamp(NOW_S * 1_000);
const SECRET: &[u8] = b"secret";
const HOME: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

fn golden() -> Value {
    serde_json::from_str(include_str!("tests/golden.json")).unwrap()
}

/// A configuration with one symmetric key, in a directory that has to live as long.
fn configured(directory: &Path) -> OAuth2Config {
    let file = directory.join("key.json");
    let k = URL_SAFE_NO_PAD.encode(SECRET);
    let key = json!({"kty": "oct", "k": k}).to_string();
    std::fs::write(&file, key).unwrap();
    OAuth2Config {
        resource_server_id: "rabbitmq".into(),
        keys: KeysConfig {
            default_key: Some("key".into()),
            ..with_key("key", file)
        },
        ..OAuth2Config::default()
    }
}

fn with_key(id: &str, file: PathBuf) -> KeysConfig {
    KeysConfig {
        signing_keys: vec![SigningKey {
            id: id.into(),
            file,
        }],
        ..KeysConfig::default()
    }
}

fn load(config: &OAuth2Config) -> Result<OAuth2, OAuth2Error> {
    OAuth2::load(config, |wait| wait())
}

/// What becomes of a token if nobody can be waited for.
fn user_of(oauth2: &OAuth2, token: &[u8]) -> Result<User, TokenError> {
    let patience = Patience::Waker(Waker::noop());
    oauth2.shared.clone().user_of(token, NOW, patience)
}

fn signed_with(secret: &[u8], claims: &Value) -> String {
    let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
    let text = format!("{}.{}", part(&json!({"alg": "HS256"})), part(claims));
    let key = hmac::Key::new(hmac::HMAC_SHA256, secret);
    let signature = URL_SAFE_NO_PAD.encode(hmac::sign(&key, text.as_bytes()));
    format!("{text}.{signature}")
}

/// Claims that let somebody in, with these besides or instead.
fn claims(more: Value) -> Value {
    let mut claims = json!({"sub": "ann", "aud": "rabbitmq", "exp": NOW_S + 60});
    let Value::Object(more) = more else {
        return claims;
    };
    claims.as_object_mut().unwrap().extend(more);
    claims
}

/// What becomes of a token with these claims.
fn shown(adjust: impl FnOnce(&mut OAuth2Config), more: Value) -> Result<User, TokenError> {
    let directory = tempfile::tempdir().unwrap();
    let mut config = configured(directory.path());
    adjust(&mut config);
    let token = signed_with(SECRET, &claims(more));
    user_of(&load(&config).unwrap(), token.as_bytes())
}

fn as_configured(_: &mut OAuth2Config) {}

/// The token of somebody with these scopes, and further claims.
fn token(adjust: impl FnOnce(&mut OAuth2Config), more: &Value) -> Token {
    let directory = tempfile::tempdir().unwrap();
    let mut config = configured(directory.path());
    adjust(&mut config);
    let shared = load(&config).unwrap().shared;
    let claims = claims(more.clone());
    let claims = claims.as_object().unwrap().clone();
    Token {
        scopes: scopes::of(&claims, &shared.servers[0]).unwrap(),
        claims,
        shared,
    }
}

fn rights(scopes: &[&str], vhost: &str) -> Option<Arc<dyn Rights>> {
    let scopes: Vec<String> = scopes.iter().map(|s| format!("rabbitmq.{s}")).collect();
    token(as_configured, &json!({"scope": scopes})).rights(&scene(vhost))
}

fn scene(vhost: &str) -> Scene<'_> {
    Scene {
        user: "ann",
        vhost,
        client_id: None,
    }
}

fn scopes_of(adjust: impl FnOnce(&mut OAuth2Config), more: &Value) -> Vec<String> {
    token(adjust, more).scopes
}

fn ring_of(directory: &Path) -> KeyRing {
    let file = directory.join("jwks.json");
    std::fs::write(&file, golden()["jwks"].to_string()).unwrap();
    let config = KeysConfig {
        jwks_file: Some(file),
        ..KeysConfig::default()
    };
    KeyRing::load(&config).unwrap()
}

/// The claims of a token that is signed with one of these keys.
fn verify(
    token: &[u8],
    ring: &KeyRing,
    default_key: Option<&str>,
    allowed: &[Algorithm],
) -> Result<token::Claims, TokenError> {
    let token = Unchecked::read(token)?;
    let algorithm = token.algorithm(allowed)?;
    let id = token.key_id(default_key)?;
    let key = ring.get(id).ok_or(TokenError::UnknownKey(id.to_owned()))?;
    let key = key.clone();
    token.verify(algorithm, &key)
}

fn verified(token: &Value, allowed: &[Algorithm]) -> Result<token::Claims, TokenError> {
    let directory = tempfile::tempdir().unwrap();
    let ring = ring_of(directory.path());
    verify(token.as_str().unwrap().as_bytes(), &ring, None, allowed)
}

#[test]
fn tokens_of_every_algorithm_are_verified() {
    let golden = golden();
    for (name, _) in Algorithm::ALL {
        let claims = verified(&golden["tokens"][name]["token"], &[]);
        assert_eq!(claims.unwrap()["sub"], "ann", "{name}");
    }
}

#[test]
fn no_byte_of_a_token_may_be_another() {
    let golden = golden();
    for name in ["RS256", "PS256", "ES256", "EdDSA", "HS256"] {
        let token = golden["tokens"][name]["token"].as_str().unwrap();
        let payload_at = token.find('.').unwrap() + 1;
        let signature_at = token.rfind('.').unwrap() + 1;
        for at in [payload_at + 2, signature_at + 2] {
            let mut bytes = token.as_bytes().to_vec();
            bytes[at] = if bytes[at] == b'A' { b'B' } else { b'A' };
            let forged = Value::from(String::from_utf8(bytes).unwrap());
            assert_eq!(verified(&forged, &[]), Err(TokenError::Signature), "{name}");
        }
        let cut = Value::from(&token[..signature_at]);
        assert_eq!(verified(&cut, &[]), Err(TokenError::Signature), "{name}");
    }
}

#[test]
fn public_key_is_no_secret_and_no_algorithm_is_none() {
    let golden = golden();
    let forged = verified(&golden["forged"], &[]);
    assert_eq!(forged, Err(TokenError::Signature));
    let unsigned = verified(&golden["none"], &[]);
    assert_eq!(unsigned, Err(TokenError::Algorithm("none".into())));
    let critical = verified(&golden["critical"], &[]);
    assert_eq!(critical, Err(TokenError::Critical), "RFC 7515 §4.1.11");
}

#[test]
fn only_allowed_algorithms_are_used() {
    let golden = golden();
    let allowed = [Algorithm::Rs512, Algorithm::Es256];
    for (name, algorithm) in Algorithm::ALL {
        let got = verified(&golden["tokens"][name]["token"], &allowed);
        if allowed.contains(&algorithm) {
            assert!(got.is_ok(), "{name}");
        } else {
            assert_eq!(got, Err(TokenError::Algorithm(name.into())));
        }
    }
}

#[test]
fn keys_in_files_of_their_own_verify_as_well() {
    let golden = golden();
    let directory = tempfile::tempdir().unwrap();
    for (pem, token) in [
        ("rsa", "RS256"),
        ("pkcs1", "RS256"),
        ("certificate", "PS512"),
        ("p256", "ES256"),
        ("p384", "ES384"),
        ("ed", "EdDSA"),
    ] {
        let file = directory.path().join(pem);
        std::fs::write(&file, golden["pem"][pem].as_str().unwrap()).unwrap();
        let token = &golden["tokens"][token];
        let config = with_key(token["kid"].as_str().unwrap(), file);
        let ring = KeyRing::load(&config).unwrap();
        let bytes = token["token"].as_str().unwrap().as_bytes();
        let claims = verify(bytes, &ring, None, &[]);
        assert_eq!(claims.unwrap()["sub"], "ann", "{pem}");
    }
}

#[test]
fn files_without_a_key_that_can_be_used_are_refused() {
    let golden = golden();
    let directory = tempfile::tempdir().unwrap();
    let text = |pem: &str| golden["pem"][pem].as_str().unwrap().to_owned();
    let cut = text("rsa").replace("-----END", "-----");
    let garbage = "-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n";
    for (text, expected) in [
        (text("small"), "2,048"),
        (text("private"), "neither a public key"),
        (cut, "does not end"),
        (garbage.to_owned(), "DER"),
        (String::new(), "neither"),
        ("{".to_owned(), "JSON"),
        (json!({"kty": "oct"}).to_string(), "`k`"),
        (json!({"kty": "oct", "k": ""}).to_string(), "`k`"),
        (
            json!({"kty": "EC", "crv": "P-521"}).to_string(),
            "kind of key",
        ),
        (
            json!({"kty": "EC", "crv": "P-256", "x": "AA", "y": "AA"}).to_string(),
            "`x`",
        ),
    ] {
        let file = directory.path().join("key");
        std::fs::write(&file, &text).unwrap();
        let error = KeyRing::load(&with_key("k", file)).unwrap_err().to_string();
        assert!(error.contains(expected), "{error}");
    }
}

#[test]
fn sets_of_keys_are_used_as_far_as_they_can_be() {
    let directory = tempfile::tempdir().unwrap();
    let ring = ring_of(directory.path());
    for id in [
        "rsa",
        "p256",
        "p384",
        "ed",
        "secret",
        "uaa-secret",
        "uaa-rsa",
    ] {
        assert!(ring.get(id).is_some(), "{id}");
    }
    for id in ["for-encryption", "p521"] {
        assert!(ring.get(id).is_none(), "{id}");
    }
}

#[test]
fn key_is_the_one_that_is_named_else_the_default() {
    let golden = golden();
    let directory = tempfile::tempdir().unwrap();
    let ring = ring_of(directory.path());
    let nameless = golden["nameless"].as_str().unwrap().as_bytes();
    let by = |default| verify(nameless, &ring, default, &[]).map(|_| ());
    assert_eq!(by(None), Err(TokenError::NoKeyNamed));
    assert_eq!(by(Some("rsa")), Ok(()));
    assert_eq!(by(Some("p256")), Err(TokenError::Signature));
    let unknown = URL_SAFE_NO_PAD.encode(json!({"alg": "RS256", "kid": "x"}).to_string());
    let unknown = format!("{unknown}.e30.AAAA");
    let got = verify(unknown.as_bytes(), &ring, Some("rsa"), &[]);
    assert_eq!(got, Err(TokenError::UnknownKey("x".into())));
}

#[test]
fn what_cannot_be_checked_is_refused_at_start() {
    let directory = tempfile::tempdir().unwrap();
    let refused = |adjust: &dyn Fn(&mut OAuth2Config)| {
        let mut config = configured(directory.path());
        adjust(&mut config);
        load(&config).unwrap_err().to_string()
    };
    for (error, expected) in [
        (
            refused(&|c| c.resource_server_id.clear()),
            "resource_server_id",
        ),
        (
            refused(&|c| c.keys.algorithms = vec!["RS255".into()]),
            "RS255",
        ),
        (
            refused(&|c| c.keys.default_key = Some("other".into())),
            "other",
        ),
        (
            refused(&|c| c.keys.signing_keys[0].file = "/nowhere".into()),
            "/nowhere",
        ),
        (refused(&|c| c.keys.signing_keys.clear()), "jwks_file"),
        (
            refused(&|c| c.keys.jwks_uri = Some("http://id.example/keys".into())),
            "`jwks_uri`: \"http://id.example/keys\"",
        ),
        (
            refused(&|c| c.default_oauth_provider = Some("nobody".into())),
            "nobody",
        ),
    ] {
        assert!(error.contains(expected), "{error}");
    }
}

#[test]
fn passwords_are_no_tokens() {
    let directory = tempfile::tempdir().unwrap();
    let oauth2 = load(&configured(directory.path())).unwrap();
    for password in [
        "",
        "guest",
        "a.b",
        "a.b.c",
        "....",
        "e30.e30.",
        "\u{e4}.x.y",
    ] {
        let got = user_of(&oauth2, password.as_bytes());
        assert_eq!(got.err(), Some(TokenError::NotAToken), "{password:?}");
    }
    let long = vec![b'a'; TOKEN_BYTES_MAX + 1];
    let got = user_of(&oauth2, &long);
    assert_eq!(got.err(), Some(TokenError::NotAToken));
    let without = Attempt {
        password: None,
        ..Attempt::new("ann", b"", HOME)
    };
    let refused = oauth2.login(&without, NOW);
    assert_eq!(refused.err(), Some(LoginRefusal::BadCredentials));
}

#[test]
fn token_lets_in_whom_it_is_about_until_it_expires() {
    let user = shown(as_configured, json!({"exp": NOW_S + 1})).unwrap();
    assert_eq!(user.name(), "ann");
    assert_eq!(user.expires_at(), Some(NOW.plus_ms(1_000)));
    let expired = |exp: Value| shown(as_configured, json!({"exp": exp})).err();
    assert_eq!(expired(json!(NOW_S)), Some(TokenError::Expired));
    assert_eq!(expired(json!(-1)), Some(TokenError::Expired));
    assert_eq!(expired(json!(null)), Some(TokenError::NoExpiry));
    assert_eq!(expired(json!("tomorrow")), Some(TokenError::NoExpiry));
    let endless = |adjust: fn(&mut OAuth2Config)| {
        let mut without = claims(json!({}));
        without.as_object_mut().unwrap().remove("exp");
        let directory = tempfile::tempdir().unwrap();
        let mut config = configured(directory.path());
        adjust(&mut config);
        let token = signed_with(SECRET, &without);
        user_of(&load(&config).unwrap(), token.as_bytes())
    };
    assert_eq!(endless(as_configured).err(), Some(TokenError::NoExpiry));
    let user = endless(|config| config.require_exp = false).unwrap();
    assert_eq!(user.expires_at(), None);
    let early = |nbf: Value| shown(as_configured, json!({"nbf": nbf})).err();
    assert_eq!(early(json!(NOW_S + 60)), None, "clocks differ");
    assert_eq!(early(json!(NOW_S + 61)), Some(TokenError::NotYet));
    assert_eq!(early(json!("x")), Some(TokenError::NotYet));
}

#[test]
fn token_is_for_this_broker() {
    let refused = |aud: Value| shown(as_configured, json!({"aud": aud})).err();
    assert_eq!(refused(json!("rabbitmq")), None);
    assert_eq!(refused(json!(["other", "rabbitmq"])), None);
    assert_eq!(refused(json!("other rabbitmq")), None);
    for aud in [
        json!("other"),
        json!(["rabbitmq2"]),
        json!([]),
        json!(null),
        json!(1),
    ] {
        let error = refused(aud.clone());
        assert!(
            matches!(error, Some(TokenError::Audience(_))),
            "{aud}: {error:?}"
        );
    }
    let unchecked = |config: &mut OAuth2Config| config.verify_aud = false;
    assert!(shown(unchecked, json!({"aud": "other"})).is_ok());
}

#[test]
fn user_is_named_by_the_preferred_claim_that_there_is() {
    let name = |more: Value| {
        let preferred = |config: &mut OAuth2Config| {
            config.preferred_username_claims = vec!["user_name".into(), "email".into()];
        };
        shown(preferred, more).unwrap().name().to_owned()
    };
    assert_eq!(name(json!({})), "ann");
    assert_eq!(name(json!({"email": "a@x", "user_name": "bob"})), "bob");
    assert_eq!(name(json!({"email": "a@x", "user_name": 7})), "a@x");
    assert_eq!(name(json!({"sub": null, "client_id": "cli"})), "cli");
    assert_eq!(name(json!({"sub": null})), "unknown");
}

/// The examples of RabbitMQ's documentation.
#[test]
fn scopes_allow_what_rabbitmq_documents() {
    use Right::{Configure, Read, Write};
    for (scope, vhost, right, name, allowed) in [
        ("read:*/*", "any", Read, "q", true),
        ("read:*/*", "any", Write, "q", false),
        ("read:*/*", "any", Configure, "q", false),
        ("write:*/*", "/", Write, "amq.default", true),
        ("configure:%2F/foo", "/", Configure, "foo", true),
        ("configure:%2F/foo", "/", Configure, "foobar", false),
        ("read:vhost1/*", "vhost1", Read, "x", true),
        ("read:vhost1/some*", "vhost1", Read, "something", true),
        ("read:vhost1/some*", "vhost1", Read, "awesome", false),
        ("write:vhost1/some*/routing*", "vhost1", Write, "some", true),
        ("read:*/a%2Fb", "v", Read, "a/b", true),
        ("read:*/a%2Fb", "v", Read, "a", false),
    ] {
        let rights = rights(&[scope], vhost).unwrap();
        assert_eq!(
            rights.may(right, Kind::Queue, name),
            allowed,
            "{scope} {right:?} {name}"
        );
    }
    for (scope, vhost) in [
        ("read:vhost1/*", "vhost2"),
        ("read:vhost1", "vhost1"),
        ("read:a/b/c/d", "a"),
        ("delete:*/*", "v"),
        ("tag:administrator", "v"),
        ("read:%zz/*", "v"),
    ] {
        assert!(rights(&[scope], vhost).is_none(), "{scope}");
    }
}

#[test]
fn topics_need_a_scope_that_says_something_of_them() {
    use Right::{Read, Write};
    let scopes = ["write:v/some*/routing*", "read:*/*/*", "write:v/plain"];
    let rights = rights(&scopes, "v").unwrap();
    assert!(rights.may_on_topic(Write, "some", "routing.x"));
    assert!(!rights.may_on_topic(Write, "some", "other"));
    assert!(!rights.may_on_topic(Write, "other", "routing"));
    assert!(rights.may_on_topic(Read, "whatever", "a.b.c"));
    assert!(rights.may(Write, Kind::Exchange, "plain"));
    assert!(!rights.may_on_topic(Write, "plain", "x"));
}

#[test]
fn scopes_name_claims_and_the_vhost() {
    let scope = "rabbitmq.write:*/q-{vhost}-*/u-{sub}-*";
    let of = |vhost: &'static str, more: Value| {
        token(as_configured, &claims(more)).rights(&scene(vhost))
    };
    let rights = of("prod", json!({"scope": scope})).unwrap();
    assert!(rights.may_on_topic(Right::Write, "q-prod-1", "u-ann-1"));
    assert!(!rights.may_on_topic(Right::Write, "q-test-1", "u-ann-1"));
    assert!(!rights.may_on_topic(Right::Write, "q-prod-1", "u-bob-1"));
    let rights = of("/", json!({"scope": scope, "sub": "*"})).unwrap();
    assert!(rights.may_on_topic(Right::Write, "q-/-", "u-*-x"));
    assert!(
        !rights.may_on_topic(Right::Write, "q-/-", "u-ann-x"),
        "stands for itself"
    );
    let missing = json!({"scope": "rabbitmq.read:*/{team}"});
    assert!(of("v", missing).is_none());
    assert!(of("v", json!({"scope": "rabbitmq.read:*/{team"})).is_none());
}

#[test]
fn scopes_stand_in_a_text_or_a_list_behind_the_prefix() {
    let both = ["read:*/*", "write:*/*"];
    let text = json!({"scope": "rabbitmq.write:*/* openid rabbitmq.read:*/* rabbitmq.read:*/*"});
    assert_eq!(scopes_of(as_configured, &text), both);
    let list = json!({"scope": ["rabbitmq.read:*/*", "other.read:*/*", "rabbitmq.write:*/*", 7]});
    assert_eq!(scopes_of(as_configured, &list), both);
    let spaced = json!({"scope": ["rabbitmq.read:my vhost/*", "openid rabbitmq.read:*/*"]});
    assert_eq!(scopes_of(as_configured, &spaced), ["read:my vhost/*"]);
    let prefixed = |config: &mut OAuth2Config| config.scope_prefix = Some("api://".into());
    let api = json!({"scope": "api://read:*/* rabbitmq.write:*/*"});
    assert_eq!(scopes_of(prefixed, &api), ["read:*/*"]);
    let bare = |config: &mut OAuth2Config| config.scope_prefix = Some(String::new());
    assert_eq!(scopes_of(bare, &json!({"scope": "read:*/*"})), ["read:*/*"]);
    assert!(scopes_of(as_configured, &json!({})).is_empty());
}

#[test]
fn scopes_stand_in_further_claims() {
    let further = |config: &mut OAuth2Config| {
        config.additional_scopes_key = "roles realm.access.roles list.of".into();
    };
    let more = json!({
        "scope": "rabbitmq.read:a/*",
        "roles": {"rabbitmq": ["read:b/*"], "other": "read:no/*"},
        "realm": {"access": {"roles": "rabbitmq.read:c/*"}},
        "list": [{"of": ["rabbitmq.read:d/*"]}, {"of": "rabbitmq.read:e/*"}, 7],
        "authorization": {"permissions": [{"scopes": ["rabbitmq.read:f/*"]}, {"rsid": "x"}]},
    });
    let expected = ["a", "b", "c", "d", "e", "f"].map(|vhost| format!("read:{vhost}/*"));
    assert_eq!(scopes_of(further, &more), expected);
    assert_eq!(scopes_of(as_configured, &more), ["read:a/*", "read:f/*"]);
}

#[test]
fn aliases_stand_for_scopes_and_tags() {
    let aliased = |config: &mut OAuth2Config| {
        config.scope_aliases = vec![ScopeAlias {
            alias: "admin".into(),
            scope: "rabbitmq.tag:administrator rabbitmq.read:*/*".into(),
        }];
    };
    let user = shown(aliased, json!({"scope": ["admin"]})).unwrap();
    assert!(user.has_tag("administrator"));
    assert_eq!(user.tags().len(), 1);
    let scopes = scopes_of(aliased, &json!({"scope": "admin"}));
    assert_eq!(scopes, ["read:*/*", "tag:administrator"]);
}

/// The example of RabbitMQ's documentation.
#[test]
fn rich_authorization_details_are_scopes() {
    let finance = |config: &mut OAuth2Config| {
        config.resource_server_id = "finance".into();
        config.resource_server_type = "rabbitmq".into();
    };
    let more = json!({"authorization_details": [
        {"type": "rabbitmq", "locations": ["cluster:finance/vhost:primary-*"],
         "actions": ["read", "write", "configure", "delete"]},
        {"type": "rabbitmq", "locations": ["cluster:finance", "cluster:inventory"],
         "actions": ["administrator"]},
        {"type": "rabbitmq", "locations": "x/cluster:fin*/queue:q/routing-key:k", "actions": "read"},
        {"type": "rabbitmq", "locations": "cluster:finance/queue:q/exchange:e", "actions": "read"},
        {"type": "rabbitmq", "locations": "cluster:finance//queue:/vhost:/routing-key:r", "actions": "write"},
        {"type": "rabbitmq", "locations": "vhost:a/cluster:finance/vhost:b", "actions": "write"},
        {"type": "rabbitmq", "locations": "cluster:finance", "actions": ""},
        {"type": "rabbitmq", "locations": ["cluster:other", "vhost:v"], "actions": "read"},
        {"type": "other", "locations": "cluster:finance", "actions": "read"},
    ]});
    let expected = [
        "configure:primary-*/*/*",
        "read:*/q/k",
        "read:primary-*/*/*",
        "tag:administrator",
        "write:*/*/r",
        "write:b/*/*",
        "write:primary-*/*/*",
    ];
    assert_eq!(scopes_of(finance, &more), expected);
    let untyped = |config: &mut OAuth2Config| config.resource_server_id = "finance".into();
    assert!(scopes_of(untyped, &more).is_empty());
}

#[test]
fn scopes_at_the_limit_are_taken_and_one_more_is_not() {
    let many = |count: usize| {
        let all: Vec<String> = (0..count).map(|n| format!("rabbitmq.read:*/{n}")).collect();
        shown(as_configured, json!({"scope": all})).err()
    };
    assert_eq!(many(scopes::SCOPES_MAX), None);
    let refused = Some(TokenError::TooManyScopes(scopes::SCOPES_MAX));
    assert_eq!(many(scopes::SCOPES_MAX + 1), refused);
}

/// Of a machine that slept for an hour since the broker started.
struct Slept;

impl Clock for Slept {
    fn now(&self) -> Timestamp {
        NOW
    }

    fn wall(&self) -> Timestamp {
        NOW.plus_ms(3_600_000)
    }
}

#[test]
fn tokens_end_when_it_is_time_elsewhere() {
    let directory = tempfile::tempdir().unwrap();
    let oauth2 = load(&configured(directory.path())).unwrap();
    let clock: Arc<dyn Clock> = Arc::new(Slept);
    oauth2.start(&clock).unwrap();
    let login = |times: Value| {
        let token = signed_with(SECRET, &claims(times));
        let attempt = Attempt::new("", token.as_bytes(), HOME);
        oauth2
            .login(&attempt, NOW)
            .map(|user| user.expires_at().unwrap())
    };
    let refused = Err(LoginRefusal::BadCredentials);
    assert_eq!(login(json!({"exp": NOW_S + 3_599})), refused);
    let fresh = json!({"exp": NOW_S + 3_610, "nbf": NOW_S + 3_600});
    let as_the_broker_counts = NOW.plus_ms(10_000);
    assert_eq!(login(fresh), Ok(as_the_broker_counts));
}

#[test]
fn new_token_is_for_the_same_user() {
    let authority = Arc::new(token(as_configured, &json!({})));
    let user = User::new("ann", &[], authority.clone());
    let renew = |secret: &[u8], more: Value| {
        let secret = signed_with(secret, &claims(more));
        authority.clone().renew(&user, secret.as_bytes(), NOW)
    };
    let renewed = renew(
        SECRET,
        json!({"exp": NOW_S + 600, "scope": "rabbitmq.tag:monitoring"}),
    );
    let renewed = renewed.unwrap();
    assert_eq!(renewed.expires_at(), Some(NOW.plus_ms(600_000)));
    assert!(renewed.has_tag("monitoring"));
    for refused in [
        renew(b"other", json!({})),
        renew(SECRET, json!({"sub": "bob"})),
        renew(SECRET, json!({"exp": NOW_S - 1})),
    ] {
        assert_eq!(refused.err(), Some(LoginRefusal::BadCredentials));
    }
}

#[test]
fn changed_keys_are_read_once_they_stay_the_same() {
    let directory = tempfile::tempdir().unwrap();
    let oauth2 = load(&configured(directory.path())).unwrap();
    let token = signed_with(b"another secret", &claims(json!({})));
    let is_in = || user_of(&oauth2, token.as_bytes()).is_ok();
    oauth2.reload_if_changed();
    assert!(!is_in());
    let file = directory.path().join("key.json");
    std::fs::write(&file, "no key, and of another length").unwrap();
    oauth2.reload_if_changed();
    oauth2.reload_if_changed();
    assert!(!is_in());
    let old = signed_with(SECRET, &claims(json!({})));
    let stays = user_of(&oauth2, old.as_bytes());
    assert!(stays.is_ok(), "the old keys stay");
    let k = URL_SAFE_NO_PAD.encode("another secret");
    std::fs::write(&file, json!({"kty": "oct", "k": k}).to_string()).unwrap();
    oauth2.reload_if_changed();
    assert!(!is_in(), "it may still be written");
    oauth2.reload_if_changed();
    assert!(is_in());
}
