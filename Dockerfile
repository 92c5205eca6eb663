FROM rust:1.95-bookworm AS builder
WORKDIR /source
COPY . .
RUN cargo build --release --locked --bin service-catalog

FROM debian:bookworm-slim
# Brokers are reached by TLS, with the certificates of the system unless a broker names its own.
RUN apt-get update \
    && apt-get install --yes --no-install-recommends ca-certificates \
    && rm -rf /var/lib/apt/lists/*
COPY --from=builder /source/target/release/service-catalog /usr/local/bin/service-catalog
COPY LICENSE /usr/share/doc/service-catalog/LICENSE
# A number, not a name: only of a number can Kubernetes tell that it is not root.
USER 65532:65532
ENTRYPOINT ["/usr/local/bin/service-catalog"]
CMD ["run"]
