FROM registry.access.redhat.com/ubi9/ubi-minimal:latest
COPY --chmod=755 front /usr/local/bin/front
USER 1001
ENTRYPOINT ["/usr/local/bin/front"]
