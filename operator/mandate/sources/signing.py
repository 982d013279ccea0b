"""AWS Signature Version 4 of one GET without a body.

Source: "Signature Calculations for the Authorization Header: Transferring Payload in a Single Chunk", Amazon S3 API
Reference.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Mapping
from datetime import UTC, datetime
from urllib.parse import urlsplit

NO_BODY = hashlib.sha256(b"").hexdigest()
_ALGORITHM = "AWS4-HMAC-SHA256"


def signed(
    url: str, *, key: str, secret: str, token: str | None, region: str, at: datetime, headers: Mapping[str, str]
) -> dict[str, str]:
    """`headers` and those that sign them and the request: its path, which is encoded already, and when it is made.

    There is no query. `at` is aware; the storage takes it within 15 minutes.
    """
    parts, time = urlsplit(url), at.astimezone(UTC).strftime("%Y%m%dT%H%M%SZ")
    scope = f"{time[:8]}/{region}/s3/aws4_request"
    # The host as it is signed: clients leave out a scheme's own port.
    sent = {**headers, "Host": parts.netloc, "x-amz-content-sha256": NO_BODY, "x-amz-date": time}
    sent |= {} if token is None else {"x-amz-security-token": token}
    told = sorted((name.lower(), " ".join(value.split())) for name, value in sent.items())
    names = ";".join(name for name, _ in told)
    request = "\n".join(["GET", parts.path, "", *(f"{name}:{value}" for name, value in told), "", names, NO_BODY])
    signing = f"AWS4{secret}".encode()
    for part in scope.split("/"):
        signing = hmac.digest(signing, part.encode(), "sha256")
    text = "\n".join([_ALGORITHM, time, scope, hashlib.sha256(request.encode()).hexdigest()])
    signature = hmac.digest(signing, text.encode(), "sha256").hex()
    return sent | {
        "Authorization": f"{_ALGORITHM} Credential={key}/{scope}, SignedHeaders={names}, Signature={signature}"
    }
