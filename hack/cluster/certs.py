"""A certificate authority for one cluster, its certificates, and kubeconfigs that carry them."""

from __future__ import annotations

import json
import tempfile
from base64 import b64encode
from pathlib import Path

from toolbox import run

DAYS = "3650"
NEW_KEY = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-noenc")


class Authority:
    """The files of one folder: `ca.crt`, `ca.key`, and NAME.crt, NAME.key, NAME.kubeconfig for what it issued."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def file(self, name: str) -> Path:
        return self.folder / name

    def ensure(self) -> None:
        """Make the authority and the key pair that signs service account tokens, unless they are there."""
        self.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        if not self.file("ca.crt").exists():
            self._openssl("req", "-x509", *NEW_KEY, "-keyout", self.file("ca.key"), "-out", self.file("ca.partial"))
            self.file("ca.partial").rename(self.file("ca.crt"))
        if not self.file("tokens.pub").exists():
            self._openssl("ecparam", "-name", "prime256v1", "-genkey", "-noout", "-out", self.file("tokens.key"))
            self._openssl("ec", "-in", self.file("tokens.key"), "-pubout", "-out", self.file("tokens.partial"))
            self.file("tokens.partial").rename(self.file("tokens.pub"))

    def _openssl(self, *arguments: str | Path) -> None:
        subject = ("-subj", "/CN=mandate-cluster", "-days", DAYS) if "-x509" in arguments else ()
        run(["openssl", *arguments, *subject], what="making certificates")

    def issue(self, name: str, subject: str, *, addresses: tuple[str, ...] = ()) -> None:
        """Issue NAME.crt for a subject like `/O=group/CN=name`; `addresses` are a server's `IP:…` and `DNS:…` names."""
        if self.file(f"{name}.crt").exists():
            return
        with tempfile.TemporaryDirectory() as scratch:
            request, extensions = Path(scratch, "csr"), Path(scratch, "extensions")
            lines = ["extendedKeyUsage=clientAuth,serverAuth"]
            if addresses:
                lines.append(f"subjectAltName={','.join(addresses)}")
            extensions.write_text("\n".join(lines))
            self._openssl("req", *NEW_KEY, "-keyout", self.file(f"{name}.key"), "-out", request, "-subj", subject)
            self._openssl(
                *(
                    "x509",
                    "-req",
                    "-in",
                    request,
                    "-CA",
                    self.file("ca.crt"),
                    "-CAkey",
                    self.file("ca.key"),
                    "-days",
                    DAYS,
                ),
                *("-CAcreateserial", "-extfile", extensions, "-out", self.file(f"{name}.partial")),
            )
            self.file(f"{name}.partial").rename(self.file(f"{name}.crt"))

    def kubeconfig(self, name: str, subject: str, server: str) -> Path:
        """Issue a client certificate and write a kubeconfig that needs no other file."""
        self.issue(name, subject)

        def data(file: str) -> str:
            return b64encode(self.file(file).read_bytes()).decode()

        config = {
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [
                {"name": "mandate", "cluster": {"server": server, "certificate-authority-data": data("ca.crt")}}
            ],
            "users": [
                {
                    "name": name,
                    "user": {"client-certificate-data": data(f"{name}.crt"), "client-key-data": data(f"{name}.key")},
                }
            ],
            "contexts": [{"name": "mandate", "context": {"cluster": "mandate", "user": name}}],
            "current-context": "mandate",
        }
        path = self.file(f"{name}.kubeconfig")
        path.touch(mode=0o600)
        path.write_text(json.dumps(config, indent=1))  # JSON is YAML
        return path
