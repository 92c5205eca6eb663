# The image has one static binary, the CA certificates and the licence, and nothing else. `make image` builds the same
# without a registry.
FROM rust:1.95-bookworm AS builder
RUN apt-get update && apt-get install --yes --no-install-recommends ca-certificates musl-tools
WORKDIR /source
COPY . .
RUN tools/image-files /files

FROM scratch
COPY --from=builder /files /
# A number, not a name: only of a number can Kubernetes tell that it is not root.
USER 65532:65532
ENTRYPOINT ["/usr/local/bin/service-catalog"]
CMD ["run"]
