use std::collections::BTreeSet;
use std::net::SocketAddr;

use super::listeners::LISTENERS_MAX;
use super::*;

fn load(text: &str, cli: Cli) -> anyhow::Result<Config> {
    load_with(text, &[], cli)
}

fn load_with(text: &str, variables: &[(&str, &str)], cli: Cli) -> anyhow::Result<Config> {
    let variables = variables
        .iter()
        .map(|(name, value)| (name.into(), value.into()));
    Config::compose(toml::from_str(text)?, variables, cli)
}

/// Every key with its default.
pub(super) fn defaults() -> serde_json::Map<String, serde_json::Value> {
    load("", Cli::default()).unwrap().effective()
}

fn addrs(texts: &[&str]) -> Vec<SocketAddr> {
    texts.iter().map(|text| text.parse().unwrap()).collect()
}

fn refused(text: &str) -> String {
    format!("{:#}", load(text, Cli::default()).unwrap_err())
}

#[test]
fn nothing_said_means_the_standard_ports() {
    let config = load("", Cli::default()).unwrap();
    assert_eq!(config.amqp.listen, addrs(&["0.0.0.0:5672"]));
    assert_eq!(config.mqtt.listen, addrs(&["0.0.0.0:1883"]));
    assert_eq!(config.websocket.listen, addrs(&["0.0.0.0:15675"]));
    assert!(config.amqp.tls_listen.is_empty(), "there is no certificate");
    assert!(config.mqtt.tls_listen.is_empty());
    assert!(config.websocket.tls_listen.is_empty());
    assert!(!config.mqtt.settings.anonymous);
    assert_eq!(config.limits.shutdown_grace_ms, 10_000);
    assert_eq!(config.log.format, LogFormat::Text);
}

#[test]
fn sections_reach_the_settings_they_belong_to() {
    let text = r#"
        [amqp]
        listen = ["127.0.0.1:5673", "[::1]:5673"]
        frame_max = 8192
        [mqtt]
        listen = []
        anonymous = true
        [limits]
        connections_max = 7
        shutdown_grace_ms = 5
        [log]
        level = "debug"
        format = "json"
    "#;
    let config = load(text, Cli::default()).unwrap();
    let expected: [SocketAddr; 2] = [
        "127.0.0.1:5673".parse().unwrap(),
        "[::1]:5673".parse().unwrap(),
    ];
    assert_eq!(config.amqp.listen, expected);
    assert_eq!(config.amqp.settings.frame_max, 8192);
    assert!(config.mqtt.listen.is_empty() && config.mqtt.settings.anonymous);
    assert_eq!(
        (
            config.limits.connections_max,
            config.limits.shutdown_grace_ms
        ),
        (7, 5)
    );
    assert_eq!(
        (config.log.level.as_str(), config.log.format),
        ("debug", LogFormat::Json)
    );
}

#[test]
fn flags_override_the_file() {
    let cli = Cli {
        amqp: vec!["127.0.0.1:0".into()],
        mqtt_anonymous: true,
        ..Cli::default()
    };
    let config = load("[amqp]\nlisten = [\"127.0.0.1:5673\"]", cli).unwrap();
    assert_eq!(config.amqp.listen, ["127.0.0.1:0".parse().unwrap()]);
    assert!(config.mqtt.settings.anonymous);
}

#[test]
fn unknown_keys_are_named() {
    for (text, key) in [
        ("[ampq]\n", "ampq"),
        ("[amqp]\nframe_maks = 1", "amqp.frame_maks"),
        ("[mqtt]\nanonymus = true", "mqtt.anonymus"),
        ("[broker]\nvhost = \"/\"", "broker.vhost"),
        ("[limits]\nconnection_max = 1", "limits.connection_max"),
        ("[log]\nlevle = \"info\"", "log.levle"),
    ] {
        let error = refused(text);
        assert!(error.contains(&format!("unknown key `{key}`")), "{error}");
    }
}

#[test]
fn wrong_values_are_named() {
    for (text, key) in [
        ("[amqp]\nlisten = 5672", "section [amqp]"),
        ("[amqp]\nlisten = [\"5672\"]", "\"5672\" is no address"),
        ("[limits]\nconnections_max = 0", "limits.connections_max"),
        (
            "[limits]\nshutdown_grace_ms = 3600001",
            "limits.shutdown_grace_ms",
        ),
        ("[log]\nformat = \"xml\"", "xml"),
        (
            "[amqp]\nlisten = []\n[mqtt]\nlisten = []",
            "nothing to listen on",
        ),
    ] {
        let error = refused(text);
        assert!(error.contains(key), "{error}");
    }
}

