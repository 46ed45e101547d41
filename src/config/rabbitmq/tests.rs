use super::*;
use crate::cli::Cli;
use crate::config::Config;

const MEMORY: u64 = 10_000_000_000;

fn translated(text: &str) -> (Table, Vec<Remark>) {
    translate(text, Some(MEMORY))
}

/// The table of one line that is taken without a remark.
fn table(line: &str) -> Table {
    let (table, remarks) = translated(line);
    assert_eq!(remarks, [], "{line}");
    table
}

fn toml(text: &str) -> Table {
    toml::from_str(text).unwrap()
}

#[test]
#[allow(clippy::too_many_lines, reason = "one table")]
fn every_key_with_a_counterpart_leads_to_it() {
    for (line, expected) in [
        (
            "listeners.tcp.default = 5673",
            "amqp.listen = ['0.0.0.0:5673']",
        ),
        (
            "listeners.tcp.1 = 127.0.0.1:5673",
            "amqp.listen = ['127.0.0.1:5673']",
        ),
        (
            "listeners.tcp.local = ::1:5673",
            "amqp.listen = ['::1:5673']",
        ),
        ("listeners.tcp = none", "amqp.listen = []"),
        (
            "listeners.ssl.default = 5671",
            "amqp.tls_listen = ['0.0.0.0:5671']",
        ),
        ("listeners.ssl = none", "amqp.tls_listen = []"),
        (
            "mqtt.listeners.tcp.default = 1884",
            "mqtt.listen = ['0.0.0.0:1884']",
        ),
        (
            "mqtt.listeners.ssl.default = 8883",
            "mqtt.tls_listen = ['0.0.0.0:8883']",
        ),
        ("mqtt.listeners.tcp = none", "mqtt.listen = []"),
        (
            "web_mqtt.tcp.port = 8083",
            "mqtt.websocket_listen = ['0.0.0.0:8083']",
        ),
        (
            "web_mqtt.ssl.port = 8084",
            "mqtt.websocket_tls_listen = ['0.0.0.0:8084']",
        ),
        ("web_mqtt.ws_path = /x", "mqtt.websocket_paths = ['/x']"),
        (
            "management.tcp.port = 15673",
            "management.listen = ['0.0.0.0:15673']",
        ),
        (
            "management.ssl.certfile = /c.pem",
            "management.tls.certfile = '/c.pem'",
        ),
        (
            "load_definitions = /d.json",
            "management.load_definitions = '/d.json'",
        ),
        ("ssl_options.certfile = /c.pem", "tls.certfile = '/c.pem'"),
        (
            "ssl_options.verify = verify_peer",
            "tls.verify = 'verify_peer'",
        ),
        (
            "ssl_options.fail_if_no_peer_cert = true",
            "tls.fail_if_no_peer_cert = true",
        ),
        (
            "ssl_options.versions.1 = tlsv1.3",
            "tls.versions = ['tlsv1.3']",
        ),
        ("default_vhost = /shop", "broker.vhosts = ['/shop']"),
        (
            "vm_memory_high_watermark.absolute = 2GB",
            "broker.memory_high_bytes = 2000000000",
        ),
        (
            "vm_memory_high_watermark.absolute = 2GiB",
            "broker.memory_high_bytes = 2147483648",
        ),
        (
            "vm_memory_high_watermark.relative = 0.6",
            "broker.memory_high_bytes = 6000000000",
        ),
        (
            "disk_free_limit.absolute = 50MB",
            "storage.disk_free_low_bytes = 50000000\nstorage.disk_free_min_bytes = 50000000",
        ),
        (
            "disk_free_limit.relative = 1.5",
            "storage.disk_free_low_bytes = 15000000000\nstorage.disk_free_min_bytes = 134217728",
        ),
        ("heartbeat = 30", "amqp.heartbeat_s = 30"),
        ("frame_max = 65536", "amqp.frame_max = 65536"),
        ("channel_max = 128", "amqp.channel_max = 128"),
        ("log.console.level = warning", "log.level = 'warn'"),
        ("log.file.formatter = json", "log.format = 'json'"),
        (
            "consumer_timeout = 3600000",
            "broker.consumer_timeout_ms = 3600000",
        ),
        (
            "ssl_cert_login_from = common_name",
            "amqp.ssl_cert_login_from = 'common_name'\nmqtt.ssl_cert_login_from = 'common_name'",
        ),
        (
            "cluster_name = 'the one'",
            "broker.cluster_name = 'the one'",
        ),
        ("mqtt.allow_anonymous = true", "mqtt.anonymous = true"),
        ("mqtt.prefetch = 10", "mqtt.in_flight_max = 10"),
        (
            "mqtt.subscription_ttl = 1800000",
            "mqtt.session_expiry_s_max = 1800",
        ),
        ("proxy_protocol = true", "amqp.proxy_protocol = true"),
    ] {
        assert_eq!(table(line), toml(expected), "{line}");
    }
}

