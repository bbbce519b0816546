"""Which addresses the page may listen to."""

from __future__ import annotations

from inspection.errors import ConfigError
from review.page.guard import is_loopback
from review.page.users import Users
from settings import Settings


def check_address(settings: Settings, host: str) -> None:
    """See that nobody reaches the page who is not asked who he is.

    Raises:
        ConfigError: Others than this computer would, without users and TLS or a proxy.
    """
    review = settings.review
    if review.tls:
        for name, path in (("certificate", review.tls.certificate), ("key", review.tls.key)):
            if not path.is_file():
                raise ConfigError(f"review.tls.{name}: {path}: there is no such file")
    if is_loopback(host) or review.behind_proxy:
        return
    if not Users(review.folder).names():
        raise ConfigError(
            f"--host {host}: others would reach the page, and nobody is asked for a password: "
            "add users first (solderwatch-review user add NAME), or set review.behind_proxy"
        )
    if not review.tls:
        raise ConfigError(
            f"--host {host}: passwords would cross the network as plain text: "
            "set review.tls to your certificate, or review.behind_proxy"
        )
