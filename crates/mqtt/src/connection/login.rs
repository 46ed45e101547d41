//! Who a client is: by its user name and password, by none of them, or by an exchange of AUTHs (§4.12).
//!
//! While such an exchange goes on nothing else may come (MQTT-3.1.2-30). The CONNECT that began it is kept, and handled
//! when it is known who sent it.

use std::sync::Arc;

use ternmq_broker::{Attempt, LoginRefusal, User};
use ternmq_core::id::Timestamp;
use ternmq_net::machine::Output;
use ternmq_net::tls::ClientCertificate;

use super::greeting::{Answer, Identified};
use super::{Connection, Phase};
use crate::account::Account;
use crate::auth::{self, AuthFault, Exchange, Reply};
use crate::codec::{self, Decoded, Limits, Sender};
use crate::error::ConnectFault;
use crate::frame::{Auth, Connect, Packet, ProtocolVersion};
use crate::properties::Property;
use crate::reason_code::ReasonCode;

/// An exchange that began with a CONNECT.
pub(super) struct Login {
    /// The CONNECT, as it came.
    connect: Box<[u8]>,
    exchange: Exchange,
}

impl Connection {
    /// Who it is, without an exchange.
    pub(super) fn identify(
        &self,
        connect: &Connect<'_>,
    ) -> Result<(Arc<User>, Account), ConnectFault> {
        let config = &self.node.config;
        let (rules, ip) = (self.node.vhost_rules(), self.peer.addr.ip());
        // An empty name and password are what some clients send for none.
        let name = connect.user_name.unwrap_or_default();
        let password = connect.password.unwrap_or_default();
        if name.is_empty() && password.is_empty() {
            if let Some(certificate) = self.certificate().filter(|_| config.ssl_cert_login) {
                let name = config.named(config.ssl_cert_login_from, certificate);
                let name = name.ok_or(ConnectFault::NamelessCertificate)?;
                let account = Account::of_certificate(&name, &self.peer, &rules);
                let shown = Attempt::vouched(&account.user, ip);
                return Ok((self.log_in(connect, &account.vhost, shown)?, account));
            }
            if !config.anonymous {
                return Err(ConnectFault::Anonymous);
            }
            let default = self.node.broker.default_user();
            let account = Account::anonymous(default.name(), &self.peer, &rules);
            let shown = Attempt::vouched(&account.user, ip);
            return Ok((self.log_in(connect, &account.vhost, shown)?, account));
        }
        let account = Account::of(name, &self.peer, &rules);
        let shown = Attempt::new(&account.user, password, ip);
        Ok((self.log_in(connect, &account.vhost, shown)?, account))
    }

    /// Whether that user is let in, who wants to go to that vhost.
    fn log_in(
        &self,
        connect: &Connect<'_>,
        vhost: &str,
        shown: Attempt<'_>,
    ) -> Result<Arc<User>, LoginRefusal> {
        let waker = self.mailbox.waker();
        self.node.broker.log_in(&Attempt {
            waker: Some(&waker),
            vhost: Some(vhost),
            client_id: Some(connect.client_id),
            ..shown
        })
    }

    /// Who a client says it is, for the log: by its user name, or else by its certificate.
    pub(super) fn claimed_user(&self, connect: &Connect<'_>) -> Box<str> {
        let config = &self.node.config;
        let certificate = self.certificate().filter(|_| config.ssl_cert_login);
        match connect.user_name.filter(|name| !name.is_empty()) {
            Some(name) => name.into(),
            None => certificate
                .and_then(|certificate| config.named(config.ssl_cert_login_from, certificate))
                .map(Into::into)
                .unwrap_or_default(),
        }
    }

    fn certificate(&self) -> Option<&ClientCertificate> {
        self.peer.tls.as_deref()?.certificate.as_ref()
    }

    /// The client identifier that the certificate gives, where one has to be given.
    pub(super) fn certified_client_id(
        &self,
        client_id: &str,
    ) -> Result<Option<Box<str>>, ConnectFault> {
        let config = &self.node.config;
        let Some((from, certificate)) = config.ssl_cert_client_id_from.zip(self.certificate())
        else {
            return Ok(None);
        };
        let certified = config.named(from, certificate);
        let certified = certified.ok_or(ConnectFault::NamelessCertificate)?;
        let is_fit = !certified.is_empty() && !certified.chars().any(char::is_control);
        if is_fit && (client_id.is_empty() || *client_id == *certified) {
            Ok(Some(certified.into()))
        } else {
            Err(ConnectFault::OtherClientId)
        }
    }