#[test]
fn listeners_of_several_names_are_all_opened() {
    let (table, _) = translated("listeners.tcp.1 = 5672\nlisteners.tcp.2 = [::]:5673\n");
    assert_eq!(table, toml("amqp.listen = ['0.0.0.0:5672', '[::]:5673']"));
}

#[test]
fn first_user_is_made_of_all_lines_about_it() {
    let text = "default_user = shop\ndefault_pass = s=1\ndefault_user_tags.management = true\n\
                default_permissions.configure = .*\n";
    let expected = "[[broker.users]]\nname = 'shop'\npassword = 's=1'\ntags = ['management']\nloopback_only = false";
    assert_eq!(table(text), toml(expected));
    let expected = "[[broker.users]]\nname = 'guest'\npassword = 'x'\ntags = ['administrator']\nloopback_only = true";
    assert_eq!(table("default_pass = x"), toml(expected));
}

#[test]
fn users_of_this_machine_only_are_guest_unless_the_file_says_otherwise() {
    for (text, expected) in [
        ("loopback_users = none", "[]"),
        ("loopback_users.guest = false", "[]"),
        ("loopback_users.guest = true", "['guest']"),
        ("loopback_users.shop = true", "['guest', 'shop']"),
        (
            "loopback_users.guest = false\nloopback_users.shop = true",
            "['shop']",
        ),
    ] {
        let expected = format!("broker.loopback_users = {expected}");
        assert_eq!(table(text), toml(&expected), "{text}");
    }
}

#[test]
fn comments_and_empty_lines_say_nothing() {
    let text = "# heartbeat = 1\n\n  ## more\n%% old style\nheartbeat=2\n";
    assert_eq!(table(text), toml("amqp.heartbeat_s = 2"));
}

#[test]
fn lines_without_effect_are_named_with_their_number() {
    for (line, reason) in [
        (
            "cluster_formation.peer_discovery_backend = x",
            "has no effect",
        ),
        ("tcp_listen_options.backlog = 128", "has no effect"),
        ("log.file = x.log", "has no effect"),
        ("no_such.key = 1", "is not known"),
        ("products = 1", "is not known"),
        ("heartbeat", "no line of the form"),
        ("heartbeat = soon", "no number"),
        ("mqtt.allow_anonymous = maybe", "neither true nor false"),
        ("listeners.tcp.default = x", "neither a port nor"),
        ("listeners.tcp = 5672", "`none` does"),
        ("ssl_options.versions.1 = tlsv1.1", "not spoken"),
        ("default_permissions.read = ^a", "all permissions"),
        ("disk_free_limit.absolute = lots", "no number of bytes"),
        ("vm_memory_high_watermark.relative = x", "no number"),
        ("log.console.level = loud", "no level"),
    ] {
        let (_, remarks) = translated(&format!("heartbeat = 7\n{line}\n"));
        assert_eq!(remarks.len(), 1, "{line}");
        assert_eq!(remarks[0].line, 2);
        assert!(remarks[0].text.contains(reason), "{}", remarks[0].text);
    }
}

#[test]
fn sizes_have_decimal_and_binary_units() {
    for (text, expected) in [
        ("123", Ok(123)),
        ("1kB", Ok(1000)),
        ("1KiB", Ok(1024)),
        ("2 MB", Ok(2_000_000)),
        ("1G", Ok(1 << 30)),
        ("1Gi", Ok(1 << 30)),
        ("-1", Err(())),
        ("9999999999TB", Err(())),
        ("GB", Err(())),
    ] {
        assert_eq!(bytes(text).map_err(|_| ()), expected, "{text}");
    }
}

#[test]
fn counterparts_are_keys_that_there_are() {
    let known = super::super::tests::defaults();
    for same in keys::SAME {
        let found = known
            .get(same.section)
            .and_then(|section| section.get(same.key));
        assert!(found.is_some(), "{}.{}", same.section, same.key);
    }
}

#[test]
fn those_who_are_asked_for_users_stand_in_the_order_of_their_numbers() {
    let (table, remarks) = translated(
        "auth_backends.2 = internal\n\
         auth_backends.1 = rabbit_auth_backend_oauth2\n\
         auth_backends.3.authn = oauth\n\
         auth_backends.3.authz = rabbit_auth_backend_internal\n\
         auth_backends.4 = ldap\n",
    );
    let expected = "auth.backends = ['oauth2', 'internal', {authn = 'oauth2', authz = 'internal'}]";
    assert_eq!(table, toml(expected));
    assert_eq!(remarks.len(), 1);
    assert_eq!(remarks[0].line, 5);
}

