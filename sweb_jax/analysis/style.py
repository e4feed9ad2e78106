"""What the pages of a report share: their head, colours by day and by night, and what they may load and run."""

from __future__ import annotations

import base64
import hashlib
import html

STYLE = """
:root { color-scheme: light dark; --ink: #1c1c1c; --ground: #ffffff; --soft: #595959; --panel: #f4f4f4;
  --line: #d5d5d5; --accent: #005f9e; --good: #00785a; --bad: #b84300; --open: #8a5a00;
  --blue: #0072b2; }
@media (prefers-color-scheme: dark) {
  :root { --ink: #e8e8e8; --ground: #161616; --soft: #a8a8a8; --panel: #242424; --line: #444444; --accent: #6cb8f0;
    --good: #3cc79f; --bad: #ff8a4c; --open: #f0b040; --blue: #3fa0e0; }
}
* { box-sizing: border-box; }
body { font: 16px/1.5 system-ui, sans-serif; color: var(--ink); background: var(--ground); max-width: 78rem;
  margin: auto; padding: 1rem; }
h1, h2, h3 { line-height: 1.2; margin: 1.6em 0 .4em; overflow-wrap: anywhere; }
h1 { margin-top: .4em; }
a { color: var(--accent); }
:focus-visible { outline: 3px solid var(--accent); outline-offset: 2px; }
pre { background: var(--panel); padding: .6rem; margin: .4rem 0; white-space: pre-wrap; overflow-wrap: anywhere;
  font-size: .85rem; }
button, select, input { font: inherit; color: inherit; background: var(--panel); border: 1px solid var(--soft);
  border-radius: .3rem; padding: .35rem .6rem; max-width: 100%; }
.note, figcaption { font-size: .85rem; color: var(--soft); }
.right, .wrong, .false, .cut { border-left: 4px solid; padding-left: .5rem; }
.right { border-color: var(--good); }
.wrong { border-color: var(--bad); }
.false { border-color: var(--open); }
.cut { border-color: var(--soft); }
"""


def head(title: str, style: str, script: str, loads: bool = False) -> str:
  """The beginning of a page, up to its body.

  Args:
    title: plain text.
    style: CSS beyond what the pages share.
    script: the only inline script that the browser is to run on the page; whatever a model wrote is none.
    loads: scripts beside the page, its data, may be loaded too.
  """
  digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
  # To a page that was opened from a folder, files beside it are of no origin of its own.
  beside = " 'self' file:" if loads else ''
  policy = f"default-src 'none'; style-src 'unsafe-inline'; script-src 'sha256-{digest}'{beside}"
  return (
    '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
    f'<meta http-equiv="Content-Security-Policy" content="{policy}">\n'
    '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
    f'<title>{html.escape(title)}</title>\n<style>{STYLE}{style}</style>\n</head>\n<body>\n'
  )
