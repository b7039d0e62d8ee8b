# A static binary in an empty image, for linux/amd64 and linux/arm64:
#   docker buildx build --platform linux/amd64,linux/arm64 --tag registry.example.com/kanary:0.1.0 --push .
# Alpine's compiler links musl, and so everything, statically.
FROM rust:1.95.0-alpine AS build
RUN apk add --no-cache ca-certificates gcc make musl-dev
WORKDIR /src
COPY . .
# Without clippy and rustfmt, which rust-toolchain.toml names for developers.
ENV RUSTUP_TOOLCHAIN=1.95.0
# Pages of up to 64 KiB, which some kernels for arm64 have.
ENV JEMALLOC_SYS_WITH_LG_PAGE=16
# Tables of lines are three quarters of the program. A message of a panic has its line without them.
RUN cargo build --locked --release --features jemalloc && strip --strip-debug target/release/kanary

FROM scratch
# Authorities for Prometheus servers and collectors of traces with public certificates.
COPY --from=build /etc/ssl/certs/ca-certificates.crt /etc/ssl/certs/ca-certificates.crt
COPY --from=build /src/target/release/kanary /usr/local/bin/kanary
# For `kubectl exec`.
ENV PATH=/usr/local/bin
USER 65532:65532
ENTRYPOINT ["/usr/local/bin/kanary"]