#[test]
fn nobody_is_asked_for_users_in_the_place_of_those_who_are_not_there() {
    for alone in [
        "auth_backends.1 = ldap\n",
        "auth_backends.1.authn = ldap\nauth_backends.1.authz = internal\n",
    ] {
        let (table, remarks) = translated(alone);
        assert_eq!(table, toml("auth.backends = []"));
        assert_eq!(remarks.len(), 1, "{alone}");
    }
}

#[test]
fn mechanisms_are_those_that_are_named() {
    for (lines, expected) in [
        (
            "auth_mechanisms.1 = EXTERNAL\n",
            "amqp = {mechanisms = ['EXTERNAL'], anonymous = false}",
        ),
        (
            "auth_mechanisms.2 = PLAIN\nauth_mechanisms.3 = ANONYMOUS\nauth_mechanisms.1 = AMQPLAIN\n",
            "amqp = {mechanisms = ['AMQPLAIN', 'PLAIN'], anonymous = true}",
        ),
    ] {
        let (table, remarks) = translated(lines);
        assert_eq!(table, toml(expected));
        assert!(remarks.is_empty());
    }
    let (table, remarks) = translated("auth_mechanisms.1 = RABBIT-CR-DEMO\n");
    assert_eq!(table, toml("amqp = {mechanisms = [], anonymous = false}"));
    assert_eq!(remarks.len(), 1);
}

#[test]
fn keys_about_tokens_have_the_same_names() {
    let (table, remarks) = translated(
        "auth_oauth2.resource_server_id = new_resource_server_id\n\
         auth_oauth2.resource_server_type = rabbitmq\n\
         auth_oauth2.scope_prefix = api://\n\
         auth_oauth2.additional_scopes_key = my_custom_scope_key\n\
         auth_oauth2.preferred_username_claims.2 = user_name\n\
         auth_oauth2.preferred_username_claims.1 = username\n\
         auth_oauth2.default_key = id1\n\
         auth_oauth2.signing_keys.id1 = key.pem\n\
         auth_oauth2.signing_keys.id2 = cert.pem\n\
         auth_oauth2.algorithms.1 = HS256\n\
         auth_oauth2.algorithms.2 = RS256\n\
         auth_oauth2.verify_aud = false\n\
         auth_oauth2.scope_aliases.admin = x.tag:administrator x.read:*/*\n\
         auth_oauth2.scope_aliases.1.alias = api://reader\n\
         auth_oauth2.scope_aliases.1.scope = x.read:*/*\n\
         auth_oauth2.jwks_url = https://x/jwks.json\n\
         auth_oauth2.https.depth = 5\n\
         auth_oauth2.nothing = 1\n",
    );
    let expected = r#"
        [auth.oauth2]
        resource_server_id = "new_resource_server_id"
        resource_server_type = "rabbitmq"
        scope_prefix = "api://"
        additional_scopes_key = "my_custom_scope_key"
        preferred_username_claims = ["username", "user_name"]
        default_key = "id1"
        signing_keys = [{id = "id1", file = "key.pem"}, {id = "id2", file = "cert.pem"}]
        algorithms = ["HS256", "RS256"]
        verify_aud = false
        jwks_uri = "https://x/jwks.json"
        scope_aliases = [
            {alias = "admin", scope = "x.tag:administrator x.read:*/*"},
            {alias = "api://reader", scope = "x.read:*/*"},
        ]
    "#;
    assert_eq!(table, toml(expected));
    let texts: Vec<&str> = remarks.iter().map(|remark| &*remark.text).collect();
    assert_eq!(
        texts,
        [
            "auth_oauth2.https.depth has no effect here: the server's certificate is always checked",
            "auth_oauth2.nothing is not known here",
        ]
    );
}

