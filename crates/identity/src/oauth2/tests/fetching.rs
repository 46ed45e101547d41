//! Keys that are fetched, from a server that answers when the test says so.

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::task::Wake;
use std::thread;
use std::time::Duration;

use ternmq_broker::clock::ManualClock;

use super::super::remote::{AGE_MS_MAX, REST_MS};
use super::*;

/// More than any test makes.
const CALLS_MAX: usize = 64;

/// How long a test waits for what has to come.
const PATIENCE: Duration = Duration::from_secs(30);

/// An authorization server. Every request is handed to the test, which answers it.
struct Server {
    addr: SocketAddr,
    requests: Receiver<(String, TcpStream)>,
}

impl Server {
    fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let addr = listener.local_addr().unwrap();
        let (sender, requests) = sync_channel(CALLS_MAX);
        // It ends with the test's process.
        thread::spawn(move || {
            for stream in listener.incoming() {
                let stream = stream.unwrap();
                let mut lines = BufReader::new(&stream).lines();
                let Some(Ok(first)) = lines.next() else {
                    continue;
                };
                while lines.next().is_some_and(|line| !line.unwrap().is_empty()) {}
                let path = first.split(' ').nth(1).unwrap().to_owned();
                if sender.send((path, stream)).is_err() {
                    return;
                }
            }
        });
        Self { addr, requests }
    }

    /// Waits for a request, which has to be for that, and answers it.
    fn answer(&self, path: &str, status: u16, body: &str) {
        let (asked, mut stream) = self.requests.recv_timeout(PATIENCE).unwrap();
        assert_eq!(asked, path);
        let length = body.len();
        let head = format!("HTTP/1.1 {status} x\r\nconnection: close\r\n");
        write!(stream, "{head}content-length: {length}\r\n\r\n{body}").unwrap();
    }

    fn has_request(&self) -> bool {
        self.requests.try_recv().is_ok()
    }

    fn keys_config(&self) -> KeysConfig {
        KeysConfig {
            jwks_uri: Some(format!("http://{}/keys", self.addr)),
            ..KeysConfig::default()
        }
    }
}

/// Says when it is called.
struct Called(SyncSender<()>);

impl Wake for Called {
    fn wake(self: Arc<Self>) {
        let _ = self.0.send(());
    }
}

/// Somebody who logs in and waits for it, if need be.
struct Client {
    waker: Waker,
    called: Receiver<()>,
}

impl Client {
    fn new() -> Self {
        let (sender, called) = sync_channel(CALLS_MAX);
        Self {
            waker: Waker::from(Arc::new(Called(sender))),
            called,
        }
    }

    fn try_login(&self, oauth2: &OAuth2, token: &str, now: Timestamp) -> Result<(), LoginRefusal> {
        let attempt = Attempt {
            waker: Some(&self.waker),
            ..Attempt::new("", token.as_bytes(), HOME)
        };
        oauth2.login(&attempt, now).map(|_| ())
    }

    fn wait(&self) {
        self.called.recv_timeout(PATIENCE).unwrap();
    }
}

fn started(keys: KeysConfig) -> OAuth2 {
    let config = OAuth2Config {
        resource_server_id: "rabbitmq".into(),
        keys,
        ..OAuth2Config::default()
    };
    let oauth2 = load(&config).unwrap();
    let clock: Arc<dyn Clock> = Arc::new(ManualClock::new(NOW));
    oauth2.start(&clock).unwrap();
    oauth2
}

/// A token that names its key, which is the name's own bytes.
fn token_by(kid: &str) -> String {
    let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
    let claims = claims(json!({"exp": NOW_S * 2}));
    let text = format!(
        "{}.{}",
        part(&json!({"alg": "HS256", "kid": kid})),
        part(&claims)
    );
    let key = hmac::Key::new(hmac::HMAC_SHA256, kid.as_bytes());
    let signature = URL_SAFE_NO_PAD.encode(hmac::sign(&key, text.as_bytes()));
    format!("{text}.{signature}")
}

/// A set of such keys.
fn key_set(kids: &[&str]) -> String {
    let key = |kid: &&str| json!({"kty": "oct", "kid": kid, "k": URL_SAFE_NO_PAD.encode(kid)});
    let keys: Vec<Value> = kids.iter().map(key).collect();
    json!({"keys": keys}).to_string()
}

const REFUSED: Result<(), LoginRefusal> = Err(LoginRefusal::BadCredentials);
const UNDECIDED: Result<(), LoginRefusal> = Err(LoginRefusal::Undecided);

#[test]
fn who_logs_in_while_keys_are_fetched_waits_for_them() {
    let server = Server::start();
    let oauth2 = started(server.keys_config());
    let clients = [Client::new(), Client::new()];
    for client in &clients {
        assert_eq!(client.try_login(&oauth2, &token_by("a"), NOW), UNDECIDED);
    }
    server.answer("/keys", 200, &key_set(&["a", "b"]));
    for client in &clients {
        client.wait();
        assert_eq!(client.try_login(&oauth2, &token_by("a"), NOW), Ok(()));
        assert_eq!(client.try_login(&oauth2, &token_by("b"), NOW), Ok(()));
    }
    assert!(!server.has_request(), "keys are fetched once for all");
}

