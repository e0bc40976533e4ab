# scRAE with R 4.5, Seurat 5 and Python 3.13 on Debian 13. docs/how_to/container.md says how to use it.
# The Debian packages are those that `make test-newest` tests with, and the Python packages those of requirements-newest.lock.
FROM debian:trixie-slim

RUN apt-get update && DEBIAN_FRONTEND=noninteractive apt-get install --yes --no-install-recommends \
        ca-certificates \
        libopenblas0-pthread \
        python3-dev \
        python3-torch libopenblas0-pthread \
        python3-venv \
        r-base-dev \
        r-bioc-delayedarray \
        r-bioc-deseq2 \
        r-bioc-edger \
        r-bioc-hdf5array \
        r-bioc-multiassayexperiment \
        r-bioc-s4vectors \
        r-bioc-scater \
        r-bioc-singlecellexperiment \
        r-bioc-summarizedexperiment \
        r-cran-callr \
        r-cran-cli \
        r-cran-ggplot2 \
        r-cran-jsonlite \
        r-cran-processx \
        r-cran-ps \
        r-cran-reticulate \
        r-cran-seurat \
        r-cran-seuratobject \
        r-recommended \
    && rm -rf /var/lib/apt/lists/*

# torch is Debian's own build for processors, which is why the environment sees the system's packages.
COPY . /tmp/scrae
RUN python3 -m venv --system-site-packages /opt/scrae \
    && /opt/scrae/bin/python -m pip install --no-cache-dir --constraint /tmp/scrae/requirements-newest.lock \
        "/tmp/scrae[r,pseudobulk]" \
    && R CMD INSTALL /tmp/scrae/rpkg \
    && rm -rf /tmp/scrae

ENV PATH=/opt/scrae/bin:$PATH \
    RETICULATE_PYTHON=/opt/scrae/bin/python

# The image is not made where one of the two cannot train.
RUN scrae doctor && Rscript --vanilla -e 'stopifnot(scRAE::SCRAEStatus()$ready)'

RUN useradd --create-home scrae
USER scrae
WORKDIR /home/scrae
CMD ["bash"]
