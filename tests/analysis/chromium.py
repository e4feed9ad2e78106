"""A headless Chromium that a test looks at pages with, over the pipe of its DevTools protocol."""

from __future__ import annotations

import base64
import contextlib
import json
import os
import select
import shutil
import subprocess
import time

PROGRAM = next(filter(None, map(shutil.which, ('chromium', 'chromium-headless-shell', 'google-chrome'))), None)
FLAGS = (
  *('--headless', '--no-sandbox', '--disable-gpu', '--no-first-run', '--disable-sync', '--hide-scrollbars'),
  *('--disable-background-networking', '--disable-component-update', '--remote-debugging-pipe'),
)
SECONDS = 30
OVERFLOW = """[...document.querySelectorAll('body *')].filter(e => !e.closest('svg *') &&
  e.getClientRects().length && e.getBoundingClientRect().right > innerWidth + 1)
  .map(e => e.outerHTML.slice(0, 200))"""


class Chromium:
  """One page; `problems` are the errors and warnings of its console."""

  def __init__(self, profile):
    self.problems, self._buffer, self._number, self._session = [], b'', 0, None
    read, self._write = os.pipe()
    self._read, write = os.pipe()
    # The browser reads from descriptor 3 and writes to 4. A shell of one digit cannot name what pytest has opened.
    script = f'exec "$0" "$@" 3<&{read} 4>&{write}'
    command = ['bash', '-c', script, PROGRAM, *FLAGS, f'--user-data-dir={profile}', 'about:blank']
    quiet = {'stdout': subprocess.DEVNULL, 'stderr': subprocess.DEVNULL}
    self._process = subprocess.Popen(command, pass_fds=(read, write), **quiet)
    os.close(read)
    os.close(write)
    target = self.call('Target.createTarget', url='about:blank')['targetId']
    self._session = self.call('Target.attachToTarget', targetId=target, flatten=True)['sessionId']
    for domain in ('Page', 'Runtime', 'Log'):
      self.call(f'{domain}.enable')

  def open(self, url, width, dark=False):
    """Opens a page on a screen of so many pixels, by day or by night, and waits for it."""
    phone = {'width': width, 'height': 900, 'deviceScaleFactor': 1, 'mobile': width < 600}
    self.call('Emulation.setDeviceMetricsOverride', **phone)
    scheme = [{'name': 'prefers-color-scheme', 'value': 'dark' if dark else 'light'}]
    self.call('Emulation.setEmulatedMedia', features=scheme)
    self.call('Page.navigate', url='about:blank')  # An address that differs in its fragment alone would load nothing.
    self.call('Page.navigate', url=url)
    self.wait("document.readyState === 'complete' && location.href !== 'about:blank'")

  def js(self, expression):
    """The value of an expression on the page."""
    said = self.call('Runtime.evaluate', expression=expression, returnByValue=True, awaitPromise=True)
    assert 'exceptionDetails' not in said, said
    return said['result'].get('value')

  def wait(self, expression):
    """Waits until an expression is true."""
    end = time.monotonic() + SECONDS
    while not self.js(expression):
      assert time.monotonic() < end, expression
      time.sleep(0.02)

  def press(self, key):
    """Presses a key, as a person does."""
    text = {'Enter': '\r', ' ': ' '}.get(key, key if len(key) == 1 else None)
    codes = {'Enter': 13, 'Tab': 9, 'ArrowLeft': 37, 'ArrowRight': 39}
    event = {'key': key, 'windowsVirtualKeyCode': codes.get(key, ord(key[0]))}
    self.call('Input.dispatchKeyEvent', type='keyDown', **event, **({'text': text} if text else {}))
    self.call('Input.dispatchKeyEvent', type='keyUp', **event)

  def picture(self, path, whole=False):
    """Saves what is seen, or the whole page, as PNG."""
    found = self.call('Page.captureScreenshot', format='png', captureBeyondViewport=whole)
    path.write_bytes(base64.b64decode(found['data']))

  def call(self, method, **arguments):
    """Asks for one thing and waits for the answer; notes what the page says meanwhile."""
    self._number += 1
    message = {'id': self._number, 'method': method, 'params': arguments}
    if self._session:
      message['sessionId'] = self._session
    os.write(self._write, json.dumps(message).encode() + b'\0')
    while (said := self._next()).get('id') != self._number:
      self._note(said)
    assert 'error' not in said, (method, said)
    return said['result']

  def close(self):
    with contextlib.suppress(OSError):
      self._session = None
      self.call('Browser.close')
    self._process.terminate()
    self._process.wait()

  def _next(self):
    end = time.monotonic() + SECONDS
    while b'\0' not in self._buffer:
      assert select.select([self._read], [], [], max(0, end - time.monotonic()))[0], 'the browser says nothing'
      got = os.read(self._read, 1 << 20)
      assert got, 'the browser has gone'
      self._buffer += got
    message, _, self._buffer = self._buffer.partition(b'\0')
    return json.loads(message)

  def _note(self, said):
    match said.get('method'):
      case 'Runtime.exceptionThrown' | 'Log.entryAdded':
        self.problems.append(said['params'])
      case 'Runtime.consoleAPICalled' if said['params']['type'] in ('error', 'warning', 'assert'):
        self.problems.append(said['params'])
