# One image for every command: `ticker run` unless another is named. docs/operations.md says how it is used.
# The base is the Python and the Debian that every test runs on. Some wheels are made for glibc only: Alpine cannot use them.
ARG BASE=python:3.11-slim-bookworm

FROM ${BASE} AS build
WORKDIR /src
COPY requirements/build.txt requirements/node.txt requirements/run.txt requirements/
RUN python -m venv /build \
 && /build/bin/pip install --no-cache-dir --require-hashes -r requirements/build.txt
# What runs lives in an environment of its own, which has no pip and is never compiled for: wheels or nothing.
RUN python -m venv --without-pip /opt/ticker \
 && /build/bin/pip --python /opt/ticker/bin/python install \
      --no-cache-dir --only-binary :all: --require-hashes -r requirements/run.txt
COPY pyproject.toml README.md LICENSE ./
COPY feeds feeds
COPY ticker ticker
# The trading page, with a Node from PyPI that stays behind in this stage.
COPY dashboard dashboard
RUN /build/bin/python dashboard/build.py
RUN /build/bin/python -m hatchling build --target wheel --directory /dist \
 && /build/bin/pip --python /opt/ticker/bin/python install --no-cache-dir --no-index --no-deps /dist/*.whl

FROM ${BASE}
RUN install -d -o 10001 -g 10001 /data
COPY --from=build /opt/ticker /opt/ticker
COPY config.yaml /etc/ticker/config.yaml
WORKDIR /etc/ticker
ENV PATH=/opt/ticker/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1 \
    TICKER_SERVER__HOST=0.0.0.0 \
    TICKER_REDIS__DATA_DIR=/data
USER 10001:10001
EXPOSE 8000
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=10s --timeout=3s --start-period=30s --retries=3 \
  CMD ["/opt/ticker/bin/python", "-c", "import os, urllib.request as r; r.urlopen('http://127.0.0.1:' + os.environ.get('TICKER_SERVER__PORT', '8000') + '/healthz', timeout=2)"]
ENTRYPOINT ["ticker"]
CMD ["run"]