#[test]
fn listeners_at_the_limit_are_taken_and_one_more_is_not() {
    let listen = |count: usize| {
        format!(
            "[amqp]\nlisten = [{}]",
            vec!["\"127.0.0.1:0\""; count].join(", ")
        )
    };
    let config = load(&listen(LISTENERS_MAX), Cli::default()).unwrap();
    assert_eq!(config.amqp.listen.len(), LISTENERS_MAX);
    assert!(refused(&listen(LISTENERS_MAX + 1)).contains("amqp.listen"));
}

#[test]
fn a_certificate_opens_the_tls_listeners_beside_the_others() {
    let text = r#"
        [amqp]
        listen = ["127.0.0.1:5673", "127.0.0.1:5674", "[::1]:0"]
        [mqtt.tls]
        verify = "peer"
        keyfile = "other.pem"
        [tls]
        certfile = "c.pem"
        keyfile = "k.pem"
    "#;
    let config = load(text, Cli::default()).unwrap();
    assert_eq!(
        config.amqp.tls_listen,
        addrs(&["127.0.0.1:5671", "[::1]:0"])
    );
    assert_eq!(config.mqtt.tls_listen, addrs(&["0.0.0.0:8883"]));
    assert_eq!(config.websocket.tls_listen, addrs(&["0.0.0.0:15676"]));
    assert_eq!(config.amqp.tls.keyfile, Some("k.pem".into()));
    assert_eq!(config.mqtt.tls.certfile, Some("c.pem".into()));
    assert_eq!(config.mqtt.tls.keyfile, Some("other.pem".into()), "its own");
}

#[test]
fn tls_can_be_spoken_alone_or_not_at_all() {
    let tls = "[tls]\ncertfile = \"c\"\nkeyfile = \"k\"\n";
    let text =
        format!("{tls}[amqp]\nlisten = []\ntls_listen = [\"127.0.0.1:1\"]\n[mqtt]\nlisten = []");
    let config = load(&text, Cli::default()).unwrap();
    assert_eq!(config.amqp.tls_listen, addrs(&["127.0.0.1:1"]));
    assert!(config.mqtt.tls_listen.is_empty() && config.websocket.listen.is_empty());
    let text = format!("{tls}[amqp]\ntls_listen = []");
    assert!(
        load(&text, Cli::default())
            .unwrap()
            .amqp
            .tls_listen
            .is_empty()
    );
    for key in [
        "amqp.tls_listen",
        "mqtt.tls_listen",
        "mqtt.websocket_tls_listen",
    ] {
        let error = refused(&format!("{key} = [\"127.0.0.1:0\"]"));
        assert!(error.contains("there is no tls.certfile"), "{error}");
    }
}

#[test]
fn websocket_is_spoken_where_mqtt_is_unless_somebody_says_where() {
    let cli = || Cli {
        mqtt: vec!["127.0.0.1:0".into(), "127.0.0.2:1883".into()],
        ..Cli::default()
    };
    let config = load("", cli()).unwrap();
    assert_eq!(
        config.websocket.listen,
        addrs(&["127.0.0.1:0", "127.0.0.2:15675"])
    );
    assert!(!config.websocket.is_asked_for);
    let text = "[mqtt]\nwebsocket_listen = [\"127.0.0.1:8083\"]\nwebsocket_paths = [\"/x\"]";
    let config = load(text, cli()).unwrap();
    assert_eq!(config.websocket.listen, addrs(&["127.0.0.1:8083"]));
    assert!(config.websocket.is_asked_for);
    assert_eq!(config.websocket.config.paths, ["/x"]);
    let flagged = Cli {
        mqtt_websocket: vec!["127.0.0.1:1".into()],
        ..cli()
    };
    let config = load(text, flagged).unwrap();
    assert_eq!(config.websocket.listen, addrs(&["127.0.0.1:1"]));
    assert!(refused("mqtt.websocket_paths = [\"x\"]").contains("begin with a slash"));
}

#[test]
fn environment_overrides_the_file_and_flags_override_both() {
    let variables = [
        ("TERNMQ_AMQP__LISTEN", "127.0.0.1:2"),
        ("TERNMQ_AMQP__FRAME_MAX", "8192"),
        ("TERNMQ_MQTT__LISTEN", "127.0.0.1:3"),
    ];
    let cli = Cli {
        mqtt: vec!["127.0.0.1:4".into()],
        ..Cli::default()
    };
    let text = "[amqp]\nlisten = [\"127.0.0.1:1\"]\nframe_max = 4096\nheartbeat_s = 7";
    let config = load_with(text, &variables, cli).unwrap();
    assert_eq!(config.amqp.listen, addrs(&["127.0.0.1:2"]));
    assert_eq!(config.amqp.settings.frame_max, 8192);
    assert_eq!(config.amqp.settings.heartbeat_s, 7);
    assert_eq!(config.mqtt.listen, addrs(&["127.0.0.1:4"]));
    let unknown = [("TERNMQ_AMQP__FRAMEMAX", "1")];
    let error = load_with("", &unknown, Cli::default()).unwrap_err();
    assert!(
        error.to_string().contains("did you mean `amqp.frame_max`"),
        "{error}"
    );
}

