# The app and the command line in a container.
#
#   docker build -t winnow .
#   docker build -t winnow --build-arg BASE=nvidia/cuda:12.8.1-base-ubuntu24.04 --build-arg TORCH_INDEX=https://pypi.org/simple .
#
#   docker run -p 127.0.0.1:8501:8501 -v winnow:/data winnow                # the app: it prints its link, with a token
#   docker run -p 127.0.0.1:8501:8501 -v winnow:/data --gpus all winnow     # with the second image
#   docker run --rm -v winnow:/data -v "$PWD:/data/pools:ro" winnow python -m core inspect /data/pools/pool.jsonl --workspace /data/workspace
#
# Pools that the app opens by path lie in /data/pools; measurements are stored in /data/workspace.
ARG BASE=python:3.11-slim-bookworm
FROM ${BASE}

# a CUDA image has no Python; the packages' versions are those of the base image's release
# hadolint ignore=DL3008
RUN if ! command -v python3 >/dev/null; then \
        apt-get update \
        && DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends python3 python3-venv \
        && rm -rf /var/lib/apt/lists/*; \
    fi \
    && python3 -m venv /opt/winnow \
    && useradd --uid 10001 --home-dir /data --shell /usr/sbin/nologin winnow \
    && mkdir -p /data/pools /data/workspace \
    && chown -R winnow /data

ENV PATH=/opt/winnow/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    WINNOW_WORKSPACE=/data/workspace \
    WINNOW_DATA_ROOTS=/data/pools \
    HF_HOME=/data/huggingface

WORKDIR /app
COPY requirements.txt .
# PyTorch first, from its own index: the one on PyPI brings gigabytes of CUDA that a CPU cannot use
ARG TORCH_INDEX=https://download.pytorch.org/whl/cpu
RUN pip install --no-cache-dir --index-url "${TORCH_INDEX}" "$(grep -o '^torch==[^ ]*' requirements.txt)" \
    && pip install --no-cache-dir -r requirements.txt
COPY . .

USER winnow
VOLUME /data
EXPOSE 8501
HEALTHCHECK --start-period=60s CMD ["python", "-c", "import urllib.request; urllib.request.urlopen('http://localhost:8501/_stcore/health', timeout=5)"]

# Other computers can reach this address, so the app asks for a token: WINNOW_TOKEN, or a new one that it prints. An empty
# WINNOW_TOKEN, which would ask for none, is not taken here. Another name than localhost: --server.allowedHosts NAME.
CMD ["sh", "-c", "[ -n \"${WINNOW_TOKEN}\" ] || unset WINNOW_TOKEN; exec streamlit run app.py --server.address 0.0.0.0 --server.port 8501 --server.headless true"]
