#!/usr/bin/python3
"""Publishes H.264 and Opus by WHIP with GStreamer's webrtcbin, until it is ended.

    apt-get install --no-install-recommends python3-gi gir1.2-gst-plugins-bad-1.0 gir1.2-gst-plugins-base-1.0 \\
        gstreamer1.0-plugins-{base,good,bad,ugly} gstreamer1.0-nice
    tests/whip/gstreamer_publish.py http://localhost:8080/whip/probe?name=Kamera
"""

import sys
import urllib.request

import gi

gi.require_version("Gst", "1.0")
gi.require_version("GstSdp", "1.0")
gi.require_version("GstWebRTC", "1.0")
from gi.repository import GLib, Gst, GstSdp, GstWebRTC  # noqa: E402

PIPELINE = """
webrtcbin name=peer bundle-policy=max-bundle
audiotestsrc is-live=true freq=440 ! audioconvert ! opusenc ! rtpopuspay
    ! application/x-rtp,media=audio,encoding-name=OPUS,payload=97 ! peer.
videotestsrc is-live=true pattern=ball ! video/x-raw,width=320,height=240,framerate=25/1 ! videoconvert
    ! x264enc tune=zerolatency key-int-max=50 ! video/x-h264,profile=constrained-baseline
    ! rtph264pay config-interval=-1 ! application/x-rtp,media=video,encoding-name=H264,payload=96 ! peer.
"""


def publish(url):
    Gst.init(None)
    pipeline = Gst.parse_launch(PIPELINE)
    peer = pipeline.get_by_name("peer")

    def offered(promise):
        # The reply must outlive the offer, which is a part of it.
        reply = promise.get_reply()
        offer = reply.get_value("offer")
        peer.emit("set-local-description", offer, Gst.Promise.new())
        sdp = offer.sdp.as_text().encode()
        request = urllib.request.Request(url, data=sdp, headers={"Content-Type": "application/sdp"})
        with urllib.request.urlopen(request) as answer:
            print(answer.status, answer.headers["Location"], flush=True)
            _, message = GstSdp.SDPMessage.new_from_text(answer.read().decode())
        description = GstWebRTC.WebRTCSessionDescription.new(GstWebRTC.WebRTCSDPType.ANSWER, message)
        peer.emit("set-remote-description", description, Gst.Promise.new())

    def needed(_):
        peer.emit("create-offer", None, Gst.Promise.new_with_change_func(offered))

    peer.connect("on-negotiation-needed", needed)
    pipeline.set_state(Gst.State.PLAYING)
    GLib.MainLoop().run()


if __name__ == "__main__":
    publish(sys.argv[1])
