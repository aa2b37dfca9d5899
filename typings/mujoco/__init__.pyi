# mujoco 3.3 ships its bindings without type information: to pyright everything in them is Any.
from typing import Any

def __getattr__(name: str) -> Any: ...
