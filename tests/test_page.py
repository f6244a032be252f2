"""How the page's files are served: compressed once, kept by browsers, and nothing else of the disk."""

from pathlib import Path

import pytest

from app import page
from app.page import WEB
from tests.gateway import running_gateway
from tests.scripted_voice_live import ScriptedVoiceLive

PLAIN = {"Accept-Encoding": "identity"}


async def test_a_file_travels_compressed_or_as_it_is() -> None:
    async with running_gateway(ScriptedVoiceLive().settings()) as gateway:
        for name in ("style.css", "main.js", "client/capture-worklet.js", "icon.svg"):
            address = f"{gateway.address}/static/{name}"
            async with gateway.http.get(address) as packed, gateway.http.get(address, headers=PLAIN) as plain:
                assert packed.headers["Content-Encoding"] == "gzip"
                assert "Content-Encoding" not in plain.headers
                assert await packed.read() == await plain.read() == (WEB / name).read_bytes()
                for answer in (packed, plain):
                    assert "Accept-Encoding" in answer.headers["Vary"]


@pytest.mark.parametrize("path", ["/", "/static/main.js"])
async def test_a_browser_that_has_it_is_told_so(path: str) -> None:
    async with running_gateway(ScriptedVoiceLive().settings()) as gateway:
        async with gateway.http.get(gateway.address + path) as first:
            tag = first.headers["ETag"]
            assert first.headers["Cache-Control"] == "no-cache"
        asked = {"If-None-Match": f'W/"another", {tag}'}
        async with gateway.http.get(gateway.address + path, headers=asked) as again:
            assert again.status == 304
            assert await again.read() == b""
            assert again.headers["ETag"] == tag
        async with gateway.http.get(gateway.address + path, headers={"If-None-Match": 'W/"old"'}) as other:
            assert other.status == 200
        async with gateway.http.head(gateway.address + path) as head:
            assert head.status == 200
            assert head.headers["ETag"] == tag


async def test_a_change_is_seen_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "main.js"
    file.write_text("1")
    monkeypatch.setitem(page.FILES, "main.js", file)
    async with running_gateway(ScriptedVoiceLive().settings()) as gateway:
        tags = []
        for text in ("one", "another"):
            file.write_text(text)
            async with gateway.http.get(f"{gateway.address}/static/main.js") as answer:
                assert await answer.text() == text
                tags.append(answer.headers["ETag"])
    assert tags[0] != tags[1]


@pytest.mark.parametrize(
    "name", ["missing.js", "client/README.md", "client", "", "%2e%2e/config.py", "..%2fconfig.py", "%00.js"]
)
async def test_nothing_else_is_served(name: str) -> None:
    async with running_gateway(ScriptedVoiceLive().settings()) as gateway:
        async with gateway.http.get(f"{gateway.address}/static/{name}") as answer:
            assert answer.status == 404
