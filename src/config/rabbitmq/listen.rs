//! Where protocols are spoken: RabbitMQ says ports, addresses, or an interface in one line and its port in another.

use toml::Value;

use super::{Line, Outcome, Translation};

/// An address before its port: every interface.
const ANYWHERE: &str = "0.0.0.0:";

/// Where RabbitMQ listens if only the interface is said; with TLS it has to be told the port.
const DEFAULT_PORTS: [(&str, &str, u16); 3] = [
    ("management", "listen", 15_672),
    ("prometheus", "listen", 15_692),
    ("mqtt", "websocket_listen", 15_675),
];

impl Translation {
    /// `none`, which is the only value these keys have.
    pub(super) fn no_listeners(&mut self, line: Line<'_>) -> Outcome {
        if line.value != "none" {
            return Err(format!(
                "{} = {} means nothing; `none` does",
                line.key, line.value
            ));
        }
        let (section, kind) = match line.key.strip_prefix("mqtt.") {
            Some(kind) => ("mqtt", kind),
            None => ("amqp", line.key),
        };
        let key = if kind.ends_with("ssl") {
            "tls_listen"
        } else {
            "listen"
        };
        self.set(section, key, Value::Array(Vec::new()));
        Ok(())
    }

    /// A port, of every interface, or an address with a port.
    pub(super) fn listen(&mut self, section: &str, key: &str, value: &str) -> Outcome {
        if value.starts_with("unix:") || value.starts_with("local:") {
            return Err(format!("{value:?}: there are no listeners at files"));
        }
        let address = if value.parse::<u16>().is_ok() {
            format!("{ANYWHERE}{value}")
        } else if value.contains(':') {
            value.to_owned()
        } else {
            return Err(format!(
                "{value:?} is neither a port nor an address with a port"
            ));
        };
        self.push(section, key, address.into());
        Ok(())
    }

    /// Notes the interface of a section's listeners. False if the section has none.
    pub(super) fn listen_at(&mut self, section: &str, kind: &str, host: &str) -> bool {
        let (section, key) = match (section, kind) {
            ("management" | "prometheus", "tcp") | ("management", "listener") => {
                (section, "listen")
            }
            ("management" | "prometheus", "ssl") => (section, "tls_listen"),
            ("web_mqtt", "tcp") => ("mqtt", "websocket_listen"),
            ("web_mqtt", "ssl") => ("mqtt", "websocket_tls_listen"),
            _ => return false,
        };
        self.hosts
            .insert((section.to_owned(), key), host.to_owned());
        true
    }

    /// Puts listeners that are said to be at a port of every interface where they belong.
    pub(super) fn place_listeners(&mut self) {
        for ((section, key), host) in std::mem::take(&mut self.hosts) {
            let host = if host.contains(':') && !host.starts_with('[') {
                format!("[{host}]")
            } else {
                host
            };
            let said = self
                .table
                .get(&section)
                .and_then(|section| section.get(key));
            let said = said.and_then(Value::as_array).cloned();
            let said = said.or_else(|| {
                let (.., port) = DEFAULT_PORTS
                    .iter()
                    .find(|(s, k, _)| *s == section && *k == key)?;
                Some(vec![Value::from(format!("{ANYWHERE}{port}"))])
            });
            let placed = said.into_iter().flatten().map(|address| {
                let port = address
                    .as_str()
                    .and_then(|text| text.strip_prefix(ANYWHERE));
                match port {
                    Some(port) => Value::from(format!("{host}:{port}")),
                    None => address,
                }
            });
            let placed: Vec<Value> = placed.collect();
            if !placed.is_empty() {
                self.set(&section, key, placed.into());
            }
        }
    }
}
