"""What a user sees and does beside the protocol: fault injection, logs, telemetry and the live page."""
