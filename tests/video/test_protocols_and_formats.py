"""Nothing outside is read: a file is opened by itself alone, and addresses are of a fixed list."""

from __future__ import annotations

from importlib import resources
from pathlib import Path

import av
import pytest

from metatrack.video import SourceError, open_source
from metatrack.video._av import CONTAINERS, SCHEMES, STREAMS, has_format

CLIP = resources.files("metatrack") / "assets" / "demo.mp4"


@pytest.fixture
def private(tmp_path: Path) -> Path:
    """A video that lies where the others must not lead: as mp4 and as a transport stream."""
    (tmp_path / "private").mkdir()
    (tmp_path / "private" / "clip.mp4").write_bytes(CLIP.read_bytes())
    with av.open(str(tmp_path / "private" / "clip.mp4")) as given, av.open(str(tmp_path / "private" / "clip.ts"), "w") as out:
        stream = out.add_stream_from_template(given.streams.video[0])
        for packet in given.demux(given.streams.video[0]):
            if packet.dts is not None:
                packet.stream = stream
                out.mux(packet)
    with open_source(tmp_path / "private" / "clip.ts") as source:
        assert next(source).shape == (360, 640, 3)
    return tmp_path / "private"


HLS = "#EXTM3U\n#EXT-X-TARGETDURATION:5\n#EXTINF:4.6,\n{}\n#EXT-X-ENDLIST\n"
LISTS = {
    "list.m3u8": HLS.format("PRIVATE/clip.ts"),
    "address.m3u8": HLS.format("file://PRIVATE/clip.ts"),
    "hls.mp4": HLS.format("PRIVATE/clip.ts"),
    "concat.mp4": "ffconcat version 1.0\nfile PRIVATE/clip.mp4\n",
    "near.mkv": "ffconcat version 1.0\nfile clip.mp4\n",
    "dash.mpd": (
        '<?xml version="1.0"?><MPD xmlns="urn:mpeg:dash:schema:mpd:2011" type="static" mediaPresentationDuration="PT4S"><Period>'
        '<AdaptationSet contentType="video"><Representation id="0" bandwidth="1" mimeType="video/mp4">'
        "<BaseURL>PRIVATE/clip.mp4</BaseURL></Representation></AdaptationSet></Period></MPD>"
    ),
    "session.sdp": (
        "v=0\no=- 0 0 IN IP4 127.0.0.1\ns=x\nc=IN IP4 127.0.0.1\nt=0 0\nm=video 5004 RTP/AVP 96\na=rtpmap:96 H264/90000\n"
    ),
}


@pytest.mark.parametrize("name", LISTS)
def test_lists_of_other_files_are_no_videos(private: Path, tmp_path: Path, name: str) -> None:
    (tmp_path / "upload").mkdir()
    (tmp_path / "upload" / "clip.mp4").write_bytes(CLIP.read_bytes())
    file = tmp_path / "upload" / name
    file.write_text(LISTS[name].replace("PRIVATE", str(private)))
    with pytest.raises(SourceError, match=name):
        open_source(file)


@pytest.mark.parametrize(
    "address",
    [
        "concat:file://{0}/clip.ts|file://{0}/clip.ts",
        "subfile,,start,0,end,0,,:file://{0}/clip.mp4",
        "crypto+file://{0}/clip.mp4",
        "async:file://{0}/clip.mp4",
        "data://text/plain,x",
        "pipe://0",
        "ftp://example.invalid/clip.mp4",
        "://{0}/clip.mp4",
    ],
)
def test_protocols_that_reach_other_files(private: Path, address: str) -> None:
    with pytest.raises(SourceError, match="is no protocol that is read; give the path of a file, or an address that begins with"):
        open_source(address.format(private))


def test_the_address_of_a_file_is_a_file(private: Path) -> None:
    with open_source((private / "clip.mp4").as_uri()) as source:
        assert source.name == "clip.mp4"
        assert next(source).shape == (360, 640, 3)


def test_a_name_with_a_colon_is_a_name(tmp_path: Path) -> None:
    (tmp_path / "concat:a.mp4").write_bytes(CLIP.read_bytes())
    with open_source(str(tmp_path / "concat:a.mp4")) as source:
        assert next(source).shape == (360, 640, 3)


def test_what_is_listed_exists_and_lists_of_files_are_not_listed() -> None:
    known = [name for name in CONTAINERS if has_format(name)]
    assert {"mov", "matroska", "avi", "mpegts", "gif"} <= set(known)
    assert not {"concat", "hls", "dash", "image2", "sdp", "lavfi", "ffmetadata", "rtsp"} & set(CONTAINERS)
    assert not {"concat", "image2", "lavfi"} & set(STREAMS)
    assert not {"file", "concat", "subfile", "data", "pipe", "fd", "cache", "async"} & set(SCHEMES)


@pytest.mark.parametrize("address", ["file://clip.mp4", "file://elsewhere/clip.mp4", "file://"])
def test_the_address_of_a_file_elsewhere(address: str) -> None:
    with pytest.raises(SourceError, match="names no file of this machine"):
        open_source(address)


def test_an_empty_source_is_not_the_working_folder() -> None:
    with pytest.raises(SourceError, match="the source is empty"):
        open_source("")


@pytest.mark.parametrize("number", [-1, 10**20, "99999999999999999999", True])
def test_numbers_that_no_camera_has(number: int | str) -> None:
    with pytest.raises(SourceError, match="there is no camera"):
        open_source(number)