#[test]
fn issuer_says_where_its_keys_are() {
    let server = Server::start();
    let oauth2 = started(KeysConfig {
        issuer: Some(format!("http://{}/realm", server.addr)),
        ..KeysConfig::default()
    });
    let client = Client::new();
    assert_eq!(client.try_login(&oauth2, &token_by("a"), NOW), UNDECIDED);
    let keys = format!("http://{}/other/place", server.addr);
    let metadata = json!({"jwks_uri": keys}).to_string();
    server.answer("/realm/.well-known/openid-configuration", 200, &metadata);
    server.answer("/other/place", 200, &key_set(&["a"]));
    client.wait();
    assert_eq!(client.try_login(&oauth2, &token_by("a"), NOW), Ok(()));
}

/// A broker that has fetched the keys of these names at [`NOW`].
fn fetched(server: &Server, kids: &[&str]) -> (OAuth2, Client) {
    let oauth2 = started(server.keys_config());
    let client = Client::new();
    assert_eq!(client.try_login(&oauth2, &token_by("?"), NOW), UNDECIDED);
    server.answer("/keys", 200, &key_set(kids));
    client.wait();
    (oauth2, client)
}

#[test]
fn keys_that_are_not_known_are_asked_for_now_and_then() {
    let server = Server::start();
    let (oauth2, client) = fetched(&server, &["a"]);
    let new = token_by("new");
    let early = NOW.plus_ms(REST_MS - 1);
    assert_eq!(client.try_login(&oauth2, &new, early), REFUSED);
    assert!(!server.has_request());
    let later = NOW.plus_ms(REST_MS);
    assert_eq!(client.try_login(&oauth2, &new, later), UNDECIDED);
    server.answer("/keys", 200, &key_set(&["a", "new"]));
    client.wait();
    assert_eq!(client.try_login(&oauth2, &new, later), Ok(()));
    // There may be none of that name.
    assert_eq!(client.try_login(&oauth2, &token_by("x"), later), REFUSED);
}

#[test]
fn keys_stay_while_the_server_does_not_answer() {
    let server = Server::start();
    let (oauth2, client) = fetched(&server, &["a"]);
    let mut now = NOW;
    for (status, body) in [
        (503, ""),
        (200, "no keys"),
        (200, "{\"keys\":[]}"),
        (302, ""),
    ] {
        now = now.plus_ms(REST_MS);
        let new = token_by("new");
        assert_eq!(client.try_login(&oauth2, &new, now), UNDECIDED);
        server.answer("/keys", status, body);
        client.wait();
        assert_eq!(client.try_login(&oauth2, &new, now), REFUSED);
        assert_eq!(client.try_login(&oauth2, &token_by("a"), now), Ok(()));
    }
}

#[test]
fn withdrawn_keys_are_forgotten_though_others_know_them() {
    let server = Server::start();
    let (oauth2, client) = fetched(&server, &["a", "b"]);
    let old = NOW.plus_ms(AGE_MS_MAX);
    let young = NOW.plus_ms(AGE_MS_MAX - 1);
    assert_eq!(client.try_login(&oauth2, &token_by("a"), young), Ok(()));
    assert!(!server.has_request());
    assert_eq!(
        client.try_login(&oauth2, &token_by("a"), old),
        Ok(()),
        "nobody waits"
    );
    // Who has to wait now, waits for the fetch that has begun.
    assert_eq!(client.try_login(&oauth2, &token_by("?"), old), UNDECIDED);
    server.answer("/keys", 200, &key_set(&["b"]));
    client.wait();
    assert_eq!(client.try_login(&oauth2, &token_by("a"), old), REFUSED);
    assert_eq!(client.try_login(&oauth2, &token_by("b"), old), Ok(()));
}

#[test]
fn who_cannot_come_back_waits_in_its_thread() {
    let server = Server::start();
    let (oauth2, _) = fetched(&server, &["a"]);
    let later = NOW.plus_ms(REST_MS);
    let first = oauth2.login(&Attempt::new("", token_by("a").as_bytes(), HOME), later);
    let user = first.unwrap();
    let authority = token_of(&oauth2, &token_by("a"), later);
    let renewing =
        thread::spawn(move || Arc::new(authority).renew(&user, token_by("new").as_bytes(), later));
    server.answer("/keys", 200, &key_set(&["new"]));
    let renewed = renewing.join().unwrap();
    assert_eq!(renewed.unwrap().name(), "ann");
}

/// What a login is by.
fn token_of(oauth2: &OAuth2, token: &str, now: Timestamp) -> Token {
    let token = Unchecked::read(token.as_bytes()).unwrap();
    let shared = oauth2.shared.clone();
    let id = token.key_id(None).unwrap();
    let provider = &shared.servers[0].provider;
    let key = shared.key_of(provider, id, now, Patience::Thread).unwrap();
    let claims = token.verify(Algorithm::Hs256, &key).unwrap();
    Token {
        shared: oauth2.shared.clone(),
        scopes: Vec::new(),
        claims,
    }
}

#[test]
fn keys_are_fetched_again_when_an_operator_says_so() {
    let server = Server::start();
    let (oauth2, client) = fetched(&server, &["a"]);
    oauth2.reload();
    assert_eq!(client.try_login(&oauth2, &token_by("new"), NOW), UNDECIDED);
    server.answer("/keys", 200, &key_set(&["new"]));
    client.wait();
    assert_eq!(client.try_login(&oauth2, &token_by("new"), NOW), Ok(()));
}

#[test]
fn nobody_waits_for_keys_that_nobody_fetches_any_more() {
    let server = Server::start();
    let oauth2 = started(server.keys_config());
    let client = Client::new();
    assert_eq!(client.try_login(&oauth2, &token_by("a"), NOW), UNDECIDED);
    drop(oauth2);
    client.wait();
}
