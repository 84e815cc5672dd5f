#!/usr/bin/env bash
# Opens Grafana, Prometheus or Alertmanager of deployment/stack.yaml on 127.0.0.1 of this manager, until Ctrl-C. Swarm itself could only publish
# them on every address of a host.
#   scripts/reach_stack.sh grafana | prometheus | alertmanager [PORT]     PORT: 3000, 9090, 9093
#   SERVAL_STACK   name of the stack (serval)
#   SERVAL_IMAGE   image of the service, which does the work (cats-dogs-classifier:latest)
set -euo pipefail
case ${1:-} in
  grafana) inside=3000 ;;
  prometheus) inside=9090 ;;
  alertmanager) inside=9093 ;;
  *) echo "Usage: scripts/reach_stack.sh grafana | prometheus | alertmanager [PORT]" >&2; exit 2 ;;
esac
port=${2:-$inside}
[[ $port =~ ^[0-9]+$ ]] || { echo "$port is not a port." >&2; exit 2; }
echo "$1 is at http://127.0.0.1:$port until you press Ctrl-C." >&2
exec docker run --rm --network "${SERVAL_STACK:-serval}_service" --publish "127.0.0.1:$port:$inside" \
  --read-only --cap-drop ALL --security-opt no-new-privileges --memory 128m --pids-limit 64 \
  --entrypoint node "${SERVAL_IMAGE:-cats-dogs-classifier:latest}" --eval '
    const { connect, createServer } = require("node:net");
    const [host, port] = process.argv.slice(1);
    for (const signal of ["SIGINT", "SIGTERM"]) process.on(signal, () => process.exit());
    createServer((client) => {
      const server = connect(port, host);
      client.on("error", () => server.destroy());
      server.on("error", () => client.destroy());
      client.pipe(server).pipe(client);
    }).listen(port);
  ' "tasks.$1" "$inside"
