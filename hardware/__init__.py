"""The same convention as a task, on hardware or an emulator."""
