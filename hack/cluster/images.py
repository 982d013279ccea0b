"""Builds the project's images from operator/Dockerfile and loads them into the cluster, where they run by digest."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import tarfile
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

import oci
import toolbox
from containers_storage import BuiltImage, Storage
from say import ClusterError, Steps, note

TARGETS = ("controller", "judge", "predictor")
DOCKERFILE = toolbox.REPOSITORY / "operator" / "Dockerfile"
SUITE = "bookworm"
LEFT_OUT = (
    *("./usr/share/locale/*", "./usr/share/man/*", "./usr/share/info/*"),
    *("./var/lib/apt/lists/*", "./var/cache/*", "./var/log/*", "./dev/*", "./proc/*", "./sys/*"),
)
CERTIFICATES = Path("/etc/ssl/certs/ca-certificates.crt")
REPRODUCIBLE = ("--timestamp", "0")
"""Time stamps in images: the same tree gives the same digest."""


class Cluster(Protocol):
    """What installing something into a cluster needs of it."""

    @property
    def kubeconfig(self) -> Path: ...
    def ctr(self) -> list[str]: ...
    def load(self, name: str) -> None: ...


def load_program(cluster: Cluster, tool: str, program: Path) -> str:
    """The name of the image with a tool's program, by what that was built from; loaded if need be."""
    name = f"docker.io/mandate/{tool}:{program.parent.name.removeprefix(f'{tool}-')}"
    known = toolbox.run([*cluster.ctr(), "images", "list", "--quiet"], what="listing the cluster's images").split()
    if name not in known:
        archive = toolbox.cache_folder() / "images" / f"{program.parent.name}.tar"
        if not archive.exists():
            oci.program_image(archive, name, program)
        cluster.load(str(archive))
    return name


def full_name(target: str, tag: str) -> str:
    return f"docker.io/mandate/{target}:{tag}"


# --- with Docker or Podman ----------------------------------------------------------------------------------------


def build_with_engine(engine: str, targets: Sequence[str], tag: str, file: Path = DOCKERFILE) -> list[str]:
    """Build with `docker` or `podman`; returns the images' names."""
    steps = Steps(len(targets))
    names = []
    for target in targets:
        name = full_name(target, tag)
        with steps.step(f"building the image {name} with {engine}", slow="minutes the first time, then seconds"):
            toolbox.run(
                [
                    *(engine, "build", "--target", target, "--tag", name, "--file", file),
                    *("--build-arg", "SOURCE_DATE_EPOCH=0", toolbox.REPOSITORY),
                ],
                what=f"building {name}",
                env={**os.environ, "DOCKER_BUILDKIT": "1"},
            )
        names.append(name)
    return names


# --- without: buildah, on a base image made by debootstrap -------------------------------------------------------


def build_with_buildah(targets: Sequence[str], tag: str, file: Path = DOCKERFILE) -> list[BuiltImage]:
    """Build in buildah's storage; returns what is there then."""
    toolbox.ensure_host(["buildah"])
    base = _base_image()
    steps = Steps(len(targets))
    for target in targets:
        name = full_name(target, tag)
        with (
            toolbox.locked(toolbox.cache_folder() / "images.lock"),
            steps.step(f"building the image {name}", slow="a minute or two the first time, then seconds"),
        ):
            toolbox.run(
                [
                    *("buildah", "build", "--layers", "--isolation", "chroot", *REPRODUCIBLE, *_certificates()),
                    *("--build-arg", f"BASE_IMAGE={base}", "--file", file),
                    *("--target", target, "--tag", name, toolbox.REPOSITORY),
                ],
                what=f"building {name}",
            )
    storage = Storage()
    return [storage.image(full_name(target, tag)) for target in targets]


def _certificates() -> list[str]:
    """Let pip within the build trust what this machine trusts: a proxy may have a certificate authority of its own."""
    if not CERTIFICATES.exists():
        return []
    return ["--volume", f"{CERTIFICATES.parent}:/mnt:ro", "--build-arg", f"PIP_CERT=/mnt/{CERTIFICATES.name}"]


