#!/usr/bin/env python3
"""A Dragoman node without the SDK, from docs/protocol.md alone.

    apt-get install python3-websockets python3-msgpack    # for Debian's python3; else: pip install websockets msgpack
    python3 examples/python/node.py [--url ws://127.0.0.1:7420] [--pools en:es] [--slots 2]

Registers, sends heartbeats, takes jobs, answers each with a result. When the connection is lost it
comes back under the same name; what it was working on goes on, and is delivered if still wanted.
"""
import argparse
import array
import asyncio
import os
import random
import time

import msgpack
import websockets


def recognise(job):
    """The work itself; put a model here. It runs in a thread, so it may block."""
    samples = array.array("h", job["data"][: len(job["data"]) // 2 * 2])
    peak = max(map(abs, samples), default=0)
    return {"transcript": f"{job['duration_ms']} ms of sound, peak {peak}", "language": job["src"]}


class Node:
    def __init__(self, args):
        self.args = args
        self.node_id = args.id
        self.incarnation = int(time.time() * 1000)
        self.running = {}  # (job_id, attempt) -> task
        self.finished = {}  # (job_id, attempt) -> message that could not be sent
        self.socket = None

    def refs(self):
        keys = [*self.running, *self.finished]
        return [{"job_id": job_id, "attempt": attempt} for job_id, attempt in keys]

    async def send(self, message):
        await self.socket.send(msgpack.packb(message))

    async def heartbeats(self, interval_ms):
        while True:
            await self.send({"type": "heartbeat", "running": self.refs(), "state": "ready"})
            await asyncio.sleep(interval_ms / 2000)

    async def work(self, key, job):
        ref = {"job_id": key[0], "attempt": key[1]}
        try:
            output = await asyncio.get_running_loop().run_in_executor(None, recognise, job)
            answer = {"type": "result", **ref, "status": "ok", "output": output}
        except asyncio.CancelledError:
            return  # No longer wanted: no answer is owed.
        except Exception as error:
            answer = {"type": "fail", **ref, "code": "node_failed", "message": str(error)[:1000], "retryable": True}
        finally:
            self.running.pop(key, None)
        try:
            await self.send(answer)
        except websockets.ConnectionClosed:
            self.finished[key] = answer

    async def on_message(self, m):
        key = (m.get("job_id"), m.get("attempt"))
        if m["type"] == "job":
            if key in self.running:
                return
            ref = {"job_id": key[0], "attempt": key[1]}
            if len(self.running) >= self.args.slots:
                await self.send({"type": "handback", **ref, "reason": "all slots are busy"})
                return
            await self.send({"type": "accept", **ref})
            print(f"job {key[0]} attempt {key[1]}: {m['duration_ms']} ms, cut by {m['reason']}", flush=True)
            self.running[key] = asyncio.create_task(self.work(key, m))
        elif m["type"] == "cancel" and key in self.running:
            self.running[key].cancel()
        elif m["type"] == "fenced":
            raise SystemExit(f"node {m['node_id']} was started again elsewhere")
        elif m["type"] == "error":
            print(f"error {m['code']}: {m['message']}", flush=True)
        elif m["type"] == "drain":
            print("the instance is leaving; it will close this connection", flush=True)

    async def connection(self):
        protocols = ["dragoman.msgpack.v1"]
        if self.args.token:
            protocols.append(f"bearer.{self.args.token}")
        url = self.args.url.rstrip("/") + "/v1/node"
        async with websockets.connect(url, subprotocols=protocols, compression=None, max_size=16 << 20) as socket:
            self.socket = socket
            register = {"type": "register", "incarnation": self.incarnation, "name": "python-node",
                        "slots": self.args.slots, "pools": self.args.pools.split(","), "running": self.refs()}
            if self.node_id:
                register["node_id"] = self.node_id
            await self.send(register)
            registered = msgpack.unpackb(await asyncio.wait_for(socket.recv(), 10))
            if registered["type"] != "registered":
                raise SystemExit(f"refused: {registered.get('code')}: {registered.get('message')}")
            self.node_id = registered["node_id"]
            print(f"registered as {self.node_id}", flush=True)
            for ref in registered["drop"]:
                if (ref["job_id"], ref["attempt"]) in self.running:
                    self.running[ref["job_id"], ref["attempt"]].cancel()
            kept = {(ref["job_id"], ref["attempt"]) for ref in registered["keep"]}
            finished, self.finished = self.finished, {}
            for key, answer in finished.items():
                if key in kept:
                    await self.send(answer)
            beats = asyncio.create_task(self.heartbeats(registered["heartbeat_ms"]))
            try:
                async for frame in socket:
                    await self.on_message(msgpack.unpackb(frame))
            finally:
                beats.cancel()

    async def run(self):
        attempt = 0
        while True:
            started = time.monotonic()
            try:
                await self.connection()
                reason = "closed"
            except (OSError, asyncio.TimeoutError, websockets.WebSocketException) as error:
                reason = str(error) or type(error).__name__
            attempt = 0 if time.monotonic() - started > 5 else attempt + 1
            delay = random.random() * min(10, 0.25 * 2**attempt)  # full jitter
            print(f"{reason}; again in {delay:.1f} s", flush=True)
            await asyncio.sleep(delay)


def main():
    parser = argparse.ArgumentParser(description="A Dragoman node in Python.")
    parser.add_argument("--url", default=os.environ.get("DRAGOMAN_URL", "ws://127.0.0.1:7420"))
    parser.add_argument("--token", default=os.environ.get("DRAGOMAN_TOKEN"))
    parser.add_argument("--id", help="kept across restarts; issued when left out")
    parser.add_argument("--pools", default="en:es")
    parser.add_argument("--slots", type=int, default=2)
    try:
        asyncio.run(Node(parser.parse_args()).run())
    except KeyboardInterrupt:
        pass


if __name__ == "__main__":
    main()
