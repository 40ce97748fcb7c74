# syntax=docker/dockerfile:1
# docker build -t unetvnet .                                 for CPUs
# docker build -t unetvnet:cuda --build-arg VARIANT=cuda .    for NVIDIA GPUs
ARG VARIANT=cpu
FROM python:3.12-slim-bookworm AS base
ENV PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1 PYTHONUNBUFFERED=1
WORKDIR /src
COPY constraints.txt requirements.txt ./
COPY stand_ins stand_ins

# the wheels of torch for Linux that the index has bring CUDA's libraries along
FROM base AS cuda
RUN pip install -r requirements.txt

# those of PyTorch's own index for CPUs are a tenth of the size; the other pins hold
FROM base AS cpu
RUN grep -Ev '^(torch|torchvision|nvidia-|cuda-|triton)' constraints.txt > cpu.txt \
    && grep -v '^-c' requirements.txt > needed.txt \
    && pip install -c cpu.txt --index-url https://download.pytorch.org/whl/cpu \
        --extra-index-url https://pypi.org/simple -r needed.txt

FROM ${VARIANT} AS app
WORKDIR /src
COPY . .
RUN pip install --no-cache-dir --no-deps . \
    && useradd --create-home --uid 1000 label \
    && mkdir -p /studies /models \
    && chown label:label /studies /models
USER 1000
WORKDIR /home/label
ENV UNETVNET_MODELS=/models XDG_CACHE_HOME=/tmp/cache MPLCONFIGDIR=/tmp/cache/matplotlib \
    DO_NOT_TRACK=true MLFLOW_DISABLE_TELEMETRY=true
VOLUME ["/studies", "/models"]
EXPOSE 8000
HEALTHCHECK --interval=30s --timeout=10s --start-period=120s \
    CMD ["python", "-c", "import socket; socket.create_connection(('127.0.0.1', 8000), 8)"]
# it listens to all addresses of the container: publish the port to this machine alone, or name users
ENTRYPOINT ["unetvnet"]
CMD ["serve", "--studies", "/studies", "--host", "0.0.0.0", "--no-browser"]
