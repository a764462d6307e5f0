# jobgate's image for those who build with a container engine:
#
#     docker buildx build --platform linux/amd64,linux/arm64 --build-arg VERSION=v1.2.3 --build-arg REVISION=$(git rev-parse HEAD) .
#
# `make image` assembles the same image without an engine, and is what a release is made with; image/ holds the two together.
# The time of the commit in SOURCE_DATE_EPOCH makes two builds alike; docs/release.md says how.

# A tag may be moved, a digest cannot. A release that is built here names both:
#     --build-arg GO_IMAGE=docker.io/library/golang:1.26.8-trixie@sha256:...
# `crane digest docker.io/library/golang:1.26.8-trixie` tells today's.
ARG GO_IMAGE=docker.io/library/golang:1.26.8-trixie
ARG VERSION=devel
ARG REVISION=unknown

# The compiler runs on the builder's own platform and compiles for the target's: no emulation.
FROM --platform=$BUILDPLATFORM ${GO_IMAGE} AS build
WORKDIR /src
COPY go.mod go.sum ./
RUN --mount=type=cache,target=/go/pkg/mod go mod download
COPY . .
ARG TARGETOS
ARG TARGETARCH
ARG VERSION
RUN --mount=type=cache,target=/go/pkg/mod --mount=type=cache,target=/root/.cache/go-build \
    GOOS=$TARGETOS GOARCH=$TARGETARCH make build VERSION="$VERSION" BINARY=/out/jobgate

# Nothing but the program and the CAs that verify GitLab's certificate: no shell, no packages, no users, no time zones.
FROM scratch
COPY --from=build --chmod=0644 /etc/ssl/certs/ca-certificates.crt /etc/ssl/certs/ca-certificates.crt
COPY --from=build --chmod=0755 /out/jobgate /jobgate
ARG VERSION
ARG REVISION
LABEL org.opencontainers.image.title="jobgate"
LABEL org.opencontainers.image.description="kube-apiserver's authentication and authorization webhook for GitLab CI jobs"
LABEL org.opencontainers.image.source="https://github.com/jobgate/jobgate"
LABEL org.opencontainers.image.licenses="Apache-2.0"
LABEL org.opencontainers.image.version="${VERSION}"
LABEL org.opencontainers.image.revision="${REVISION}"
# `kubectl exec POD -- jobgate explain` finds it.
ENV PATH=/
WORKDIR /
# Numbers: runAsNonRoot cannot judge a name, and there is no /etc/passwd.
USER 65532:65532
# Reviews; health and metrics.
EXPOSE 9443/tcp 9444/tcp
STOPSIGNAL SIGTERM
ENTRYPOINT ["/jobgate"]
