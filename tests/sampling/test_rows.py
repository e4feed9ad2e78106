"""Rows of samples in the forms that servers and tools write them."""

from __future__ import annotations

import pytest

from sweb_jax.records import UNKNOWN
from sweb_jax.sampling.rows import Fields, RowError, share_out

COUNTS = 'counts that do not fit'
VLLM = {
  'request_id': '7',
  'prompt': 'How many?',
  'prompt_token_ids': [2, 5, 6],
  'outputs': [
    {'index': 0, 'text': 'six', 'token_ids': [9, 1], 'cumulative_logprob': -0.5, 'finish_reason': 'stop'},
    {'index': 1, 'text': 'se', 'token_ids': [8], 'cumulative_logprob': -1.5, 'finish_reason': 'length'},
  ],
}
BATCH = {
  'custom_id': 'train/3',
  'response': {
    'body': {
      'choices': [{'index': 0, 'message': {'role': 'assistant', 'content': 'six'}, 'finish_reason': 'stop'}],
      'usage': {'prompt_tokens': 40, 'completion_tokens': 12},
    }
  },
}


def one(row, **own):
  (taken,) = Fields(own).understand(row)
  return taken


def test_a_row_of_vllm_holds_its_outputs_with_their_ids():
  first, second = Fields().understand(VLLM)
  assert (first.problem, first.text, first.tokens) == ('How many?', 'six', (9, 1))
  assert (first.finish, first.logprob) == ('stop', -0.5)
  assert (second.text, second.tokens, second.finish) == ('se', (8,), 'length')
  assert (first.prompt_tokens, first.index, second.index) == (3, None, None)


def test_a_row_of_a_batch_api_holds_choices_and_usage_deep_inside():
  taken = one(BATCH)
  assert (taken.problem_id, taken.text, taken.tokens, taken.prompt_tokens) == ('train/3', 'six', (UNKNOWN,) * 12, 40)


def test_a_row_of_nemo_skills_holds_a_generation_beside_a_solution_by_people():
  row = {'problem': 'How many?', 'solution': 'by people', 'generation': 'six', 'num_generated_tokens': 5}
  assert (one(row).text, len(one(row).tokens)) == ('six', 5)


def test_a_row_of_this_projects_own_store_is_a_row_too():
  row = {'problem_id': 'a', 'index': 3, 'text': 'six', 'tokens': [4, 1], 'finish': 'length', 'logprob': -2.0}
  taken = one(row)
  assert (taken.problem_id, taken.index, taken.text, taken.tokens) == ('a', 3, 'six', (4, 1))
  assert (taken.finish, taken.logprob) == ('length', -2.0)


@pytest.mark.parametrize(('cut', 'finish'), [(True, 'length'), (False, 'stop')])
def test_a_row_of_an_exported_arm_says_whether_it_was_cut(cut, finish):
  row = {'problem_id': 'a', 'index': 3, 'prompt': 'How many?', 'completion': ' six', 'tokens': 2, 'cut': cut}
  (taken,) = Fields().understand(row)
  assert (taken.problem, taken.text, len(taken.tokens), taken.finish) == ('How many?', ' six', 2, finish)


def test_a_conversation_ends_in_the_completion_and_asks_what_the_user_said_last():
  said = [{'role': 'system', 'content': 'Think.'}, {'role': 'user', 'content': 'How many?'}]
  row = {'messages': [*said, {'role': 'assistant', 'content': 'six'}], 'usage': {'completion_tokens': 2}}
  assert (one(row).problem, one(row).text) == ('How many?', 'six')
  assert one({'messages': said, 'response': 'seven', 'num_tokens': 2}).text == 'seven'


def test_lists_run_side_by_side_and_a_count_for_all_is_shared_out():
  row = {'question': 'q', 'responses': ['aa', 'bbbb'], 'completion_tokens': [2, 4], 'sample_index': [5, 7]}
  assert [(t.index, len(t.tokens)) for t in Fields().understand(row)] == [(5, 2), (7, 4)]
  row = {'question': 'q', 'choices': [{'text': 'a'}, {'text': 'a' * 5}], 'usage': {'completion_tokens': 9}}
  assert [len(t.tokens) for t in Fields().understand(row)] == share_out(9, ['a', 'a' * 5]) == [2, 7]
  assert sum(share_out(100, ['', 'x', 'yy'])) == 100


def test_a_mapping_names_the_fields_and_can_say_that_there_is_none():
  row = {'index': 17, 'meta': {'qid': 4}, 'out': {'answer': 'six'}, 'text': 'the question', 'cost': {'n': 3}}
  taken = one(row, completion='out.answer', problem='text', problem_id='meta.qid', tokens='cost.n', index='')
  assert taken.problem_id == '4' and taken.problem == 'the question'
  assert (taken.text, taken.index, len(taken.tokens)) == ('six', None, 3)


def test_a_value_of_another_type_is_something_else():
  row = {'id': [1], 'task_id': 3, 'samples': 8, 'text': 'six', 'sample_id': 'abc', 'num_tokens': 1}
  assert (one(row).problem_id, one(row).text, one(row).index) == ('3', 'six', None)


def test_an_empty_completion_is_a_sample():
  taken = one({'id': 'a', 'choices': [{'message': {'content': None}}], 'usage': {'completion_tokens': 6}})
  assert (taken.text, len(taken.tokens)) == ('', 6)


@pytest.mark.parametrize(
  ('row', 'kind', 'words'),
  [
    ({'id': 'a', 'score': 1}, 'no completion', "'id', 'score'"),
    ({'id': 'a', 'responses': []}, 'no completion', 'is empty'),
    ({'id': 'a', 'responses': [3]}, 'no completion', '3, not a text'),
    ({'id': 'a', 'responses': [{'score': 3}]}, 'no completion', "'score', and no text"),
    ({'id': 'a', 'response': 'x', 'num_tokens': -1}, COUNTS, '-1 is no number of tokens'),
    ({'id': 'a', 'response': 'x', 'num_tokens': 1.5}, COUNTS, '1.5 is no number of tokens'),
    ({'id': 'a', 'response': 'x' * 999, 'num_tokens': 2}, COUNTS, '999 characters cannot have 2 tokens'),
    ({'id': 'a', 'responses': ['x', 'y'], 'num_tokens': [1]}, COUNTS, '2 completions, and num_tokens has 1'),
    ({'id': 'a', 'response': 'x', 'sample_index': -4}, 'index', '-4'),
    ({'id': 'a', 'response': 'x', 'prompt_tokens': 'many'}, COUNTS, "'many' is no number of tokens of a"),
  ],
)
def test_a_row_that_cannot_be_used_says_why(row, kind, words):
  with pytest.raises(RowError) as e:
    Fields().understand(row)
  assert e.value.kind == kind and words in str(e.value)
