//! A node with the API, and somebody who asks.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

use axum::body::{Body, to_bytes};
use axum::http::{HeaderMap, Request, StatusCode, header};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use ternmq_broker::clock::ManualClock;
use ternmq_broker::mailbox::Mailbox;
use ternmq_broker::{Broker, BrokerConfig, Client, MemoryLog};
use ternmq_core::id::Timestamp;
use ternmq_manage::aside::in_place;
use ternmq_manage::{Api, Listening, Manage, ManageConfig, NodeFacts};
use ternmq_net::timers::Ticker as _;
use tokio::runtime::{Builder, Runtime};

pub(crate) const START: Timestamp = Timestamp(1_800_000_000_000);
pub(crate) const NODE: &str = "ternmq@test";

/// See the module's documentation.
pub(crate) struct Node {
    pub(crate) broker: Broker,
    pub(crate) clock: Arc<ManualClock>,
    pub(crate) manage: Arc<Manage>,
    api: Api,
    runtime: Runtime,
}

/// What came back.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Value,
}

impl Answer {
    /// The status, which is to be this one; the body.
    #[track_caller]
    pub(crate) fn expect(self, status: u16) -> Value {
        assert_eq!(self.status.as_u16(), status, "{:?}", self.body);
        self.body
    }

    /// A fault of that kind, with that reason.
    #[track_caller]
    pub(crate) fn expect_fault(self, status: u16, error: &str, reason: &str) {
        let body = json!({"error": error, "reason": reason});
        assert_eq!((self.status.as_u16(), self.body), (status, body));
    }

    #[track_caller]
    pub(crate) fn expect_bad_request(self, reason: &str) {
        self.expect_fault(400, "bad_request", reason);
    }

    #[track_caller]
    pub(crate) fn expect_not_found(self) {
        self.expect_fault(404, "Object Not Found", "Not Found");
    }

    #[track_caller]
    pub(crate) fn expect_not_authorised(self, reason: &str) {
        self.expect_fault(401, "not_authorised", reason);
    }

    #[track_caller]
    pub(crate) fn expect_login_failed(self) {
        self.expect_fault(401, "not_authorized", "Login failed");
    }
}

impl Node {
    pub(crate) fn new() -> Self {
        Self::with_config(ManageConfig::default())
    }

    pub(crate) fn with_config(config: ManageConfig) -> Self {
        let clock = Arc::new(ManualClock::new(START));
        let log = Arc::new(MemoryLog::new());
        let broker = Broker::new(&BrokerConfig::default(), clock.clone(), log);
        let facts = NodeFacts {
            name: NODE.into(),
            started_at: START,
            data_dir: "/".into(),
            config_files: Vec::new(),
            memory_high_bytes: 1 << 30,
            disk_free_low_bytes: 1 << 20,
            connections_max: 1_000,
            threads_max: 10_000,
        };
        let manage = Manage::new(broker.clone(), config, facts, in_place);
        let listening = |protocol, port| Listening {
            protocol,
            addr: (Ipv4Addr::LOCALHOST, port).into(),
            tls: false,
        };
        manage.set_listening(vec![listening("amqp", 5672), listening("http", 15672)]);
        Self {
            broker,
            clock,
            api: Api::new(&manage),
            manage,
            runtime: Builder::new_current_thread().enable_time().build().unwrap(),
        }
    }

    /// Sends a request as it is.
    pub(crate) fn send(&self, request: Request<Body>, from: IpAddr) -> Answer {
        let answer = async {
            let response = self.api.clone().answer(request, from).await.unwrap();
            let (parts, body) = response.into_parts();
            let bytes = to_bytes(body, usize::MAX).await.unwrap();
            Answer {
                status: parts.status,
                headers: parts.headers,
                body: if bytes.is_empty() {
                    Value::Null
                } else {
                    serde_json::from_slice(&bytes).unwrap()
                },
            }
        };
        self.runtime.block_on(answer)
    }

    /// Asks as somebody with the password `secret`, or as `guest`.
    pub(crate) fn ask_as(
        &self,
        user: &str,
        method: &str,
        path: &str,
        body: impl Into<Body>,
    ) -> Answer {
        let password = if user == "guest" { "guest" } else { "secret" };
        let basic = format!("Basic {}", STANDARD.encode(format!("{user}:{password}")));
        let request = Request::builder()
            .method(method)
            .uri(format!("/api{path}"))
            .header(header::AUTHORIZATION, basic)
            .body(body.into())
            .unwrap();
        self.send(request, IpAddr::V4(Ipv4Addr::LOCALHOST))
    }

    pub(crate) fn get(&self, path: &str) -> Answer {
        self.ask_as("guest", "GET", path, Body::empty())
    }

    pub(crate) fn delete(&self, path: &str) -> Answer {
        self.ask_as("guest", "DELETE", path, Body::empty())
    }

    pub(crate) fn put(&self, path: &str, body: &Value) -> Answer {
        self.ask_as("guest", "PUT", path, body.to_string())
    }

    pub(crate) fn post(&self, path: &str, body: &Value) -> Answer {
        self.ask_as("guest", "POST", path, body.to_string())
    }

    /// A user with these tags and the password `secret`.
    pub(crate) fn user(&self, name: &str, tags: &str) {
        let body = json!({"password": "secret", "tags": tags});
        self.put(&format!("/users/{name}"), &body).expect(201);
    }

    /// A client of the broker that is `guest`.
    pub(crate) fn client(&self) -> Client {
        let from = IpAddr::V4(Ipv4Addr::LOCALHOST);
        let user = self.broker.login("guest", b"guest", from).unwrap();
        self.broker.connect(&user, "/", Mailbox::new(100)).unwrap()
    }

    /// Lets time pass, and the API look at the counters.
    pub(crate) fn pass_s(&self, seconds: u64) {
        let now = self.clock.advance_ms(seconds * 1000);
        self.manage.tick(now);
    }
}
