# SPDX-License-Identifier: BSL-1.0

"""Chromium without a window, driven by its DevTools protocol over a pipe."""

import base64
import json
import os
import shutil
import subprocess
import tempfile
import time

from service import dies_with_parent


class Browser:
    def __init__(self, url, width=1000, height=900):
        self.profile = tempfile.mkdtemp(prefix="payments-chromium-")
        to_us, self.output = os.pipe()
        self.input, from_us = os.pipe()

        def hand_over():
            dies_with_parent()
            # The browser reads from 3 and writes to 4. Through high numbers, so that neither hides the other.
            read, write = os.dup2(self.input, 103), os.dup2(self.output, 104)
            os.dup2(read, 3)
            os.dup2(write, 4)

        self.log = tempfile.TemporaryFile()
        self.process = subprocess.Popen(
            [shutil.which("chromium") or "chromium", "--headless=new", "--no-sandbox", "--disable-gpu",
             "--disable-dev-shm-usage", "--hide-scrollbars", "--remote-debugging-pipe", "--lang=en",
             f"--user-data-dir={self.profile}", "about:blank"],
            stdout=self.log, stderr=self.log, close_fds=False, preexec_fn=hand_over)
        os.close(self.output)
        os.close(self.input)
        self.reader = os.fdopen(to_us, "rb")
        self.writer = os.fdopen(from_us, "wb")
        self.last = 0
        self.session = None
        target = self.call("Target.createTarget", url=url)["targetId"]
        self.session = self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        self.call("Emulation.setDeviceMetricsOverride",
                  width=width, height=height, deviceScaleFactor=1, mobile=False)

    def call(self, method, **params):
        self.last += 1
        message = {"id": self.last, "method": method, "params": params}
        if self.session:
            message["sessionId"] = self.session
        self.writer.write(json.dumps(message).encode() + b"\0")
        self.writer.flush()
        while True:
            answer = json.loads(self._next())
            if answer.get("id") == self.last:
                if "error" in answer:
                    raise SystemExit(f"browser: {method}: {answer['error']}")
                return answer["result"]

    def _next(self):
        text = bytearray()
        while (one := self.reader.read(1)) != b"\0":
            if not one:
                self.log.seek(0)
                raise SystemExit(f"browser: it has ended: {self.log.read()[-2000:].decode(errors='replace')}")
            text += one
        return text

    def run(self, script):
        """What the script comes to, its promise awaited."""
        answer = self.call("Runtime.evaluate", expression=script, awaitPromise=True, returnByValue=True)
        if "exceptionDetails" in answer:
            raise SystemExit(f"browser: {script}: {answer['exceptionDetails']}")
        return answer["result"].get("value")

    def await_true(self, script, seconds=60):
        until = time.monotonic() + seconds
        while not self.run(script):
            if time.monotonic() > until:
                raise SystemExit(f"browser: never true: {script}\n{self.run('document.body.innerText')}")
            time.sleep(0.1)

    def dark(self):
        self.call("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": "dark"}])

    def save_picture(self, path):
        bottom = "document.querySelector('main').getBoundingClientRect().bottom"
        width, height = self.run(f"[innerWidth, {bottom}]")
        clip = {"x": 0, "y": 0, "width": width, "height": height, "scale": 1}
        picture = self.call("Page.captureScreenshot", format="png", captureBeyondViewport=True, clip=clip)
        with open(path, "wb") as file:
            file.write(base64.b64decode(picture["data"]))

    def __enter__(self):
        return self

    def __exit__(self, *error):
        self.process.kill()
        self.process.wait()
        shutil.rmtree(self.profile, ignore_errors=True)
