# Run by the image of PostgreSQL when its volume is empty, before it takes connections: what scripts/restore.sh put back.
if [ -f /dumps/predictions.dump ]; then
  pg_restore --exit-on-error --no-owner --username "$POSTGRES_USER" --dbname "$POSTGRES_DB" /dumps/predictions.dump
fi
