#!/usr/bin/env python3
"""A Dragoman client without the SDK, from docs/protocol.md alone.

    apt-get install python3-websockets python3-msgpack    # for Debian's python3; else: pip install websockets msgpack
    python3 examples/python/client.py speech.wav [--src en --tgt es] [--fast]

Streams a WAV file in real time, prints each result, and the ledger at the end. It keeps the audio
that is not acknowledged, resumes after a lost connection and sends again from where it is asked.
"""
import argparse
import asyncio
import contextlib
import os
import random
import time
import wave

import msgpack
import websockets

FRAME_MS = 100


class Lost(Exception):
    """The connection is gone; worth another attempt."""


class Client:
    def __init__(self, args):
        self.args = args
        with wave.open(args.file, "rb") as file:
            if file.getsampwidth() != 2:
                raise SystemExit("16-bit PCM, please: sox in.wav -b 16 out.wav")
            self.rate, self.channels = file.getframerate(), file.getnchannels()
            # A file is its own replay buffer; a microphone would keep what is above `acked`.
            self.audio = file.readframes(file.getnframes())
        self.frame_bytes = self.rate * FRAME_MS // 1000 * 2 * self.channels
        self.began = None
        self.cursor = 0  # next byte to send
        self.acked = 0
        self.paused_until = 0.0
        self.session = None  # session_id, resume_token
        self.result_seq = -1
        self.ledger = None

    async def send(self, socket, **message):
        await socket.send(msgpack.packb(message))

    async def handshake(self, socket):
        if self.session is None:
            audio = {"encoding": "pcm_s16le", "sample_rate": self.rate, "channels": self.channels}
            await self.send(socket, type="start", src=self.args.src, tgt=self.args.tgt, audio=audio, replay=True)
        else:
            session_id, token = self.session
            await self.send(socket, type="resume", session_id=session_id, resume_token=token, result_seq=self.result_seq)
        answer = msgpack.unpackb(await asyncio.wait_for(socket.recv(), 10))
        if answer["type"] == "error":
            if answer["retryable"]:
                raise Lost(answer["message"])
            raise SystemExit(f"{answer['code']}: {answer['message']}")
        self.session = (answer["session_id"], answer["resume_token"])
        if answer["type"] == "resumed":
            self.cursor = answer["audio_offset"]
            print(f"resumed; sending again from byte {self.cursor}", flush=True)
        else:
            print(f"session {answer['session_id']} on {answer['instance_id']}", flush=True)
            self.began = time.monotonic()

    async def speak(self, socket):
        while self.cursor < len(self.audio):
            data = self.audio[self.cursor : self.cursor + self.frame_bytes]
            # A frame exists once its last sample has been spoken.
            spoken = self.began + (self.cursor + len(data)) / (self.rate * 2 * self.channels)
            wait = max(self.paused_until, 0 if self.args.fast else spoken) - time.monotonic()
            if wait > 0:
                await asyncio.sleep(wait)
                continue  # A rewind may have moved the cursor meanwhile.
            offset, self.cursor = self.cursor, self.cursor + len(data)
            await self.send(socket, type="audio", offset=offset, data=data)
        await self.send(socket, type="stop")

    async def listen(self, socket):
        speaking = asyncio.create_task(self.speak(socket))
        try:
            async for frame in socket:
                m = msgpack.unpackb(frame)
                if m["type"] == "ack":
                    self.acked = m["audio_offset"]
                elif m["type"] == "rewind":
                    self.cursor = m["audio_offset"]
                    if speaking.done():
                        speaking = asyncio.create_task(self.speak(socket))
                elif m["type"] == "slow_down":
                    self.paused_until = time.monotonic() + m["pause_ms"] / 1000
                elif m["type"] == "result" and m["result_seq"] > self.result_seq:
                    self.result_seq = m["result_seq"]
                    self.show(m)
                    with contextlib.suppress(websockets.ConnectionClosed):
                        # Closed already, perhaps, but `stopped` is still to be read.
                        await self.send(socket, type="ack", result_seq=self.result_seq)
                elif m["type"] == "goaway":
                    await asyncio.sleep(m["reconnect_after_ms"] / 1000)
                    raise Lost("the instance is leaving")
                elif m["type"] == "error":
                    print(f"error {m['code']}: {m['message']}", flush=True)
                elif m["type"] == "stopped":
                    self.ledger = m
                    return
            raise Lost("closed")
        finally:
            speaking.cancel()

    def show(self, m):
        output = m.get("output") or {}
        text = output.get("translation") or output.get("transcript") or m.get("error", {}).get("message", "")
        sound = f", {len(output['audio'])} bytes of speech" if "audio" in output else ""
        span = f"{m['start_ms'] / 1000:.1f}–{m['end_ms'] / 1000:.1f} s"
        print(f"{m['utterance']:3} {m['status']:9} {span}: {text} [{m['timings']['total_ms']} ms{sound}]", flush=True)

    async def run(self):
        protocols = ["dragoman.msgpack.v1"]
        if self.args.token:
            protocols.append(f"bearer.{self.args.token}")
        url = self.args.url.rstrip("/") + "/v1/session"
        attempt = 0
        while self.ledger is None:
            try:
                async with websockets.connect(url, subprotocols=protocols, compression=None, max_size=16 << 20) as socket:
                    await self.handshake(socket)
                    attempt = 0
                    await self.listen(socket)
            except (Lost, OSError, asyncio.TimeoutError, websockets.WebSocketException) as error:
                attempt += 1
                if attempt > 10:
                    raise SystemExit(f"giving up: {error}")
                delay = random.random() * min(10, 0.25 * 2**attempt)  # full jitter
                print(f"{error or type(error).__name__}; again in {delay:.1f} s", flush=True)
                await asyncio.sleep(delay)
        results = self.ledger["results"]
        print(f"{self.ledger['utterances']} utterances, {self.ledger['audio_bytes']} bytes: {results}")
        return 0 if sum(results.values()) == self.ledger["utterances"] else 1


def main():
    parser = argparse.ArgumentParser(description="A Dragoman client in Python.")
    parser.add_argument("file", help="a WAV file, 16-bit PCM")
    parser.add_argument("--url", default=os.environ.get("DRAGOMAN_URL", "ws://127.0.0.1:7420"))
    parser.add_argument("--token", default=os.environ.get("DRAGOMAN_TOKEN"))
    parser.add_argument("--src", default="en")
    parser.add_argument("--tgt", default="es")
    parser.add_argument("--fast", action="store_true", help="as fast as it is taken, not in real time")
    try:
        raise SystemExit(asyncio.run(Client(parser.parse_args()).run()))
    except KeyboardInterrupt:
        pass


if __name__ == "__main__":
    main()
