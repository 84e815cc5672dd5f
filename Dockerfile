# The prediction service with the models released in models/.
#   docker build -t cats-dogs-classifier:latest .
#   docker run -p 8000:8000 cats-dogs-classifier:latest
ARG NODE_IMAGE=node:24-bookworm-slim

FROM ${NODE_IMAGE} AS dependencies
WORKDIR /app
# The install script of onnxruntime-node would fetch CUDA libraries, which the service does not use.
ENV ONNXRUNTIME_NODE_INSTALL=skip npm_config_cache=/tmp/npm
COPY package.json package-lock.json ./
RUN --mount=type=cache,target=/tmp/npm npm ci --omit=dev --no-audit --no-fund
# onnxruntime-node ships its library for every platform, and echarts its builds for browsers: 300 MB that nobody loads here.
RUN for dir in node_modules/onnxruntime-node/bin/napi-v*/*/*; do \
      case "$dir" in */linux/"$(node -p process.arch)") ;; *) rm -r "$dir" ;; esac; \
    done && rm -r node_modules/echarts/dist

FROM ${NODE_IMAGE}
# Decoders allocate from many threads: glibc would keep a heap of its own for each. Predictions and feedback lie beside the log.
ENV NODE_ENV=production SERVAL_HOST=0.0.0.0 SERVAL_PORT=8000 SERVAL_STATE_DIR=/app/logs/state MALLOC_ARENA_MAX=2
WORKDIR /app
COPY --from=dependencies /app/node_modules node_modules
COPY package.json LICENSE ./
COPY src src
COPY models models
# Where volumes are mounted: a volume takes its owner from the image.
RUN mkdir logs /models && chown node:node logs /models
USER node
EXPOSE 8000
HEALTHCHECK --interval=5s --timeout=5s --start-period=30s --retries=3 \
  CMD ["node", "-e", "fetch(`http://127.0.0.1:${process.env.SERVAL_PORT}/health`).then(({ ok }) => process.exit(ok ? 0 : 1), () => process.exit(1))"]
ENTRYPOINT ["node", "src/cli/main.ts"]
CMD ["serve"]
