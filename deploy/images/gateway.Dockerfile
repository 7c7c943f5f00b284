# A thin runtime image: the program was compiled once for all services; the build context is the folder with it.
FROM registry.access.redhat.com/ubi9/ubi-minimal:latest
LABEL name="kubernaut-gateway" \
      vendor="Kubernaut" \
      summary="Kubernaut gateway" \
      description="Takes signals and makes exactly one active RemediationRequest of each problem" \
      io.k8s.display-name="Kubernaut gateway" \
      io.k8s.description="Takes signals and makes exactly one active RemediationRequest of each problem"
COPY --chmod=755 gateway /usr/local/bin/gateway
USER 1001
EXPOSE 8080 8081 9090
ENTRYPOINT ["/usr/local/bin/gateway"]
CMD ["serve", "--config", "/etc/gateway/config.toml"]
