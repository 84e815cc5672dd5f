#!/bin/sh
# Writes Alertmanager's configuration from the variables ALERT_… (explained in .env.example) and starts it. Alertmanager itself reads no
# variables. Without a receiver, alerts are only shown.
set -eu
config=${ALERT_CONFIG:-/tmp/alertmanager.yml}
umask 077

# A value as a YAML string.
quoted() { printf "'%s'" "$(printf %s "$1" | sed "s/'/''/g")"; }
fail() { echo "$1" >&2; exit 2; }

webhook=${ALERT_WEBHOOK_URL:-} mail=${ALERT_MAIL_TO:-} host=${ALERT_SMTP_HOST:-}
[ -z "$mail" ] || [ -n "$host" ] || fail "ALERT_MAIL_TO is set and ALERT_SMTP_HOST is not: set the mail server, such as smtp.example.com:587."
[ -z "$mail" ] || [ -n "${ALERT_MAIL_FROM:-}" ] || fail "ALERT_MAIL_TO is set and ALERT_MAIL_FROM is not: set the address that mails come from."

{
  cat <<'YAML'
route:
  receiver: people
  # Warnings that begin together are one message, those that come later the next one, and what lasts is repeated daily.
  group_by: [severity]
  group_wait: 30s
  group_interval: 30m
  repeat_interval: 24h
  routes:
    # Critical ones are sent at once, each in its own message, and are repeated every hour.
    - matchers: ['severity="critical"']
      group_by: [alertname]
      group_wait: 0s
      group_interval: 1m
      repeat_interval: 1h
inhibit_rules:
  # When no container answers, that one of them does not is not news.
  - source_matchers: ['alertname="ClassifierDown"']
    target_matchers: ['alertname="ClassifierReplicaDown"']
receivers:
  - name: people
YAML
  [ -z "$webhook" ] || printf '    webhook_configs:\n      - url: %s\n' "$(quoted "$webhook")"
  if [ -n "$mail" ]; then
    printf '    email_configs:\n      - to: %s\n        from: %s\n        smarthost: %s\n' "$(quoted "$mail")" "$(quoted "$ALERT_MAIL_FROM")" "$(quoted "$host")"
    printf '        require_tls: %s\n        send_resolved: true\n' "${ALERT_SMTP_TLS:-true}"
    [ -z "${ALERT_SMTP_USER:-}" ] || printf '        auth_username: %s\n        auth_password: %s\n' "$(quoted "$ALERT_SMTP_USER")" "$(quoted "${ALERT_SMTP_PASSWORD:-}")"
  fi
} >"$config"

# One Alertmanager alone, so it looks for no others.
exec alertmanager --config.file="$config" --storage.path=/alertmanager --cluster.listen-address= --web.external-url=http://localhost:9093
