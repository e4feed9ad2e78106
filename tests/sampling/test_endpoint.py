"""A server is asked, and whatever it does nothing that was paid for is lost: against a server that plays."""

from __future__ import annotations

import dataclasses
import http.server
import json
import re
import threading
import time
from collections.abc import Callable

import pytest

from sweb_jax.sampling.endpoint import Ask, Endpoint, EndpointError, Purse

pytest.importorskip('openai', reason='needs the extra endpoint')

KEY = 'sk-very-secret'


class Server:
  """Answers by a list of tricks, one a request, and then as it should."""

  def __init__(self):
    self.tricks: list[Callable | str] = []
    self.asked: list[dict] = []
    self.keys: list[str] = []
    self.at_once = self.most_at_once = 0
    self.seconds = 0.0
    self._lock = threading.Lock()
    server = self

    class Handler(http.server.BaseHTTPRequestHandler):
      protocol_version = 'HTTP/1.1'

      def do_POST(self):
        body = json.loads(self.rfile.read(int(self.headers['Content-Length'])))
        with server._lock:
          server.asked.append(body)
          server.keys.append(self.headers['Authorization'])
          trick = server.tricks.pop(0) if server.tricks else 'good'
          server.at_once += 1
          server.most_at_once = max(server.most_at_once, server.at_once)
        time.sleep(server.seconds)
        with server._lock:
          server.at_once -= 1
        getattr(self, trick)(body) if isinstance(trick, str) else self.answer(200, trick(good(body)))

      def answer(self, code, body, kind='application/json', **headers):
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        self.send_response(code)
        for name, value in {'Content-Type': kind, 'Content-Length': str(len(data)), **headers}.items():
          self.send_header(name.replace('_', '-'), value)
        self.end_headers()
        self.wfile.write(data)

      def good(self, body):
        self.answer(200, good(body))

      def busy(self, body):
        self.answer(429, {'error': {'message': 'slow down'}}, Retry_After='0.01')

      def broken(self, body):
        self.answer(500, {'error': {'message': 'out of memory'}}, Retry_After='0.01')

      def refused(self, body):
        self.answer(401, {'error': {'message': f'Incorrect API key provided: {KEY}'}})

      def unknown(self, body):
        self.answer(404, {'error': {'message': 'no such model'}})

      def unable(self, body):
        self.answer(400, {'error': {'message': 'seed is not supported'}})

      def page(self, body):
        self.answer(200, b'<html><body>Welcome</body></html>', 'text/html')

      def slow(self, body):
        time.sleep(1)
        self.good(body)

      def cut(self, body):
        data = json.dumps(good(body)).encode()
        self.send_response(200)
        self.send_header('Content-Type', 'application/json')
        self.send_header('Content-Length', str(len(data)))
        self.end_headers()
        self.wfile.write(data[: len(data) // 2])
        self.close_connection = True

      def odd(self, body):
        self.answer(200, good(body) | {'choices': [{'message': 7}]})

      def half(self, body):
        self.answer(200, json.dumps(good(body)).encode()[:-20])

      def log_message(self, *args):
        """Says nothing."""

    self._server = http.server.ThreadingHTTPServer(('127.0.0.1', 0), Handler)
    self._server.daemon_threads = True
    self.url = f'http://127.0.0.1:{self._server.server_port}/v1'
    threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()

  def close(self):
    self._server.shutdown()
    self._server.server_close()


def good(body: dict) -> dict:
  texts = [f'{body.get("prompt")} {i}' for i in range(body['n'])]
  choices = [{'index': i, 'text': t, 'finish_reason': 'stop', 'logprobs': None} for i, t in enumerate(texts)]
  usage = {'prompt_tokens': 7, 'completion_tokens': 4 * body['n'], 'total_tokens': 7 + 4 * body['n']}
  return {'id': 'x', 'object': 'text_completion', 'created': 0, 'model': 'm', 'choices': choices, 'usage': usage}


@pytest.fixture
def server():
  made = Server()
  yield made
  made.close()


def endpoint(server: Server, **changes) -> Endpoint:
  made = Endpoint('pro', server.url, 'm', KEY, 'SWEB_ENDPOINT_KEY', False, 8, 0.7, 1.0, 0, (), 2, 2, 20.0)
  return dataclasses.replace(made, **changes)


def purse(limit=0.0, spent=0.0) -> Purse:
  made = Purse(limit)
  made.begin((1e5, 1e6), lambda: spent)  # A tenth of a dollar a token read, a dollar a token drawn.
  return made


def asks(count: int, n: int = 1) -> list[Ask]:
  return [Ask(f'p{i}', f'question {i}', tuple(range(n)), 1) for i in range(count)]


def run(of: Endpoint, wanted, pays=None, stopped=lambda: False):
  """(samples, message of the error)."""
  samples = []
  try:
    for reply in of.draw(wanted, pays or purse(), stopped):
      samples += reply.samples
  except EndpointError as e:
    return samples, str(e)
  return samples, ''


def test_replies_become_samples_that_are_charged_what_the_server_says(server):
  samples, error = run(endpoint(server), asks(3, n=2))
  assert not error and len(samples) == 6
  assert {(s.problem_id, s.index, s.text) for s in samples} == {
    (f'p{i}', j, f'question {i} {j}') for i in range(3) for j in range(2)
  }
  assert all(len(s.tokens) == 4 and s.finish == 'stop' for s in samples)
  (body, *_) = server.asked
  assert (body['model'], body['n'], body['seed'], body['max_tokens'], body['temperature']) == ('m', 2, 1, 8, 0.7)
  assert 'top_k' not in body and 'stop' not in body and set(server.keys) == {f'Bearer {KEY}'}


def test_no_more_requests_are_on_their_way_than_are_allowed(server):
  server.seconds = 0.02
  samples, _ = run(endpoint(server, concurrency=3), asks(12))
  assert len(samples) == 12 and server.most_at_once == 3


@pytest.mark.parametrize('trick', ['busy', 'broken', 'cut', 'slow'])
def test_what_passes_is_asked_again(server, trick):
  server.tricks = [trick]
  samples, error = run(endpoint(server, timeout=0.5), asks(2))
  assert (len(samples), error, len(server.asked)) == (2, '', 3)


@pytest.mark.parametrize(
  ('trick', 'words'),
  [
    ('busy', r'slow down.*lower config.endpoints.pro.concurrency, or wait'),
    ('broken', r'out of memory.*asked 3 times'),
    ('refused', r'the key is missing or refused: set SWEB_ENDPOINT_KEY in the environment'),
    ('unknown', r"no such model.*it has no model 'm'"),
    ('unable', r'seed is not supported.*config.endpoints.pro.seeds=False'),
    ('page', r"answers with '<html>.*such a URL ends in /v1"),
    ('half', r'answers with what is cut or no JSON'),
    ('odd', r'127.0.0.1.*an answer of another form'),
  ],
)
def test_what_does_not_pass_is_told_and_what_was_paid_is_kept(server, trick, words):
  server.tricks = ['good', 'good', *[trick] * 9]
  samples, error = run(endpoint(server), asks(20))
  assert len(samples) >= 2 and len(server.asked) <= 2 + 2 * 3 and KEY not in error
  assert re.search(words, error), error


def test_nobody_there_is_told(server):
  url = server.url
  server.close()
  samples, error = run(endpoint(server, url=url, retries=0), asks(1))
  assert not samples and 'is it running, and is the URL right?' in error


@pytest.mark.parametrize(
  'usage', [None, {'completion_tokens': 999, 'prompt_tokens': 7, 'total_tokens': 0}, {'completion_tokens': 0,
            'prompt_tokens': 7, 'total_tokens': 7}, {'completion_tokens': 3, 'prompt_tokens': -1, 'total_tokens': 2},
            {'completion_tokens': 4, 'prompt_tokens': 10**400, 'total_tokens': 0}]
)  # fmt: skip
def test_samples_whose_tokens_are_not_known_are_kept_and_nothing_more_is_asked(server, usage):
  server.tricks = [lambda reply: reply | {'usage': usage}] * 9
  samples, error = run(endpoint(server, concurrency=1), asks(5))
  assert [len(s.tokens) for s in samples] == [8] and len(server.asked) == 1
  assert 'charged as if they were as long' in error and 'config.endpoints.pro.tokenizer' in error
  samples, error = run(endpoint(server, concurrency=1, encode=lambda text, end: text.split()), asks(2))
  assert [len(s.tokens) for s in samples] == [3, 3] and not error


def test_a_server_that_counts_one_of_several_samples_is_not_believed(server):
  def short(reply):
    choices = [c | {'finish_reason': 'length'} for c in reply['choices']]
    return reply | {'choices': choices, 'usage': {'prompt_tokens': 7, 'completion_tokens': 8, 'total_tokens': 15}}

  server.tricks = [short]
  samples, error = run(endpoint(server), asks(1, n=2))
  assert [len(s.tokens) for s in samples] == [8, 8] and 'says that 8 tokens were drawn' in error


def test_a_reply_with_fewer_samples_is_kept_and_the_others_are_asked_again(server):
  server.tricks = [lambda reply: reply | {'choices': reply['choices'][:1]}]
  samples, error = run(endpoint(server), asks(1, n=3))
  assert [s.index for s in samples] == [0, 1, 2] and not error
  assert [body['n'] for body in server.asked] == [3, 2]


def test_an_empty_reply_and_a_cut_one_are_samples(server):
  end = {'index': 0, 'text': '', 'finish_reason': 'length', 'logprobs': None}
  server.tricks = [lambda reply: reply | {'choices': [end]}]
  (sample,), _ = run(endpoint(server), asks(1))
  assert (sample.text, len(sample.tokens), sample.finish) == ('', 4, 'length')


def test_a_limit_counts_what_is_on_its_way_as_if_it_were_as_long_as_it_may_be(server):
  server.seconds = 0.05
  # A request may cost 0.1 * (10 + 100) + 8 = 19 dollars, and costs 0.1 * 7 + 4 = 4.7.
  samples, error = run(endpoint(server, concurrency=8), asks(20), purse(limit=50))
  assert server.most_at_once == 2
  assert 0 < len(samples) * 4.7 <= 50 - 19 + 4.7 and 'config.endpoints.pro.limit=50 dollars' in error
  samples, error = run(endpoint(server), asks(20), purse(limit=50, spent=40))
  assert not samples and '40 are spent' in error


def test_a_stop_waits_for_what_is_on_its_way(server):
  server.seconds = 0.1
  samples, error = run(endpoint(server, concurrency=2), asks(9), stopped=lambda: len(server.asked) >= 2)
  assert len(samples) == len(server.asked) == 2 and not error


def test_a_chat_is_asked_as_one(server):
  said = {'role': 'assistant', 'content': 'six Q: more', 'refusal': None}
  choice = {'index': 0, 'message': said, 'finish_reason': 'stop'}
  server.tricks = [lambda reply: reply | {'object': 'chat.completion', 'choices': [choice]}]
  (sample,), error = run(endpoint(server, chat=True, stop=('Q:',), top_k=3), asks(1))
  assert sample.text == 'six ' and not error
  (body,) = server.asked
  assert body['messages'] == [{'role': 'user', 'content': 'question 0'}]
  assert (body['top_k'], body['stop']) == (3, ['Q:'])


def test_the_key_stands_in_nothing_that_is_shown(server):
  assert KEY not in repr(endpoint(server))
