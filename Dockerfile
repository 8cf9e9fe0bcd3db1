# paidup as one static binary on an empty image.
#
# The binary is static by glibc (`+crt-static`): since 2.34 a static program of its looks up host names
# without any library beside it.

FROM docker.io/library/rust:1.95-bookworm AS builder
WORKDIR /build
# With a target given, flags reach what is built for the image but not the macros that run here.
ENV CARGO_BUILD_TARGET=host-tuple \
    CARGO_TARGET_DIR=/build/target \
    RUSTFLAGS="-C target-feature=+crt-static"

# Writes into the program what it is made of, for `cargo audit bin` and others to read; and writes that out
# again, as a bill of materials in CycloneDX's form.
RUN env -u CARGO_BUILD_TARGET -u RUSTFLAGS CARGO_TARGET_DIR=/tmp/auditable \
        cargo install --locked cargo-auditable@0.7.7 auditable2cdx@0.1.0 \
    && rm -r /tmp/auditable

# The dependencies, in a layer that lasts until the manifest or the lock changes. Benches and tests
# stay outside, and cargo refuses a manifest that names files which it cannot find.
COPY Cargo.toml Cargo.lock ./
RUN awk '/^\[/ { skip = /^\[\[(bench|test|example)\]\]/ } !skip' Cargo.toml > Cargo.trimmed \
    && mv Cargo.trimmed Cargo.toml \
    && mkdir src \
    && echo 'fn main() {}' > src/main.rs \
    && touch src/lib.rs \
    && cargo auditable build --locked --release --bin paidup \
    && rm -r src

# paidup itself. The touch tells cargo that these files are newer than the stand-ins above.
COPY migrations migrations
COPY templates templates
COPY src src
RUN touch src/main.rs src/lib.rs \
    && cargo auditable build --locked --release --bin paidup \
    && install -D target/*/release/paidup /image/paidup \
    && "$CARGO_HOME/bin/auditable2cdx" /image/paidup > /image/paidup.cdx.json

# What the empty image needs beside it: a place for SQLite, certificate authorities, a named user.
RUN mkdir -p /image/etc/ssl/certs /data \
    && cp /etc/ssl/certs/ca-certificates.crt /image/etc/ssl/certs/ \
    && echo 'paidup:x:65532:65532:paidup:/data:/paidup' > /image/etc/passwd \
    && echo 'paidup:x:65532:' > /image/etc/group

FROM scratch
ARG VERSION=unknown
ARG REVISION=unknown
LABEL org.opencontainers.image.title="paidup" \
      org.opencontainers.image.description="Turns Stripe webhooks into order states: verified, recorded once, right in any order." \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.vendor="the paidup authors" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}"

COPY --from=builder /image /
COPY --from=builder --chown=65532:65532 /data /data
COPY LICENSE /LICENSE

USER 65532:65532
# The embedded database's file is made where paidup runs, so it lands on the volume.
WORKDIR /data
VOLUME ["/data"]

# 8000 takes the webhooks; 8001 is the operators' own and no business of the Internet.
EXPOSE 8000 8001
HEALTHCHECK --interval=10s --timeout=5s --start-period=10s --retries=3 CMD ["/paidup", "health"]
ENTRYPOINT ["/paidup"]
CMD ["serve"]