    /// A CONNECT with an authentication method.
    pub(super) fn begin_exchange(
        &mut self,
        (connect, bytes): (&Connect<'_>, &[u8]),
        out: &mut Output,
    ) -> Result<(), ConnectFault> {
        let (method, data) = auth::method_and_data(connect.properties);
        if method != Some(auth::METHOD) {
            return Err(AuthFault::UnknownMethod.into());
        }
        let mut exchange = Exchange::default();
        match exchange.hear(data, &self.node, &self.peer)? {
            Reply::Continue(text) => self.say(connect, &text, out),
            Reply::Verified => return Err(AuthFault::OutOfTurn.into()),
        }
        self.login = Some(Box::new(Login {
            connect: bytes.into(),
            exchange,
        }));
        Ok(())
    }

    /// Asks the client to go on. One that takes no packet of that size is closed (MQTT-3.1.2-24).
    fn say(&mut self, connect: &Connect<'_>, text: &str, out: &mut Output) {
        let maximum = |property| match property {
            Property::MaximumPacketSize(max) => Some(max as usize),
            _ => None,
        };
        let bytes_max = connect.properties.iter().find_map(maximum);
        let start = out.buf().len();
        auth::say(ReasonCode::ContinueAuthentication, text, out.buf());
        if bytes_max.is_some_and(|max| out.buf().len() - start > max) {
            out.buf().truncate(start);
            self.phase = Phase::Closing;
        }
    }

    /// What comes while an exchange goes on. Returns how many bytes it took.
    pub(super) fn go_on(&mut self, input: &[u8], now: Timestamp, out: &mut Output) -> usize {
        let Some(mut login) = self.login.take() else {
            return 0;
        };
        let limits = Limits {
            packet_max: self.node.config.packet_bytes_max_before_login,
            sender: Sender::Client,
        };
        let (fault, len) = match codec::decode(input, Some(ProtocolVersion::V5), limits) {
            Ok(Decoded::Incomplete) => {
                self.login = Some(login);
                return 0;
            }
            Ok(Decoded::Packet {
                packet: Packet::Auth(auth),
                len,
            }) => match self.on_auth(&mut login, &auth, now, out) {
                Ok(Progress::LetIn) => return len,
                Ok(Progress::Asked) => {
                    self.login = Some(login);
                    return len;
                }
                // The packet is read again.
                Ok(Progress::Waits) => {
                    self.login = Some(login);
                    return 0;
                }
                // The vhost is being asked for; the packet is read again.
                Err(fault) if fault.is_undecided() => {
                    self.wait_for_answer(now);
                    self.login = Some(login);
                    return 0;
                }
                Err(fault) => (fault, len),
            },
            Ok(Decoded::Packet {
                packet: Packet::Disconnect(_),
                ..
            }) => {
                self.phase = Phase::Closing;
                return input.len();
            }
            Ok(_) => (AuthFault::OtherPacket.into(), input.len()),
            Err(error) => {
                tracing::info!(peer = %self.peer.addr, %error, "MQTT login refused");
                self.refuse_malformed(error, out);
                return input.len();
            }
        };
        self.count_refused(&fault);
        tracing::info!(peer = %self.peer.addr, error = %fault, "MQTT login refused");
        self.refuse(
            ProtocolVersion::V5,
            fault.reason_code(ProtocolVersion::V5),
            out,
        );
        len
    }

    fn on_auth(
        &mut self,
        login: &mut Login,
        auth: &Auth<'_>,
        now: Timestamp,
        out: &mut Output,
    ) -> Result<Progress, ConnectFault> {
        let data = auth::data(auth)?;
        if auth.reason != ReasonCode::ContinueAuthentication {
            return Err(AuthFault::OutOfTurn.into());
        }
        let Login { connect, exchange } = login;
        let limits = Limits::default();
        let Ok(Decoded::Packet {
            packet: Packet::Connect(connect),
            ..
        }) = codec::decode(connect, None, limits)
        else {
            debug_assert!(false, "it was decoded before");
            return Err(AuthFault::OutOfTurn.into());
        };
        if let Reply::Continue(text) = exchange.hear(data, &self.node, &self.peer)? {
            self.say(&connect, &text, out);
            return Ok(Progress::Asked);
        }
        let Exchange::Verified { account, last } = exchange else {
            return Err(AuthFault::OutOfTurn.into());
        };
        let shown = Attempt::proved(&account.user, self.peer.addr.ip());
        let identified = Identified {
            user: self.log_in(&connect, &account.vhost, shown)?,
            account: account.clone(),
            proof: Some(last.clone()),
        };
        match self.on_connect(&connect, identified, now, out)? {
            Answer::Given => Ok(Progress::LetIn),
            Answer::Waits => Ok(Progress::Waits),
        }
    }
}

/// What came of an AUTH.
enum Progress {
    /// The client was asked for more.
    Asked,
    /// The CONNECT was answered.
    LetIn,
    /// It is known who it is, and its session is still another connection's.
    Waits,
}
