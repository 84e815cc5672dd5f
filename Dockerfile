# The prediction service with the models released in models/.
#   docker build -t cats-dogs-classifier:latest .
#   docker run -p 8000:8000 cats-dogs-classifier:latest
# The same files give the same layers, whenever and wherever it is built: every file has the date of SOURCE_DATE_EPOCH.
ARG NODE_IMAGE=node:24-bookworm-slim
ARG SOURCE_DATE_EPOCH=1735689600

FROM ${NODE_IMAGE} AS packages
WORKDIR /app
# The install script of onnxruntime-node would fetch CUDA libraries, which the service does not use.
ENV ONNXRUNTIME_NODE_INSTALL=skip npm_config_cache=/tmp/npm
COPY package.json package-lock.json ./
RUN --mount=type=cache,target=/tmp/npm npm ci --ignore-scripts --omit=dev --no-audit --no-fund

FROM packages AS dependencies
# onnxruntime-node ships its library for every platform, and echarts its builds for browsers: 300 MB that are never loaded here.
RUN for dir in node_modules/onnxruntime-node/bin/napi-v*/*/*; do \
      case "$dir" in */linux/"$(node -p process.arch)") ;; *) rm -r "$dir" ;; esac; \
    done && rm -r node_modules/echarts/dist
# What is in here, for those who look for known holes: CycloneDX without the number and the time of its making.
RUN npm pkg delete devDependencies && npm sbom --omit dev --sbom-format cyclonedx > /tmp/sbom.json && node -e 'const { serialNumber, metadata: { timestamp, ...metadata }, ...rest } = \
      JSON.parse(require("fs").readFileSync("/tmp/sbom.json")); console.log(JSON.stringify({ ...rest, metadata }))' > sbom.cdx.json
ARG SOURCE_DATE_EPOCH
RUN mkdir -p /packages/app && mv node_modules sbom.cdx.json /packages/app/ && find /packages -exec touch -h -d "@$SOURCE_DATE_EPOCH" {} +

# The sources become a few files of JavaScript (rolldown.config.ts): a service of a thousand is ready half as fast.
FROM packages AS bundle
RUN --mount=type=cache,target=/tmp/npm bundler=rolldown@$(node -p 'require("./package.json").devDependencies.rolldown') && \
    npm pkg delete devDependencies && npm install --ignore-scripts --no-save --no-audit --no-fund "$bundler"
COPY rolldown.config.ts ./
COPY src src
RUN npx rolldown -c

FROM ${NODE_IMAGE} AS program
WORKDIR /program/app
# params.yaml names the model that is meant where models/ has several.
COPY package.json LICENSE NOTICE params.yaml ./
COPY --from=bundle /app/dist dist
COPY models models
ARG SOURCE_DATE_EPOCH
RUN mkdir -p /writable/app/logs /writable/models && chmod -R u=rwX,go=rX /program && find /program /writable -exec touch -h -d "@$SOURCE_DATE_EPOCH" {} +

FROM ${NODE_IMAGE}
# Decoders allocate from many threads: glibc would keep its own heap for each. Predictions and feedback lie beside the log.
# Serval switches the telemetry of ONNX Runtime off by itself; the variable does so for anything else that is started in here.
ENV NODE_ENV=production SERVAL_HOST=0.0.0.0 SERVAL_PORT=8000 SERVAL_STATE_DIR=/app/logs/state MALLOC_ARENA_MAX=2 ORT_DISABLE_TELEMETRY=1
# Where volumes are mounted: a volume takes its owner from the image. /app itself is root's again after the next lines.
COPY --from=program --chown=node:node /writable/ /
COPY --from=dependencies /packages/ /
COPY --from=program /program/ /
WORKDIR /app
USER node
EXPOSE 8000
# Without Node, which takes longer to start than the answer.
HEALTHCHECK --interval=5s --timeout=5s --start-period=30s --retries=3 \
  CMD ["bash", "-c", "exec 3<>/dev/tcp/127.0.0.1/$SERVAL_PORT && printf 'GET /health HTTP/1.0\\r\\n\\r\\n' >&3 && read -r -t 4 _ status _ <&3 && [[ $status == 200 ]]"]
ENTRYPOINT ["node", "dist/cli/main.js"]
CMD ["serve"]
# docker build --build-arg VERSION=1.2.3 --build-arg REVISION=$(git rev-parse HEAD) …
ARG VERSION=unknown REVISION=unknown
LABEL org.opencontainers.image.title="cats-dogs-classifier" \
      org.opencontainers.image.description="Prediction service of an image classifier, made with Serval" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="$VERSION" \
      org.opencontainers.image.revision="$REVISION"
