#!/usr/bin/env python3
"""Publishes into a room by WHIP and watches it by WHEP with aiortc, through real processes. With `--gstreamer`,
gstreamer_publish.py beside this publishes as well.

    python3 -m venv /tmp/whip && /tmp/whip/bin/pip install aiortc==1.16.0 aiohttp==3.14.5
    cargo build -p plausch-relay -p plausch-control
    /tmp/whip/bin/python tests/whip/aiortc_publish.py

Exits with 0 when pictures and sound of the publisher arrived at both viewers (one names it, the other follows who
speaks), in each codec, and when nothing is left of anybody afterwards.
"""

import asyncio
import fractions
import math
import os
import pathlib
import re
import socket
import subprocess
import sys
import tempfile

import aiohttp
import av
from aiortc import RTCPeerConnection, RTCRtpSender, RTCSessionDescription
from aiortc.mediastreams import MediaStreamTrack

ROOT = pathlib.Path(__file__).resolve().parents[2]
BINARIES = pathlib.Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target")) / "debug"
SDP = {"Content-Type": "application/sdp"}
PATIENCE = 20
# The publisher's picture: half dark, half light, so that a wrong or broken one is noticed.
DARK, LIGHT = 40, 210
TONE_HZ = 440
# RFC 7675, section 5.1.
CONSENT_SECONDS = 30


class Picture(MediaStreamTrack):
    kind = "video"

    def __init__(self):
        super().__init__()
        self.count = 0

    async def recv(self):
        await asyncio.sleep(1 / 25)
        frame = av.VideoFrame(320, 240, "yuv420p")
        luma = bytes([DARK] * 160 + [LIGHT] * 160) * 240
        for plane, content in zip(frame.planes, (luma, bytes([128]) * 19200, bytes([128]) * 19200)):
            assert plane.line_size * plane.height == len(content)
            plane.update(content)
        frame.pts, frame.time_base = self.count * 3600, fractions.Fraction(1, 90000)
        self.count += 1
        return frame


class Tone(MediaStreamTrack):
    kind = "audio"

    def __init__(self):
        super().__init__()
        self.samples = 0

    async def recv(self):
        await asyncio.sleep(0.02)
        frame = av.AudioFrame(format="s16", layout="mono", samples=960)
        wave = (8000 * math.sin(2 * math.pi * TONE_HZ * (self.samples + n) / 48000) for n in range(960))
        frame.planes[0].update(b"".join(int(value).to_bytes(2, "little", signed=True) for value in wave))
        frame.sample_rate, frame.pts, frame.time_base = 48000, self.samples, fractions.Fraction(1, 48000)
        self.samples += 960
        return frame


class Client:
    """One WHIP or WHEP session."""

    def __init__(self, http, url):
        self.http, self.url, self.pc = http, url, RTCPeerConnection()
        self.location = None
        self.tracks = {}
        self.pc.on("track", lambda track: self.tracks.__setitem__(track.kind, track))

    async def begin(self):
        await self.pc.setLocalDescription(await self.pc.createOffer())
        async with self.http.post(self.url, data=self.pc.localDescription.sdp, headers=SDP) as reply:
            text = await reply.text()
            assert reply.status == 201, f"{reply.status}: {text}"
            assert reply.headers["ETag"].startswith('"')
            self.location = reply.headers["Location"]
        await self.pc.setRemoteDescription(RTCSessionDescription(text, "answer"))

    async def end(self):
        async with self.http.delete(self.location) as reply:
            assert reply.status == 200, reply.status
        await self.pc.close()


def publisher(http, room, codec):
    client = Client(http, f"/whip/{room}?name=Kamera")
    client.pc.addTransceiver(Tone(), direction="sendonly")
    video = client.pc.addTransceiver(Picture(), direction="sendonly")
    known = RTCRtpSender.getCapabilities("video").codecs
    video.setCodecPreferences([one for one in known if one.mimeType == f"video/{codec}"])
    return client


def viewer(http, room, query):
    client = Client(http, f"/whep/{room}{query}")
    client.pc.addTransceiver("audio", direction="recvonly")
    client.pc.addTransceiver("video", direction="recvonly")
    return client