#[test]
fn names_and_authorization_servers_are_lists() {
    let (table, remarks) = translated(
        "auth_oauth2.resource_server_id = first\n\
         auth_oauth2.issuer = https://id.example/realms/x\n\
         auth_oauth2.discovery_endpoint_path = .well-known/other\n\
         auth_oauth2.discovery_endpoint_params.app = 1\n\
         auth_oauth2.discovery_endpoint_params.version = 2\n\
         auth_oauth2.https.cacertfile = ca.pem\n\
         auth_oauth2.https.peer_verification = verify_none\n\
         auth_oauth2.https.verify = verify_peer\n\
         auth_oauth2.token_endpoint = https://id.example/token\n\
         auth_oauth2.require_exp = false\n\
         auth_oauth2.scope_pattern_syntax = wildcard\n\
         auth_oauth2.default_oauth_provider = dev\n\
         auth_oauth2.oauth_providers.dev.jwks_uri = https://dev.example/keys\n\
         auth_oauth2.oauth_providers.dev.https.cacertfile = dev.pem\n\
         auth_oauth2.oauth_providers.dev.algorithms.1 = RS256\n\
         auth_oauth2.oauth_providers.dev.scope_prefix = x\n\
         auth_oauth2.resource_servers.second.scope_prefix = 2:\n\
         auth_oauth2.resource_servers.second.oauth_provider_id = dev\n\
         auth_oauth2.resource_servers.second.scope_aliases.a = b\n\
         auth_oauth2.resource_servers.x.id = third\n\
         auth_oauth2.id = fourth\n",
    );
    let expected = r#"
        [auth.oauth2]
        resource_server_id = "first"
        issuer = "https://id.example/realms/x"
        discovery_endpoint_path = ".well-known/other?app=1&version=2"
        cacertfile = "ca.pem"
        require_exp = false
        default_oauth_provider = "dev"
        [[auth.oauth2.oauth_providers]]
        id = "dev"
        jwks_uri = "https://dev.example/keys"
        cacertfile = "dev.pem"
        algorithms = ["RS256"]
        [[auth.oauth2.resource_servers]]
        id = "second"
        scope_prefix = "2:"
        oauth_provider_id = "dev"
        scope_aliases = [{alias = "a", scope = "b"}]
        [[auth.oauth2.resource_servers]]
        id = "third"
    "#;
    assert_eq!(table, toml(expected));
    let lines: Vec<usize> = remarks.iter().map(|remark| remark.line).collect();
    assert_eq!(lines, [7, 9, 16, 21]);
    let config = Config::compose(table, std::iter::empty(), Cli::default()).unwrap();
    assert_eq!(config.auth.oauth2.resource_servers.len(), 2);
}

#[test]
fn server_that_is_asked_for_users_is_found_behind_the_cache() {
    let (table, remarks) = translated(
        "auth_backends.1 = cache\n\
         auth_cache.cached_backend = http\n\
         auth_cache.cache_ttl = 5000\n\
         auth_cache.cache_refusals = true\n\
         auth_cache.cache_module = x\n\
         auth_http.http_method = post\n\
         auth_http.user_path = http://a/user\n\
         auth_http.vhost_path = http://a/vhost\n\
         auth_http.resource_path = http://a/resource\n\
         auth_http.topic_path = http://a/topic\n\
         auth_http.request_timeout = 2000\n\
         auth_http.ssl_options.cacertfile = ca.pem\n\
         auth_http.ssl_options.verify = verify_peer\n",
    );
    let expected = r#"
        [auth]
        backends = ["http"]
        [auth.http]
        http_method = "post"
        user_path = "http://a/user"
        vhost_path = "http://a/vhost"
        resource_path = "http://a/resource"
        topic_path = "http://a/topic"
        request_timeout = 2000
        cacertfile = "ca.pem"
        [auth.cache]
        cache_ttl = 5000
        cache_refusals = true
    "#;
    assert_eq!(table, toml(expected));
    let texts: Vec<&str> = remarks.iter().map(|remark| &*remark.text).collect();
    assert_eq!(
        texts,
        [
            "auth_cache.cache_module has no effect here",
            "auth_http.ssl_options.verify has no effect here",
        ]
    );
}

#[test]
fn listeners_are_at_the_interface_that_is_said() {
    let (table, remarks) = translated(
        "management.tcp.port = 15000\n\
         management.tcp.ip = 127.0.0.1\n\
         prometheus.tcp.ip = ::1\n\
         management.ssl.ip = 10.0.0.1\n\
         web_mqtt.tcp.ip = 10.0.0.2\n\
         web_mqtt.tcp.listener = 10.0.0.3:1\n\
         listeners.tcp.1 = unix:/run/rabbitmq.sock:0\n",
    );
    let expected = "
        management.listen = ['127.0.0.1:15000']
        prometheus.listen = ['[::1]:15692']
        mqtt.websocket_listen = ['10.0.0.3:1']
    ";
    assert_eq!(table, toml(expected));
    let lines: Vec<usize> = remarks.iter().map(|remark| remark.line).collect();
    assert_eq!(lines, [7]);
}

#[test]
fn encrypted_password_is_none() {
    let (table, remarks) = translated("default_user = ann\ndefault_pass = encrypted:abc\n");
    assert_eq!(remarks[0].line, 2);
    let user = &table["broker"]["users"][0];
    assert_eq!(
        (user["name"].as_str(), user["password"].as_str()),
        (Some("ann"), Some(""))
    );
}
