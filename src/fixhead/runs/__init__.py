"""Runs as rows: records, their files, statistics, the machine."""
