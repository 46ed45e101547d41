//! The client's side of the handshake: who it is, what it agrees to, where it goes.

use std::sync::Arc;

use amq_protocol::protocol::{AMQPClass, connection as method};
use ternmq_broker::inspect::{ConnectionInfo, Door, Protocol};
use ternmq_broker::{Attempt, ConnectRefusal, LoginRefusal, User};
use ternmq_core::id::Timestamp;
use ternmq_net::machine::Output;
use ternmq_net::tls::ClientCertificate;

use super::auth::{Claim, Offer};
use super::handshake::Capabilities;
use super::running::{Running, unexpected_method};
use super::{Connection, Introduction, Phase, auth, handshake};
use crate::config::Mechanism;
use crate::error::{Fault, Reply, misplaced_frame};
use crate::frame::{Frame, Method};
use crate::session::{Wire, to_headers, write_method};

impl Connection {
    pub(super) fn on_handshake_frame(
        &mut self,
        channel: u16,
        frame: Frame<'_>,
        now: Timestamp,
        out: &mut Output,
    ) -> Result<(), Fault> {
        match frame {
            Frame::Heartbeat if channel == 0 => Ok(()),
            Frame::Method(method) if channel == 0 => {
                let id = (method.class_id, method.method_id);
                self.on_handshake_method(method, now, out)
                    .map_err(|fault| fault.in_method(id))
            }
            Frame::Heartbeat => Err(misplaced_frame(8, &[])),
            Frame::Header(_) => Err(misplaced_frame(2, &[])),
            Frame::Body(body) => Err(misplaced_frame(3, body)),
            _ => Err(unexpected_method(self.phase.name())),
        }
    }

    fn on_handshake_method(
        &mut self,
        method: Method,
        now: Timestamp,
        out: &mut Output,
    ) -> Result<(), Fault> {
        use method::AMQPMethod as Said;
        let AMQPClass::Connection(said) = *method.class else {
            return Err(unexpected_method(self.phase.name()));
        };
        match (said, &self.phase) {
            (Said::StartOk(start_ok), Phase::StartOk) => self.on_start_ok(&start_ok, now, out),
            (Said::TuneOk(tune_ok), Phase::TuneOk(user)) => {
                handshake::check_tune_ok(&tune_ok, &self.config)?;
                self.liveness.set_interval_s(tune_ok.heartbeat);
                self.phase = Phase::Open(Arc::clone(user), tune_ok);
                Ok(())
            }
            (Said::Open(open), Phase::Open(user, tune_ok)) => {
                let (user, tune_ok) = (Arc::clone(user), tune_ok.clone());
                self.on_open(open.virtual_host.as_str(), (&user, &tune_ok), now, out)
            }
            (Said::Close(_), _) => {
                self.close_for_peer(now, out);
                Ok(())
            }
            _ => Err(unexpected_method(self.phase.name())),
        }
    }

    fn on_start_ok(
        &mut self,
        start_ok: &method::StartOk,
        now: Timestamp,
        out: &mut Output,
    ) -> Result<(), Fault> {
        self.capabilities = Capabilities::from_client_properties(&start_ok.client_properties);
        let mechanism = start_ok.mechanism.as_str();
        self.introduction = Some(Box::new(Introduction {
            client_properties: to_headers(&start_ok.client_properties),
            mechanism: mechanism.into(),
        }));
        let claim = auth::claim(mechanism, start_ok.response.as_bytes(), self.offer())?;
        let (name, login) = match claim {
            Claim::Password { user, password } => {
                (user.to_owned(), self.log_in(user, Some(password)))
            }
            Claim::Certificate => self.log_holder_in(),
            Claim::Anonymous => {
                let name = self.broker.default_user().name().to_owned();
                let login = self.log_in(&name, None);
                (name, login)
            }
        };
        match login {
            Ok(user) => {
                self.broker.count_login(Door::Amqp091, true);
                write_method(0, &handshake::tune(&self.config), out);
                self.phase = Phase::TuneOk(user);
            }
            Err(LoginRefusal::Undecided) => self.is_waiting = true,
            Err(refusal) => {
                self.broker.count_login(Door::Amqp091, false);
                let peer = self.peer.addr;
                tracing::warn!(%peer, user = name, mechanism, error = %refusal, "login refused");
                self.refuse_login(mechanism, now, out);
            }
        }
        Ok(())
    }

