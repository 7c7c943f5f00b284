# A thin runtime image: the program was compiled once for all services; the build context is the folder with it.
FROM registry.access.redhat.com/ubi9/ubi-minimal:latest
LABEL name="kubernaut-datastorage" \
      vendor="Kubernaut" \
      summary="Kubernaut datastorage" \
      description="Keeps the audit trail of every service on PostgreSQL, with a Redis stream as fallback" \
      io.k8s.display-name="Kubernaut datastorage" \
      io.k8s.description="Keeps the audit trail of every service on PostgreSQL, with a Redis stream as fallback"
COPY --chmod=755 datastorage /usr/local/bin/datastorage
USER 1001
EXPOSE 8080 8081 9090
ENTRYPOINT ["/usr/local/bin/datastorage"]
CMD ["serve", "--config", "/etc/datastorage/config.toml"]
