use super::*;

fn load(text: &str, cli: Cli) -> anyhow::Result<Config> {
    Config::build(toml::from_str(text)?, cli)
}

fn refused(text: &str) -> String {
    format!("{:#}", load(text, Cli::default()).unwrap_err())
}

#[test]
fn nothing_said_means_the_standard_ports() {
    let config = load("", Cli::default()).unwrap();
    assert_eq!(config.amqp.listen, ["0.0.0.0:5672".parse().unwrap()]);
    assert_eq!(config.mqtt.listen, ["0.0.0.0:1883".parse().unwrap()]);
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
        ("[amqp]\nframe_maks = 1", "frame_maks"),
        ("[mqtt]\nanonymus = true", "anonymus"),
        ("[broker]\nvhost = \"/\"", "vhost"),
        ("[limits]\nconnection_max = 1", "connection_max"),
        ("[log]\nlevle = \"info\"", "levle"),
    ] {
        let error = refused(text);
        assert!(error.contains(&format!("`{key}`")), "{error}");
    }
}

#[test]
fn wrong_values_are_named() {
    for (text, key) in [
        ("[amqp]\nlisten = 5672", "amqp.listen"),
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