    /// Whether that user is let in: by a password or, without one, because something else vouches for it.
    fn log_in(&self, user: &str, password: Option<&[u8]>) -> Result<Arc<User>, LoginRefusal> {
        let waker = self.mailbox.waker();
        self.broker.log_in(&Attempt {
            password,
            waker: Some(&waker),
            ..Attempt::vouched(user, self.peer.addr.ip())
        })
    }

    /// How the peer may log in.
    pub(super) fn offer(&self) -> Offer {
        let may = |mechanism| self.config.mechanisms.contains(&mechanism);
        Offer {
            plain: may(Mechanism::Plain),
            amqplain: may(Mechanism::AmqPlain),
            external: may(Mechanism::External) && self.certificate().is_some(),
            anonymous: self.config.anonymous,
        }
    }

    /// What the client has shown and the listener verified.
    fn certificate(&self) -> Option<&ClientCertificate> {
        self.peer.tls.as_ref()?.certificate.as_ref()
    }

    /// Lets in whom the certificate names.
    fn log_holder_in(&self) -> (String, Result<Arc<User>, LoginRefusal>) {
        let part = self.config.certificate_holder();
        let Some(name) = self.certificate().and_then(|shown| part.of(shown)) else {
            return (String::new(), Err(LoginRefusal::BadCredentials));
        };
        let login = self.log_in(&name, None);
        (name, login)
    }

    /// Clients that announced it are told; with others the connection ends without a word.
    fn refuse_login(&mut self, mechanism: &str, now: Timestamp, out: &mut Output) {
        if !self.capabilities.authentication_failure_close {
            self.phase = Phase::Closed;
            return;
        }
        let text = format!(
            "Login was refused using authentication mechanism {mechanism}. For details see the broker logfile."
        );
        self.begin_close(&Fault::new(Reply::AccessRefused, text), now, out);
        self.phase = Phase::Closing;
    }

    fn on_open(
        &mut self,
        vhost: &str,
        (user, tune_ok): (&Arc<User>, &method::TuneOk),
        now: Timestamp,
        out: &mut Output,
    ) -> Result<(), Fault> {
        let connected = self.broker.connect(user, vhost, Arc::clone(&self.mailbox));
        if matches!(connected, Err(ConnectRefusal::Undecided)) {
            self.is_waiting = true;
            return Ok(());
        }
        let mut client = connected
            .map_err(|refusal| handshake::from_connect_refusal(&refusal, vhost, user.name()))?;
        let stats = client.introduce(self.information(tune_ok, now));
        let name = stats.info().user_provided_name();
        handshake::log_open(self.peer.addr, &client, name);
        let wire = Wire {
            frame_max: tune_ok.frame_max,
            message_bytes_max: self.config.message_bytes_max,
            consumers_max: usize::try_from(self.config.consumers_max).unwrap_or(usize::MAX),
            transaction_bytes_max: usize::try_from(self.config.transaction_bytes_max)
                .unwrap_or(usize::MAX),
        };
        let ends = (self.peer.addr, self.broker.clone(), client);
        let running = Running::new(ends, stats, wire, self.capabilities);
        self.phase = Phase::Running(Box::new(running));
        self.liveness.set_limit(None);
        let ok = method::AMQPMethod::OpenOk(method::OpenOk {});
        write_method(0, &AMQPClass::Connection(ok), out);
        Ok(())
    }

    /// What others may know of the connection.
    fn information(&mut self, tune_ok: &method::TuneOk, now: Timestamp) -> ConnectionInfo {
        let introduction = self.introduction.take().unwrap_or_default();
        let Introduction {
            client_properties,
            mechanism,
        } = *introduction;
        ConnectionInfo {
            protocol: Protocol::Amqp091,
            peer: self.peer.addr,
            local: self.peer.local_addr,
            tls: self.peer.tls_info(),
            auth_mechanism: mechanism,
            client_properties: Arc::new(client_properties),
            frame_max: tune_ok.frame_max,
            channel_max: tune_ok.channel_max,
            timeout_s: tune_ok.heartbeat,
            connected_at: now,
            mqtt: None,
        }
    }
}
