"""FLOPs by shape: worked by hand, against XLA's own count of the compiled program, and published parameter counts."""

import jax
import jax.numpy as jnp
import pytest

from sweb_jax.budget.flops import draw_flops, read_flops
from sweb_jax.models.cached_attention import Segment, attention, cached
from sweb_jax.models.gemma import transformer
from sweb_jax.models.gemma.config import SIZES, ModelConfig

# By hand: a layer has 2 * 3 * (2 * 2 + 2 * 1) = 36 attention weights and 3 * 2 * 5 = 30 others; the output layer 14.
SMALL = ModelConfig(7, 2, 5, 2, 2, 1, 3 + 1, pattern=('local', 'global'), window=2)
LAYER = 2 * (2 * 4 * (2 * 2 + 2 * 1) + 3 * 2 * 5)
KEY = 4 * 2 * 4  # Scores and weighted values of one key: 2 heads of 4.


def test_a_prompt_costs_its_matrices_and_the_keys_each_token_sees():
  # Positions 0..3 see 1, 2, 3, 4 keys, in the local layer 1, 2, 2, 2.
  assert read_flops(SMALL, 0, 4) == 4 * 2 * LAYER + KEY * ((1 + 2 + 3 + 4) + (1 + 2 + 2 + 2))
  assert read_flops(SMALL, 2, 2) == 2 * 2 * LAYER + KEY * ((3 + 4) + (2 + 2))
  assert read_flops(SMALL, 3, 0) == 0


def test_a_prompt_read_in_two_parts_costs_what_it_costs_at_once():
  assert read_flops(SMALL, 0, 9) == read_flops(SMALL, 0, 4) + read_flops(SMALL, 4, 5)


def test_a_drawn_token_is_one_step_with_the_output_layer():
  # After a text of 4 the last of them is fed: it sees 4 keys, 2 in the local layer.
  assert draw_flops(SMALL, 4, 1) == 2 * LAYER + KEY * (4 + 2) + 2 * 7 * 2
  assert draw_flops(SMALL, 4, 3) == draw_flops(SMALL, 4, 1) + draw_flops(SMALL, 5, 1) + draw_flops(SMALL, 6, 1)


def counted(function, *args) -> float:
  analysis = jax.jit(function).lower(*args).compile().cost_analysis()
  return (analysis[0] if isinstance(analysis, list) else analysis)['flops']


# Wide enough that the matrices outweigh what is left out.
WIDE = ModelConfig(512, 256, 1024, 2, 4, 2, 64, pattern=('local', 'global'), window=64)


@pytest.mark.parametrize(
  'config', [WIDE, ModelConfig(512, 256, 1024, 2, 4, 4, 64, qk_norm=True, post_norms=False)], ids=['grouped', 'fused']
)
def test_the_forward_pass_is_within_5_percent_of_xlas_count(config):
  length = 16
  params = transformer.shapes(config)
  tokens = jax.ShapeDtypeStruct((1, length), jnp.int32)
  xla = counted(lambda p, t: transformer.forward(p, config, t), params, tokens)
  ours = read_flops(config, 0, length) + length * 2 * config.embedding_parameters
  assert ours == pytest.approx(xla, rel=0.05)


def test_attention_is_within_5_percent_of_xlas_count():
  """The difference between two lengths of keys, all of them seen: what one more key costs."""
  config = ModelConfig(64, 64, 64, 1, 8, 4, 64)
  rows = 8

  def step(keys):
    def attend(q, k, v):
      return attention(q, [Segment((k, v), jnp.ones((1, 1, keys), bool))], 4, None)

    shape = jax.ShapeDtypeStruct
    kv = shape((rows, 4, 64, keys), jnp.float32), shape((rows, 4, keys, 64), jnp.float32)
    return counted(attend, shape((rows, 1, 8, 64), jnp.float32), *kv)

  xla = step(512) - step(256)
  ours = rows * (draw_flops(config, 512, 1) - draw_flops(config, 256, 1))
  assert ours == pytest.approx(xla, rel=0.05)


def test_a_decode_step_is_within_5_percent_of_xlas_count():
  """One token a row after 64 that are cached, all of which its layers see."""
  config, rows, keys = WIDE, 8, 63
  layer = jax.ShapeDtypeStruct((rows, 2, 64, keys), jnp.float32), jax.ShapeDtypeStruct((rows, 2, keys, 64), jnp.float32)

  def step(params, tokens, cache):
    def attend(i, q, k, v):
      everything, own = jnp.ones((1, 1, keys), bool), jnp.ones((1, 1, 1), bool)
      segments = [Segment(cache[i], everything), Segment(cached(k, v), own)]
      return attention(q, segments, 2, None)

    x = transformer.run_blocks(params, config, tokens, jnp.full((rows, 1), keys), attend, inference=True)
    return transformer.logits(params, config, x[:, 0])

  tokens = jax.ShapeDtypeStruct((rows, 1), jnp.int32)
  xla = counted(step, transformer.shapes(config), tokens, [layer] * config.layers)
  assert rows * draw_flops(config, keys + 1, 1) == pytest.approx(xla, rel=0.05)


# Millions, without and with the (tied) embedding: reports arXiv 2403.08295 (table 2), 2408.00118 (table 2) and
# 2503.19786 (table 1, where 27B counts no vision encoder).
PUBLISHED = {
  'gemma_2b': (1_982, 525),
  'gemma_7b': (7_751, 787),
  'gemma2_2b': (2_024, 590),
  'gemma2_9b': (8_324, 918),
  'gemma2_27b': (26_047, 1_180),
  'gemma3_1b': (698, 302),
  'gemma3_4b': (3_209, 675),
  'gemma3_12b': (10_759, 1_012),
  'gemma3_27b': (25_600, 1_416),
}


@pytest.mark.parametrize('name', PUBLISHED)
def test_parameters_are_those_published(name):
  config, (others, embedding) = SIZES[name], PUBLISHED[name]
  # Published without the last 128 rows, which pad Gemma 1's and 2's table.
  assert config.embedding_parameters / 1e6 == pytest.approx(embedding, rel=0.006)
  assert (config.parameters - config.embedding_parameters) / 1e6 == pytest.approx(others, rel=0.004)


def test_parameters_are_exact():
  assert SIZES['gemma2_27b'].parameters - 128 * 4608 == 27_227_128_320
  assert SIZES['gemma2_9b'].parameters - 128 * 3584 == 9_241_705_984
  assert SIZES['gemma2_2b'].parameters - 128 * 2304 == 2_614_341_888
  assert SIZES['gemma3_1b'].parameters == 999_885_952
  assert SIZES['gemma3_270m'].parameters == 268_098_176
