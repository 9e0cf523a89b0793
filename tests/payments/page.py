#!/usr/bin/env python3
# SPDX-License-Identifier: BSL-1.0

"""page.py <payments> <store> [<picture.png>]

A person on the page: pays, presses twice, pulls the plug, and sees one payment each time. Exit code 77 where
there is no Chromium (Debian: chromium).
"""

import importlib
import shutil
import sys

sys.dont_write_bytecode = True

from api import expect  # noqa: E402
from browser import Browser  # noqa: E402
from service import Service  # noqa: E402

SETTLED = "document.body.dataset.busy !== 'yes' && document.getElementById('verdict').className === 'good'"


def text(browser, name):
    return browser.run(f"document.getElementById('{name}').textContent")


def press(browser, name):
    browser.run(f"document.getElementById('{name}').click()")


def rows(browser):
    return browser.run("[...document.querySelectorAll('#log tr')].map(row => row.innerText)")


def use(browser, service):
    def entries():
        return service.ask("GET", "/accounts/alice").json()["entries"]

    browser.await_true("document.getElementById('entries')?.textContent === '0'")
    press(browser, "pay")
    browser.await_true(SETTLED)
    expect(text(browser, "verdict") == "Sent once, paid once: alice-1.", text(browser, "verdict"))
    press(browser, "pay")
    browser.await_true("document.getElementById('verdict').textContent.startsWith('Sent 2 times, paid once')")
    expect(entries() == 1 and "replayed" in rows(browser)[0], f"pressed again: {rows(browser)}")

    press(browser, "fresh")
    browser.await_true("document.getElementById('verdict').className === 'warn'")
    press(browser, "twice")
    browser.await_true(SETTLED)
    expect(entries() == 2 and text(browser, "entries") == "2", f"pressed twice at once: {rows(browser)}")

    press(browser, "fresh")
    browser.await_true("document.getElementById('verdict').className === 'warn'")
    worker = service.worker()
    press(browser, "plug")
    browser.await_true(SETTLED)
    expect(service.worker() != worker, "the plug was not pulled")
    expect(entries() == 3 and text(browser, "entries") == "3", f"the plug was pulled: {rows(browser)}")
    shown = rows(browser)
    expect("worker died" in shown[0] and "201 replayed" in shown[1],
           f"the answer was stored by the dead worker: {shown}")
    expect(text(browser, "verdict").endswith("paid once: alice-3."), text(browser, "verdict"))
    expect(text(browser, "balance") == "910.00", text(browser, "balance"))


def main():
    if shutil.which("chromium") is None:
        print("page: there is no chromium here")
        sys.exit(77)
    store = importlib.import_module("store_" + sys.argv[2]).Store()
    try:
        with Service(sys.argv[1], store.url, "--plug") as service:
            service.await_health()
            with Browser(f"http://127.0.0.1:{service.port}/") as browser:
                use(browser, service)
                for picture in sys.argv[3:]:
                    if "dark" in picture:
                        browser.dark()
                    browser.save_picture(picture)
        # What a person sees whose service knows no keys.
        with Service(sys.argv[1], store.url, "--careless") as service:
            service.await_health()
            with Browser(f"http://127.0.0.1:{service.port}/") as browser:
                browser.await_true("document.getElementById('entries')?.textContent === '3'")
                press(browser, "twice")
                browser.await_true("document.getElementById('verdict').className === 'bad'")
                expect("paid 2 times" in text(browser, "verdict"), text(browser, "verdict"))
    finally:
        store.close()
    print("page: paid once each time")


if __name__ == "__main__":
    main()
