"""Runs as records: their files and schemas, statistics over them, the machine, the store."""