async def sees_and_hears(client):
    """Waits for ten right pictures, and for sound that is the tone."""
    good = 0
    while good < 10:
        frame = (await client.tracks["video"].recv()).reformat(format="gray")
        plane, row = bytes(frame.planes[0]), frame.planes[0].line_size * (frame.height // 2)
        left, right = plane[row + frame.width // 4], plane[row + frame.width * 3 // 4]
        if abs(left - DARK) < 20 and abs(right - LIGHT) < 20:
            good += 1
    loud = 0
    while loud < 10:
        frame = await client.tracks["audio"].recv()
        samples = memoryview(bytes(frame.planes[0])).cast("h")[:: len(frame.layout.channels)][: frame.samples]
        crossings = sum(1 for a, b in zip(samples, samples[1:]) if (a < 0) != (b < 0))
        # 440 Hz for 20 ms crosses zero 17.6 times.
        if max(samples, default=0) > 2000 and abs(crossings * 960 / frame.samples - 17.6) < 4:
            loud += 1


async def run(base):
    async with aiohttp.ClientSession(base) as http:
        for codec in ("VP8", "H264"):
            room = f"probe-{codec.lower()}"
            clients = [publisher(http, room, codec), viewer(http, room, "?participant=Kamera"), viewer(http, room, "")]
            for client in clients:
                await client.begin()
            await asyncio.wait_for(asyncio.gather(*map(sees_and_hears, clients[1:])), PATIENCE)
            for client in clients:
                await client.end()
            print(f"{codec}: seen and heard by name and by who speaks")
        if "--gstreamer" in sys.argv:
            await watch_gstreamer(http, base)
        assert await participants(http) == 0, "somebody is left"


async def watch_gstreamer(http, base):
    """Its pictures and its sound arrive, and when it is killed, it is gone as soon as its consent is over."""
    script = pathlib.Path(__file__).with_name("gstreamer_publish.py")
    process = subprocess.Popen([script, f"{base}/whip/gstreamer?name=Kamera"])
    try:
        # The viewer may be there first.
        client = viewer(http, "gstreamer", "?participant=Kamera")
        await client.begin()

        async def arrive(kind):
            for _ in range(50):
                await client.tracks[kind].recv()

        await asyncio.wait_for(asyncio.gather(arrive("video"), arrive("audio")), PATIENCE)
        print("GStreamer: seen and heard")
    finally:
        process.kill()
        process.wait()
    await client.end()
    for _ in range(CONSENT_SECONDS + 10):
        await asyncio.sleep(1)
        if await participants(http) == 0:
            print("GStreamer: gone without a goodbye")
            return
    raise AssertionError("a publisher that was killed is still there")


async def participants(http):
    async with http.get("/metrics") as reply:
        return int(re.search(r"^plausch_participants (\d+)$", await reply.text(), re.M)[1])


def free_port(kind):
    with socket.socket(socket.AF_INET, kind) as one:
        one.bind(("127.0.0.1", 0))
        return one.getsockname()[1]


async def ready(base, processes):
    async with aiohttp.ClientSession(base) as http:
        for _ in range(PATIENCE * 10):
            assert all(process.poll() is None for process in processes), "a process ended"
            try:
                async with http.get("/api/health") as reply:
                    if reply.status == 200:
                        return
            except aiohttp.ClientError:
                pass
            await asyncio.sleep(0.1)
    raise AssertionError("Plausch does not become ready")


async def main():
    with tempfile.TemporaryDirectory(prefix="plausch-whip-") as state:
        port = free_port(socket.SOCK_STREAM)
        ports = {
            "PLAUSCH_HTTP_PORT": port,
            "PLAUSCH_LINK_PORT": free_port(socket.SOCK_DGRAM),
            "PLAUSCH_MEDIA_PORT": free_port(socket.SOCK_DGRAM),
            "PLAUSCH_STATE_DIR": state,
        }
        environment = os.environ | {name: str(value) for name, value in ports.items()}
        names = ("plausch-control", "plausch-relay")
        processes = [subprocess.Popen([BINARIES / name], env=environment) for name in names]
        try:
            base = f"http://127.0.0.1:{port}"
            await ready(base, processes)
            await run(base)
        finally:
            for process in processes:
                process.terminate()
            for process in processes:
                process.wait(10)


if __name__ == "__main__":
    asyncio.run(main())
    sys.exit(0)
