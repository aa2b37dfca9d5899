"""`robo-reward serve-policy`: a policy for a control box that has no GPU."""

from __future__ import annotations

import os
import socket
import ssl
from pathlib import Path
from typing import Any

from omegaconf import DictConfig

from robo_reward.cli.robot.lerobot import open_configured_policy
from robo_reward.cli.terminal import Terminal
from robo_reward.errors import UsageError
from robo_reward.hardware.policy.server import PolicyServer, generate_token
from robo_reward.policies.policy import load_policy

TOKEN = "ROBO_REWARD_TOKEN"


def run(config: DictConfig, arguments: list[str]) -> int:
    """Serves until Ctrl-C; the token comes from the environment, or is made and shown."""
    console = Terminal()
    policy = _load_policy(config)
    token = os.environ.get(TOKEN, "") or generate_token()
    server = PolicyServer(policy, token, config.host, config.port, _load_tls_context(config))
    shown = socket.gethostname() if config.host in ("0.0.0.0", "::") else config.host
    scheme = "wss" if config.certificate else "ws"
    console.print(f"{policy.meta.get('task', 'a policy')} is served; run on the control computer:", highlight=False)
    console.print(
        f"\n  {TOKEN}={token} robo-reward deploy policy_server={scheme}://{shown}:{server.port} robot=...\n",
        soft_wrap=True, highlight=False,
    )  # fmt: skip
    if not config.certificate and config.host != "::1" and not config.host.startswith("127."):
        console.print(
            "Without a certificate the token is sent unencrypted: use a private cable, or give certificate=.",
            style="yellow",
        )
    console.print("Ctrl-C stops.", style="dim")
    try:
        server.serve_forever()
    except KeyboardInterrupt:
        console.print("ended")
    finally:
        server.close()
        if config.adapter == "lerobot":
            policy.close()
    return 0


def _load_policy(config: DictConfig) -> Any:
    if config.adapter == "lerobot":
        return open_configured_policy(config, config.policy_folder)
    if config.python:
        raise UsageError(f"python={config.python} is for LeRobot policies: add adapter=lerobot")
    return load_policy(Path(config.policy_folder))


def _load_tls_context(config: DictConfig) -> ssl.SSLContext | None:
    if not config.certificate:
        return None
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    try:
        context.load_cert_chain(config.certificate, config.key or None)
    except (OSError, ssl.SSLError) as error:
        raise UsageError(f"certificate={config.certificate}: it cannot be loaded ({error})") from error
    return context
