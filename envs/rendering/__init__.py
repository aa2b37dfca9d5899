"""Pictures of simulated worlds: the GL backend, the renderer and the frames that rewards and policies see."""