def _base_image() -> str:
    """The name of a Debian base image in buildah's storage; made from the distribution's packages where missing."""
    key = hashlib.sha256(f"{SUITE}{LEFT_OUT}".encode()).hexdigest()[:12]
    name = f"localhost/mandate-base:{SUITE}-{key}"
    known = subprocess.run(["buildah", "images", "--quiet", name], capture_output=True, text=True, check=False)
    if known.returncode == 0 and known.stdout.strip():
        return name
    toolbox.ensure_host(["debootstrap"])
    cache = toolbox.cache_folder()
    with (
        Steps().step(f"making a base image from Debian {SUITE}'s packages", slow="about a minute, once"),
        toolbox.locked(cache / "base.lock"),
        tempfile.TemporaryDirectory(dir=cache) as scratch,
    ):
        root, archive, layer = Path(scratch, "root"), Path(scratch, "base.tar"), Path(scratch, "layer.tar")
        toolbox.run(["debootstrap", "--variant=minbase", SUITE, root], what="making a Debian root file system")
        toolbox.run(
            [
                *("tar", "--create", "--file", layer, "--directory", root),
                *(
                    "--sort=name",
                    "--mtime=@0",
                    "--numeric-owner",
                    *(f"--exclude={pattern}" for pattern in LEFT_OUT),
                    ".",
                ),
            ],
            what="packing the Debian root file system",
        )
        with layer.open("rb") as content:
            oci.write_image(archive, name, content, {"Env": ["PATH=/usr/bin:/bin:/usr/sbin:/sbin"], "Cmd": ["/bin/sh"]})
        identity = toolbox.run(
            ["buildah", "pull", "--quiet", f"oci-archive:{archive}"], what="storing the base image"
        ).strip()
        toolbox.run(["buildah", "tag", identity, name], what="naming the base image")
        shutil.rmtree(root)
    return name


def load_built(images: Sequence[BuiltImage], ctr: Sequence[str]) -> None:
    """Bring images from buildah's storage into a containerd, sending only the blobs that it lacks."""
    present = set(toolbox.run([*ctr, "content", "list", "--quiet"], what="listing the cluster's blobs").split())
    known = set(toolbox.run([*ctr, "images", "list", "--quiet"], what="listing the cluster's images").split())
    for image in images:
        if image.reference in known and image.digest in present:
            note(f"{image.name} is loaded already")
            continue
        with Steps().step(f"loading {image.name}"):
            missing = [digest for digest in dict.fromkeys(image.layers) if digest not in present]
            _send(image, missing, ctr)
            present.update(missing)
            name_by_digest(ctr, image.name, image.reference)


def _send(image: BuiltImage, layers: Sequence[str], ctr: Sequence[str]) -> None:
    """Stream an OCI archive of the image with only these layers; containerd checks every blob against its digest."""
    with subprocess.Popen([*ctr, "images", "import", "-"], stdin=subprocess.PIPE, stdout=subprocess.DEVNULL) as sink:
        assert sink.stdin is not None
        try:
            with tarfile.open(fileobj=sink.stdin, mode="w|") as tar:
                oci.write_index(tar, [(image.name, image.digest, len(image.manifest))])
                oci.add_bytes(tar, oci.blob_path(image.digest), image.manifest)
                oci.add_bytes(tar, oci.blob_path(oci.digest_of(image.configuration)), image.configuration)
                for digest in layers:
                    size, content = Storage().layer(digest)
                    entry = tarfile.TarInfo(oci.blob_path(digest))
                    entry.size = size
                    tar.addfile(entry, content)
            sink.stdin.close()
        except BrokenPipeError:
            pass  # ctr has ended, and says why
    if sink.returncode:
        raise ClusterError(f"loading {image.name}: `{' '.join(ctr)} images import` ended with code {sink.returncode}")


def name_by_digest(ctr: Sequence[str], name: str, reference: str) -> None:
    """Let Pods name a loaded image as NAME@DIGEST: the kubelet looks for the very words of the Pod."""
    toolbox.run([*ctr, "images", "tag", "--force", name, reference], what=f"naming {reference}")


def digest_in(ctr: Sequence[str], name: str) -> str:
    """The digest that a containerd knows an image by."""
    table = toolbox.run([*ctr, "images", "list", f"name=={name}"], what=f"looking up {name}").splitlines()
    return next(word for line in table[1:] for word in line.split() if word.startswith("sha256:"))
