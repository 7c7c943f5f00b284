# The one compile for all services, for hosts whose own build does not fit UBI9 (ADR-028: build stages pin the minor
# version), in the profile of a build on the host. The caches are kept between builds; the programs are copied out of
# the finished image.
FROM registry.access.redhat.com/ubi9/ubi:9.7 AS build
RUN dnf install -y rust-toolset gcc openssl-devel && dnf clean all
WORKDIR /src
COPY . .
ARG PACKAGES
RUN --mount=type=cache,target=/root/.cargo/registry \
    --mount=type=cache,target=/src/target \
    cargo build --locked $(printf -- '--package %s ' $PACKAGES) \
    && mkdir -p /out && for package in $PACKAGES; do cp "target/debug/$package" /out/; done
