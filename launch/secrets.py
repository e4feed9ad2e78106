"""Recognises what should not stand in a command line: passwords, tokens and keys, by their shape or by their name.

Meant to catch a slip, not whoever hides one: what is encoded, or has neither shape nor name, is not found. No
expression here takes longer than in proportion to the length of the text, whatever the text is.
"""

from __future__ import annotations

import re

# The shapes that the issuers document, each with enough after its prefix that an ordinary word is not taken for one.
_SHAPES = re.compile(
  r"""
    hf_[A-Za-z0-9]{16,}                                       # Hugging Face.
  | gh[pousr]_[A-Za-z0-9]{16,} | github_pat_\w{16,}           # GitHub.
  | glpat-[-\w]{16,}                                          # GitLab.
  | \b[srp]k[-_][-\w]{16,}                                    # OpenAI, Anthropic, Stripe.
  | \bya29\.[-\w]{8,} | \bAIza[-\w]{30,} | GOCSPX-[-\w]{16,}  # Google.
  | \b(?:AKIA|ASIA|ABIA|ACCA)[A-Z0-9]{16}\b                   # AWS.
  | \bxox[a-z]-[-\w]{8,} | \bxapp-[-\w]{8,}                   # Slack.
  | \b(?:npm|dop_v1|dckr_pat|nvapi|gsk|r8|pat|lin_api)[-_][-\w]{24,} | \bpypi-[-\w]{24,}
  | \bSG\.[-\w]{16,}\.[-\w]{16,}                              # SendGrid.
  | \beyJ[-\w]{8,}\.eyJ[-\w]{8,}                              # A JSON Web Token.
  | -----BEGIN\ [A-Z0-9 ]{0,40}PRIVATE\ KEY
  | ://[^/@\s:]*:[^/@\s]+@                                    # An address with a password.
  """,
  re.VERBOSE,
)

_NAME = r"""
  (?: (?:access|auth|bearer|refresh|session|id)?[-_]?token
    | (?:user|db|root|admin)?[-_]?(?:password|passwd|passphrase|passcode|pwd)
    | (?:client|app|shared)?[-_]?secret
    | (?:api|access|secret|private|signing|encryption|account|auth|license|aws)[-_]?keys?(?:[-_]?id)?
    | credentials? | authorization
  )
"""

# A name, then '=' or ':', then anything; or a flag, a space and a value. 'tokens' and 'tokenizer' are other words.
_NAMED = re.compile(
  rf"""
    (?:^|[^a-z0-9]) {_NAME} ["']?\s{{0,8}}[=:]\s{{0,8}}["']?[^\s"']
  | -[-\w.]{{0,40}}(?<![a-z0-9]) {_NAME} \s{{1,8}}[^\s=:-]
  | (?:^|[^a-z0-9])bearer\s{{1,8}}[-\w.~+/=]{{16}}
  """,
  re.VERBOSE | re.IGNORECASE,
)


def found(text: str) -> bool:
  """Whether a text holds something that looks like a password, a token or a key."""
  return bool(_SHAPES.search(text) or _NAMED.search(text))
