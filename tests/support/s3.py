"""An S3 server on this machine: moto's. It knows two users, and refuses all others."""

from __future__ import annotations

import contextlib
import json
import logging
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import boto3
import pytest
from moto.server import ThreadedMotoServer
from s3fs import S3FileSystem

#: Credentials: the id of a key, and its secret.
Key = tuple[str, str]


@dataclass(frozen=True)
class S3:
    """The server, and who may do what there."""

    url: str
    #: May do everything.
    owner: Key
    #: May read and list.
    reader: Key

    def log_in(self, patched: pytest.MonkeyPatch, key: Key | None) -> None:
        """Let boto find the server, and the credentials of a user; None: there are none."""
        patched.setenv("AWS_ENDPOINT_URL", self.url)
        patched.setenv("AWS_DEFAULT_REGION", "us-east-1")
        patched.setenv("AWS_EC2_METADATA_DISABLED", "true")
        patched.setenv("AWS_SHARED_CREDENTIALS_FILE", "/nonexistent")
        for i, name in enumerate(("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY")):
            if key is None:
                patched.delenv(name, raising=False)
            else:
                patched.setenv(name, key[i])
        S3FileSystem.clear_instance_cache()  # those of another user


@contextlib.contextmanager
def serving() -> Iterator[S3]:
    """A server that runs while the body does."""
    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    server = ThreadedMotoServer("127.0.0.1", port=0, verbose=False)
    server.start()
    try:
        url = "http://{}:{}".format(*server.get_host_and_port())
        iam = boto3.client(
            "iam",
            endpoint_url=url,
            region_name="us-east-1",
            aws_access_key_id="any",
            aws_secret_access_key="any",
        )
        owner, reader = _user(iam, "owner", "s3:*"), _user(iam, "reader", "s3:Get*", "s3:List*")
        iam.close()
        _post(f"{url}/moto-api/reset-auth", b"0")  # from now on, credentials are looked at
        yield S3(url, owner, reader)
    finally:
        server.stop()
        S3FileSystem.clear_instance_cache()


def _user(iam: Any, name: str, *actions: str) -> Key:
    iam.create_user(UserName=name)
    rule = {"Effect": "Allow", "Action": actions, "Resource": "*"}
    policy = json.dumps({"Version": "2012-10-17", "Statement": [rule]})
    iam.put_user_policy(UserName=name, PolicyName="may", PolicyDocument=policy)
    key = iam.create_access_key(UserName=name)["AccessKey"]
    return key["AccessKeyId"], key["SecretAccessKey"]


def _post(url: str, data: bytes) -> None:
    request = urllib.request.Request(url, data, {"Content-Type": "application/octet-stream"})
    urllib.request.urlopen(request).close()
