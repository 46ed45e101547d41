//! Tokens as an authorization server makes them.

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::TcpListener;
use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::rand::SystemRandom;
use ring::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair as _};
use serde_json::{Value, json};
use ternmq_broker::clock::{Clock as _, SystemClock};

/// The key that signs tokens.
pub struct Issuer {
    pair: EcdsaKeyPair,
    random: SystemRandom,
}

impl Issuer {
    /// With a new key.
    pub fn new() -> Self {
        let random = SystemRandom::new();
        let kind = &ECDSA_P256_SHA256_FIXED_SIGNING;
        let key = EcdsaKeyPair::generate_pkcs8(kind, &random).unwrap();
        let pair = EcdsaKeyPair::from_pkcs8(kind, key.as_ref(), &random).unwrap();
        Self { pair, random }
    }

    /// Writes the public key as a set of keys, in which it is called `k1`.
    pub fn write_keys(&self, directory: &Path) -> PathBuf {
        let path = directory.join("jwks.json");
        std::fs::write(&path, self.key_set()).unwrap();
        path
    }

    /// Serves that set, and says where it is, as an authorization server does, until the test ends. Returns its address.
    pub fn serve(&self) -> String {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = format!("http://{}", listener.local_addr().unwrap());
        let metadata = json!({"jwks_uri": format!("{address}/keys")}).to_string();
        let keys = self.key_set();
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let mut stream = stream.unwrap();
                let mut lines = BufReader::new(&stream).lines();
                let first = lines.next().unwrap().unwrap();
                let _rest = lines.find(|line| line.as_ref().unwrap().is_empty());
                let body = if first.contains("openid") {
                    &metadata
                } else {
                    &keys
                };
                let length = body.len();
                let head = "HTTP/1.1 200 OK\r\nconnection: close\r\n";
                let answer = format!("{head}content-length: {length}\r\n\r\n{body}");
                stream.write_all(answer.as_bytes()).unwrap();
            }
        });
        address
    }

    fn key_set(&self) -> String {
        let point = self.pair.public_key().as_ref();
        let part = |range: std::ops::Range<usize>| URL_SAFE_NO_PAD.encode(&point[range]);
        let (x, y) = (part(1..33), part(33..65));
        let key = json!({"kty": "EC", "crv": "P-256", "kid": "k1", "x": x, "y": y});
        json!({"keys": [key]}).to_string()
    }

    /// A token for `rabbitmq` of somebody with these scopes, and with these claims besides or instead.
    pub fn token(&self, scopes: &[&str], more: Value) -> String {
        let scopes: Vec<String> = scopes.iter().map(|s| format!("rabbitmq.{s}")).collect();
        let mut claims = json!({
            "sub": "ann",
            "aud": ["rabbitmq"],
            "scope": scopes,
            "exp": now_s() + 3_600,
        });
        if let Value::Object(more) = more {
            claims.as_object_mut().unwrap().extend(more);
        }
        let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
        let head = json!({"alg": "ES256", "kid": "k1"});
        let text = format!("{}.{}", part(&head), part(&claims));
        let signature = self.pair.sign(&self.random, text.as_bytes()).unwrap();
        format!("{text}.{}", URL_SAFE_NO_PAD.encode(signature))
    }
}

/// Seconds since the Unix epoch.
pub fn now_s() -> u64 {
    SystemClock::new().now().0 / 1_000
}
