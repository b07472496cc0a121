"""An engine in a process of its own, and the ways between it and the workers."""
