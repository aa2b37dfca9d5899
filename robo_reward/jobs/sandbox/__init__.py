"""The sandbox of a job process: Landlock, seccomp, resource limits and their watcher."""
