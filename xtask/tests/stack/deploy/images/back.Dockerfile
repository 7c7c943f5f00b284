FROM registry.access.redhat.com/ubi9/ubi-minimal:latest
COPY --chmod=755 back /usr/local/bin/back
USER 1001
ENTRYPOINT ["/usr/local/bin/back"]
