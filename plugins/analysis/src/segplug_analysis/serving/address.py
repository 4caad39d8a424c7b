"""Where a model's predictions are."""

from __future__ import annotations

from urllib.parse import quote, unquote, urlsplit

from segplug.errors import UsageError

__all__ = ["predictions_url"]


def predictions_url(url: str | None, name: str | None) -> str:
    """The address that images are sent to.

    Args:
        url: A server's address, or already that of a model's predictions.
        name: What the server calls the model.

    Raises:
        UsageError: there is no address, it names no model, or another one.
    """
    if not url:
        raise UsageError("say which server", hint="--url http://127.0.0.1:8080 --model-name NAME")
    parts = [unquote(part) for part in urlsplit(url).path.split("/") if part]
    if name is None:
        if not parts:
            raise UsageError(f"{url} does not say which model", hint="--model-name NAME")
        return url
    if name in parts:
        return url
    if "predictions" in parts[:-1]:
        raise UsageError(f"{url} is the address of another model than {name}", hint="leave one of them out")
    return f"{url.rstrip('/')}/predictions/{quote(name, safe='')}"
