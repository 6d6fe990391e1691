# The image that runs Seatlock: one program, the libraries it is linked to and the certificates it trusts, and
# nothing else. Needs no BuildKit: `docker build .`, `buildah bud --format docker .` (the format keeps
# HEALTHCHECK) and `make test-image` make the same image.

ARG RUST_VERSION=1.95

FROM docker.io/library/rust:${RUST_VERSION}-slim-bookworm AS build

# What librdkafka is built with; the other C parts (SQLite, zstd, mimalloc, ring) take no more than a compiler.
# No versions: the base image's distribution fixes them, and only fixes of its security team come in.
# hadolint ignore=DL3008
RUN apt-get update \
    && apt-get install -y --no-install-recommends g++ make zlib1g-dev \
    && rm -rf /var/lib/apt/lists/*

WORKDIR /build
SHELL ["/bin/bash", "-euo", "pipefail", "-c"]

# Backends beside those that are always in, separated by commas; may be empty.
ARG FEATURES=rabbitmq,kafka
# `dist` takes longer to build and runs a little faster (Cargo.toml).
ARG PROFILE=release

# First the dependencies, with nothing of our own but what Cargo has to find: this layer lasts until a manifest
# changes.
COPY Cargo.toml Cargo.lock ./
COPY entity/Cargo.toml entity/
COPY loadgen/Cargo.toml loadgen/
COPY migration/Cargo.toml migration/
COPY tests/support/Cargo.toml tests/support/
RUN mkdir -p src entity/src loadgen/src migration/src tests/support/src \
    && echo 'fn main() {}' >src/main.rs \
    && touch src/lib.rs entity/src/lib.rs loadgen/src/lib.rs migration/src/lib.rs tests/support/src/lib.rs \
    && cargo build --locked --profile "$PROFILE" --bin seatlock --features "$FEATURES" \
    && rm -rf src entity/src loadgen/src migration/src

COPY entity/src entity/src
COPY loadgen/src loadgen/src
COPY migration/src migration/src
COPY src src
# The files are older than what was just built of their stand-ins, and Cargo goes by time.
RUN find src entity/src loadgen/src migration/src -name '*.rs' -exec touch {} + \
    && cargo build --locked --profile "$PROFILE" --bin seatlock --features "$FEATURES"

# The image's whole file system: the program, its libraries where the loader looks for them, certificates for
# TLS to PostgreSQL and Redis, its user, and the one folder that it may write to.
RUN mkdir -p /image/usr/local/bin /image/etc/ssl/certs /image/data \
    && cp "target/$PROFILE/seatlock" /image/usr/local/bin/ \
    && ldd /image/usr/local/bin/seatlock | grep -o '/[^ ]*' | xargs -n 1 cp --dereference --parents --target-directory=/image \
    && cp --dereference /etc/ssl/certs/ca-certificates.crt /image/etc/ssl/certs/ \
    && echo 'seatlock:x:10001:10001:seatlock:/data:/nonexistent' >/image/etc/passwd \
    && echo 'seatlock:x:10001:' >/image/etc/group \
    && chown 10001:10001 /image/data \
    && chmod 750 /image/data

# Nothing in it that an intruder could use, or that ages apart from the program: rebuilding the image is how
# libc and the certificates are renewed.
FROM scratch

ARG VERSION=0.1.0
ARG REVISION=unknown
ARG SOURCE=unknown
LABEL org.opencontainers.image.title="seatlock" \
      org.opencontainers.image.description="A seat reservation service: exactly one buyer gets each seat, and nothing acknowledged is lost" \
      org.opencontainers.image.licenses="Apache-2.0 OR MIT" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}" \
      org.opencontainers.image.source="${SOURCE}"

COPY --from=build /image /

# From outside a container its loopback cannot be reached. On another address the service insists on an
# ADMIN_API_KEY: without one it does not start, and says so.
#
# With WRITE_DB_URL nothing is ever written, and the whole file system may be read-only. Without it the SQLite
# file is in /data, which then has to be a volume that outlives the container; what SQLite sorts goes there, too.
ENV BIND=0.0.0.0:8080 \
    SQLITE_PATH=/data/seatlock.db \
    TMPDIR=/data

VOLUME ["/data"]
WORKDIR /data
USER 10001:10001
EXPOSE 8080

# Serving ends within DRAIN_DELAY + DRAIN_TIMEOUT, 20 seconds: give it 30 (`docker stop --time 30`).
STOPSIGNAL SIGTERM

# Liveness, not readiness: a container must not be restarted because a database is unavailable.
HEALTHCHECK --interval=10s --timeout=3s --start-period=60s --retries=3 \
    CMD ["/usr/local/bin/seatlock", "healthcheck"]

ENTRYPOINT ["/usr/local/bin/seatlock"]
CMD ["serve"]
