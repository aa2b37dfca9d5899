"""The emulated robot itself: session, controllers, limits, reflexes and model."""
