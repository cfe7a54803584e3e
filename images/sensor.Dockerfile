# syntax=docker/dockerfile:1
# The sensor: captures, matches, delivers. Its root file system can be read-only; it writes to its spool and /tmp.
# Build from the root of the repository: docker build -f images/sensor.Dockerfile .
# Several platforms: docker buildx build --platform linux/amd64,linux/arm64 ...; docs/release.md says how a release does it.

FROM debian:12-slim AS build
ARG DEBIAN_FRONTEND=noninteractive
RUN apt-get update && apt-get install -y --no-install-recommends \
      python3 python3-dev python3-venv gcc g++ libpcap-dev && rm -rf /var/lib/apt/lists/*
WORKDIR /src
# Dependencies first: a change of our code alone does not install them again.
COPY pyproject.toml constraints.txt README.md LICENSE hatch_build.py ./
RUN python3 -m venv /opt/venv && mkdir crds proto core operator sensor processor && \
    PACKHOUND_PORTABLE=1 /opt/venv/bin/pip install --no-cache-dir -c constraints.txt '.[sensor,console]' && \
    /opt/venv/bin/pip uninstall -y packhound
COPY crds crds
COPY proto proto
COPY core core
COPY operator operator
COPY sensor sensor
COPY processor processor
RUN /opt/venv/bin/pip install --no-cache-dir --no-deps . && \
    /opt/venv/bin/python -c "from packhound.sensor.kernel import _scan" && \
    /opt/venv/bin/packhound --version && \
    /opt/venv/bin/pip uninstall -y pip setuptools && \
    find /opt/venv -depth \( -name tests -o -name __pycache__ \) -type d -exec rm -rf {} + && \
    python3 -m compileall -q -j 0 /opt/venv
# What the base below lacks: libpcap, where no wheel of this platform has it inside, and what it needs.
RUN mkdir -p /more && find /opt/venv -name '*.so*' -exec ldd {} + | \
      sed -nE 's/.* => (\/[^ ]*lib(pcap|dbus-1|systemd|cap|lzma|zstd|lz4|gcrypt|gpg-error)\.so[^ ]*) .*/\1/p' | \
      sort -u | xargs -r -I{} cp --parents -L {} /more

# No shell, no package manager; the same Python as above.
FROM gcr.io/distroless/python3-debian12:nonroot
LABEL org.opencontainers.image.title="packhound sensor" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.description="The sensor: captures, matches, delivers. Its root file system can be read-only; it writes to its spool and /tmp."
COPY --from=build /more /
COPY --from=build /opt/venv /opt/venv
ENV PATH=/opt/venv/bin:/usr/bin PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1 HOME=/tmp
WORKDIR /tmp
# Root, for NET_RAW: a capability that is added to a container reaches no other user without file capabilities, which
# every script of that Python would have. All others are dropped by the pod.
USER 0:0
ENTRYPOINT ["/opt/venv/bin/packhound"]
CMD ["sensor"]
