# Runtime image: the build context is the folder with the program.
FROM registry.access.redhat.com/ubi9/ubi-minimal:latest
LABEL name="silences" \
      vendor="Example" \
      summary="Silences" \
      description="Stores silences of namespaces" \
      io.k8s.display-name="Silences" \
      io.k8s.description="Stores silences of namespaces"
COPY --chmod=755 silences /usr/local/bin/silences
USER 1001
EXPOSE 8080 8081
ENTRYPOINT ["/usr/local/bin/silences"]
CMD ["serve", "--config", "/etc/silences/config.toml"]
