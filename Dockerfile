# Builds cuelight from source and ships the binary alone.
#
#   docker build --tag cuelight .
#   buildah build --format docker --tag cuelight .     (the OCI format drops HEALTHCHECK)
#
# Both base images are arguments, for those who build behind a mirror or on a base of their own.
ARG BUILD_IMAGE=docker.io/library/rust:1-bookworm
ARG RUN_IMAGE=docker.io/library/debian:bookworm-slim

FROM ${BUILD_IMAGE} AS build
WORKDIR /build
COPY . .
RUN cargo build --profile dist --locked --bin cuelight && strip target/dist/cuelight

FROM ${RUN_IMAGE}
# GitHub's certificate is verified against the system's authorities.
RUN test -e /etc/ssl/certs/ca-certificates.crt \
    || (apt-get update && apt-get install --yes --no-install-recommends ca-certificates \
        && rm -rf /var/lib/apt/lists/*)
RUN groupadd --system --gid 10001 cuelight \
    && useradd --system --uid 10001 --gid cuelight --home-dir /var/lib/cuelight \
        --shell /usr/sbin/nologin cuelight \
    && install --directory --owner=cuelight --group=cuelight /var/lib/cuelight
COPY --from=build /build/target/dist/cuelight /usr/local/bin/cuelight

# Of the C library's pools of memory one for each core: more of them cost a fifth of the memory.
ENV MALLOC_ARENA_MAX=2

USER 10001:10001
WORKDIR /var/lib/cuelight
VOLUME /var/lib/cuelight
# 8080: webhooks, for GitHub. 7007: the API, on the container's loopback until it is configured.
EXPOSE 8080 7007
HEALTHCHECK --interval=10s --timeout=5s --start-period=30s --retries=3 \
    CMD ["cuelight", "healthcheck"]
STOPSIGNAL SIGTERM
ENTRYPOINT ["cuelight"]
CMD ["serve"]
