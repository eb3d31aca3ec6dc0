"""Products by oneDNN equal those of torch for every shape and block of a tower."""

from __future__ import annotations

import pytest

from search.embedders.openclip import OpenClip
from search.embedders.packed import Linear, SelfAttention, pack
from search.runtime import torch

nn = torch.nn
pytestmark = pytest.mark.skipif(
    not torch.backends.mkldnn.is_available(), reason="this torch has no oneDNN"
)


@pytest.mark.parametrize("shape", [(1, 24), (5, 7, 24), (2, 3, 4, 24)])
@pytest.mark.parametrize("bias", [True, False])
def test_a_product_is_torchs(shape: tuple[int, ...], bias: bool) -> None:
    torch.manual_seed(0)
    plain = nn.Linear(24, 40, bias)
    ours = Linear(plain.weight, plain.bias)
    with torch.inference_mode():
        for x in (torch.randn(shape), torch.randn(shape[::-1]).permute(*range(len(shape))[::-1])):
            torch.testing.assert_close(ours(x), plain(x), atol=1e-5, rtol=0)
    assert torch.equal(ours.weight, plain.weight)
    assert ours.bias is None if plain.bias is None else torch.equal(ours.bias, plain.bias)


@pytest.mark.parametrize("masked", [False, True])
def test_attention_is_torchs(masked: bool) -> None:
    torch.manual_seed(0)
    plain = nn.MultiheadAttention(48, 3, batch_first=True).eval()
    mask = torch.randn(6, 6) if masked else None
    x = torch.randn(2, 6, 48)
    with torch.inference_mode():
        expected, _ = plain(x, x, x, need_weights=False, attn_mask=mask)
        actual, _ = SelfAttention(plain)(x, x, x, need_weights=False, attn_mask=mask)
    torch.testing.assert_close(actual, expected, atol=1e-5, rtol=0)


def test_every_block_of_a_tower_has_them(clip: str) -> None:
    tower = OpenClip(clip).load().visual
    kinds = [type(m) for m in tower.modules()]
    assert nn.Linear not in kinds and nn.MultiheadAttention not in kinds
    assert kinds.count(Linear) == 4 * kinds.count(SelfAttention) > 0


def test_what_looks_elsewhere_or_is_not_float32_stays() -> None:
    class Pooler(nn.Module):
        """Attention of one sequence to another."""

        def __init__(self) -> None:
            super().__init__()
            self.attn = nn.MultiheadAttention(8, 2, batch_first=True)
            self.low = nn.Linear(8, 8).half()

    pooler = Pooler()
    pack(pooler)
    assert type(pooler.attn) is nn.MultiheadAttention and type(pooler.low) is nn.Linear
