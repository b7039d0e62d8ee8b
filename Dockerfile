FROM rust:1.95-bookworm AS build
WORKDIR /src
COPY . .
RUN cargo build --locked --release --features jemalloc

FROM debian:bookworm-slim
RUN apt-get update && apt-get install -y --no-install-recommends ca-certificates && rm -rf /var/lib/apt/lists/*
COPY --from=build /src/target/release/kanary /usr/local/bin/kanary
USER 65532:65532
ENTRYPOINT ["/usr/local/bin/kanary"]
