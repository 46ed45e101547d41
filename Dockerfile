# docker build --tag ternmq .
# docker run --publish 5672:5672 --publish 1883:1883 --publish 15675:15675 --volume ternmq:/var/lib/ternmq ternmq
#
# Keys are set by the environment (--env TERNMQ_AMQP__HEARTBEAT_S=30), or by a file
# (--volume ./ternmq.toml:/etc/ternmq/ternmq.toml:ro ternmq --config /etc/ternmq/ternmq.toml): docs/configuration.md.
# guest may log in from the container alone; give the first user another name, or say `loopback_only = false`.

FROM rust:1.95-slim-trixie AS build
WORKDIR /source
COPY . .
RUN --mount=type=cache,target=/usr/local/cargo/registry \
    --mount=type=cache,target=/source/target \
    cargo build --release --locked --bin ternmq && cp target/release/ternmq /ternmq

FROM debian:trixie-slim
RUN useradd --system --home-dir /var/lib/ternmq ternmq \
    && install --directory --owner ternmq --group ternmq /var/lib/ternmq /etc/ternmq
COPY --from=build /ternmq /usr/bin/ternmq
# For authorization servers and HTTP backends whose certificates are checked.
COPY --from=build /etc/ssl/certs/ca-certificates.crt /etc/ssl/certs/ca-certificates.crt
USER ternmq
ENV TERNMQ_STORAGE__DATA_DIR=/var/lib/ternmq
VOLUME /var/lib/ternmq
# AMQP, MQTT, MQTT over WebSocket; the same with TLS; the management API, its TLS, and metrics.
EXPOSE 5672 1883 15675 5671 8883 15676 15672 15671 15692
# SIGTERM, so that every connection is said goodbye.
STOPSIGNAL SIGTERM
ENTRYPOINT ["/usr/bin/ternmq"]
