"""Tools beside the protocol: fault injection, logs, telemetry and the live page."""
