"""A Flink cluster of its own on this machine, for tests and demonstrations.

A JobManager and TaskManagers whose classpath has Flink alone, Beam's job server as a jar, and
Beam's `boot`, which starts worker processes: all built from package registries into build/flink.
"""
