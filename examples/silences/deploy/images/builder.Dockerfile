# Compiles all services, on hosts whose glibc is newer than UBI9's (ADR-028: build stages pin the minor version). Caches
# are kept between builds; the runner copies the programs from the image.
FROM registry.access.redhat.com/ubi9/ubi:9.7 AS build
RUN dnf install -y rust-toolset gcc openssl-devel && dnf clean all
WORKDIR /src
COPY . .
ARG PACKAGES
RUN --mount=type=cache,target=/root/.cargo/registry \
    --mount=type=cache,target=/src/target \
    cargo build --locked --release $(printf -- '--package %s ' $PACKAGES) \
    && mkdir -p /out && for package in $PACKAGES; do cp "target/release/$package" /out/; done
