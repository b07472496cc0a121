"""What a cluster is made of: built once by Maven and Go, into build/flink."""

from __future__ import annotations

import importlib.metadata
import os
import shutil
import subprocess

from support.paths import ROOT, TESTS

BUILT = ROOT / "build" / "flink"
#: Beam's job server for Flink, with all that it needs.
JOB_SERVER = BUILT / "flink-job-server-1.jar"
#: The version of Flink that it is for.
VERSION = "1.19"
#: Beam's `boot`: starts a worker process, given a job's endpoints.
BOOT = BUILT / "bin" / "container"
_TOOLS = {"java": "openjdk-17-jdk-headless", "mvn": "maven", "go": "golang-go"}
#: The jars beside the job server whose names begin so are Flink, and what it needs.
_FLINK = ("chill-", "commons-", "flink-", "javassist", "kryo", "lz4", "minlog", "objenesis")
_MORE = ("slf4j", "snakeyaml", "snappy")


def missing_tools() -> str:
    """What has to be installed before a cluster can be built; empty if nothing."""
    packages = [package for tool, package in _TOOLS.items() if shutil.which(tool) is None]
    return (packages and f"a Flink cluster needs: apt-get install {' '.join(packages)}") or ""


def is_built() -> bool:
    """Whether all is there."""
    return JOB_SERVER.exists() and BOOT.exists()


def build() -> None:
    """Build what is not built yet. Raises CalledProcessError."""
    if not JOB_SERVER.exists():
        pom = TESTS / "flink" / "pom.xml"
        subprocess.run(["mvn", "-q", "-B", "-f", pom, "package"], check=True)
    if not BOOT.exists():
        package = "github.com/apache/beam/sdks/v2/python/container"
        environment = {**os.environ, "GOBIN": str(BOOT.parent)}
        version = importlib.metadata.version("apache-beam")
        go = ["go", "install", f"{package}@v{version}"]
        subprocess.run(go, check=True, env=environment)


def classpath() -> str:
    """Flink's own jars, without Beam's."""
    jars = sorted((BUILT / "dependency").glob("*.jar"))
    return ":".join(str(jar) for jar in jars if jar.name.startswith((*_FLINK, *_MORE)))
