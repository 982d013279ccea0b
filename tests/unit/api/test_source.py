"""By which digest a model's own container is known, however its author wrote it down."""

from __future__ import annotations

import pytest

from mandate.api.spec import ModelSource
from tests.unit.api.specs import DIGEST

OTHER = "sha256:" + "9" * 64


@pytest.mark.parametrize(
    ("image", "digest", "pinned"),
    [
        (f"repo/model@{DIGEST}", None, DIGEST),
        (f"repo:5000/model:1@{DIGEST}", None, DIGEST),
        (f"repo/model@{DIGEST}", OTHER, DIGEST),
        ("repo:5000/model:1", OTHER, OTHER),
    ],
    ids=["in the image", "beside a tag", "the image wins", "declared apart"],
)
def test_a_container_is_known_by_one_digest(image: str, digest: str | None, pinned: str) -> None:
    source = ModelSource(image=image, digest=digest)
    assert source.image_digest == pinned
    assert source.pinned_image is not None
    assert source.pinned_image.endswith(f"@{pinned}")


def test_a_files_digest_is_no_containers() -> None:
    source = ModelSource(uri="pvc://models/credit.onnx", format="ONNX", digest=DIGEST)
    assert (source.pinned_image, source.image_digest) == (None, None)