#[test]
fn printed_configuration_has_the_same_effect_and_no_secrets() {
    let text = r#"
        [amqp]
        listen = ["127.0.0.1:5673"]
        [mqtt]
        session_backlog_max = 5
        [tls]
        certfile = "c.pem"
        keyfile = "k.pem"
        [[broker.users]]
        name = "shop"
        password = "swordfish"
    "#;
    let config = load(text, Cli::default()).unwrap();
    let printed = config.print().unwrap();
    assert!(!printed.contains("swordfish"), "{printed}");
    let again = load(&printed, Cli::default()).unwrap();
    assert_eq!(
        config.changes(&again),
        ["broker.users"],
        "the password alone"
    );
}

#[test]
fn changes_are_named_by_their_keys() {
    let before = load("", Cli::default()).unwrap();
    let after = "[log]\nlevel = \"debug\"\n[amqp]\nheartbeat_s = 7\ntls.depth = 1\n[[broker.users]]\nname = \"a\"\npassword = \"b\"\n";
    let mut after = load(after, Cli::default()).unwrap();
    let expected = [
        "amqp.heartbeat_s",
        "amqp.tls.depth",
        "broker.users",
        "log.level",
    ];
    let changes: BTreeSet<_> = before.changes(&after).into_iter().collect();
    assert_eq!(changes, expected.map(str::to_owned).into());
    after.adopt(load("", Cli::default()).unwrap());
    assert_eq!(before.changes(&after), ["amqp.heartbeat_s", "broker.users"]);
}

#[test]
fn file_in_rabbitmqs_form_is_known_by_its_name() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("rabbitmq.conf");
    let text = "listeners.tcp.default = 127.0.0.1:5673\nno.such = 1\nheartbeat = 7\n";
    std::fs::write(&path, text).unwrap();
    let cli = Cli {
        config: Some(path.clone()),
        ..Cli::default()
    };
    let config = Config::load(cli).unwrap();
    assert_eq!(config.amqp.listen, addrs(&["127.0.0.1:5673"]));
    assert_eq!(config.amqp.settings.heartbeat_s, 7);
    let remarks: Vec<_> = config.remarks.iter().map(ToString::to_string).collect();
    assert_eq!(
        remarks,
        [format!("{}:2: no.such is not known here", path.display())]
    );
}

/// Tables of `docs/configuration.md`, as pairs of a section and a key.
fn documented() -> BTreeSet<String> {
    let page = include_str!("../../docs/configuration.md");
    let mut section = None;
    let mut found = BTreeSet::new();
    for line in page.lines() {
        if line.starts_with('#') {
            section = line
                .strip_prefix("### `[")
                .and_then(|rest| rest.strip_suffix("]`"));
            continue;
        }
        let Some((section, row)) = section.zip(line.strip_prefix("| `")) else {
            continue;
        };
        let cell = row.split('|').next().unwrap_or_default();
        let keys = cell.split(',').map(|key| key.trim().trim_matches('`'));
        found.extend(keys.map(|key| format!("{section}.{key}")));
    }
    found
}

#[test]
fn every_key_is_documented_and_no_other() {
    let all = defaults();
    let sections: BTreeSet<_> = all.keys().cloned().collect();
    let known: BTreeSet<_> = keys::paths(&all)
        .into_iter()
        .filter(|path| !sections.contains(path))
        // `[amqp.tls]` has the keys of `[tls]`.
        .filter(|path| !path.contains(".tls."))
        .collect();
    let documented = documented();
    let missing: Vec<_> = known.difference(&documented).collect();
    assert!(
        missing.is_empty(),
        "not in docs/configuration.md: {missing:?}"
    );
    let gone: Vec<_> = documented.difference(&known).collect();
    assert!(gone.is_empty(), "only in docs/configuration.md: {gone:?}");
}

#[test]
fn packaged_file_can_be_used_with_and_without_its_examples() {
    let packaged = include_str!("../../packaging/ternmq.toml");
    load(packaged, Cli::default()).unwrap();
    let examples: Vec<_> = packaged
        .lines()
        .map(|line| {
            line.strip_prefix('#')
                .filter(|rest| !rest.starts_with(' '))
                .unwrap_or(line)
        })
        .collect();
    let config = load(&examples.join("\n"), Cli::default()).unwrap();
    assert_eq!(config.amqp.tls_listen, addrs(&["0.0.0.0:5671"]));
}
