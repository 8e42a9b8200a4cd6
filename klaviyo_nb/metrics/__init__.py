"""Metrics: range queries against a Prometheus-compatible server, and when, how many and how bad."""
