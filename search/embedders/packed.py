"""Matrix products of a network by oneDNN on a CPU: there a third quicker than torch's usual ones.

Only for inference. The arithmetic is the same, float32; results differ by its rounding.
"""

from __future__ import annotations

from typing import Any

from search.runtime import torch

nn = torch.nn


class Linear(nn.Module):
    """nn.Linear, (..., a) -> (..., b); `weight` and `bias` are copies for who looks at them."""

    def __init__(self, weight: torch.Tensor, bias: torch.Tensor | None) -> None:
        super().__init__()
        self._weight = weight.detach().to_mkldnn()
        self._bias = None if bias is None else bias.detach().to_mkldnn()

    @property
    def weight(self) -> torch.Tensor:
        return self._weight.to_dense()

    @property
    def bias(self) -> torch.Tensor | None:
        return None if self._bias is None else self._bias.to_dense()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        packed = x.contiguous().to_mkldnn()
        product: Any = torch._C._nn.mkldnn_linear(packed, self._weight, self._bias)
        y: torch.Tensor = product.to_dense()
        return y


class SelfAttention(nn.Module):
    """nn.MultiheadAttention, batch first, of a sequence with itself: (n, L, D) -> (n, L, D)."""

    def __init__(self, original: nn.MultiheadAttention) -> None:
        super().__init__()
        self._heads = original.num_heads
        self._inside = Linear(original.in_proj_weight, original.in_proj_bias)
        self._outside = Linear(original.out_proj.weight, original.out_proj.bias)

    def forward(
        self, x: torch.Tensor, *_: object, attn_mask: torch.Tensor | None = None, **__: object
    ) -> tuple[torch.Tensor, None]:
        n, length, dim = x.shape
        parts = self._inside(x).view(n, length, 3, self._heads, dim // self._heads)
        q, k, v = parts.permute(2, 0, 3, 1, 4)  # each (n, heads, L, D / heads)
        mixed = nn.functional.scaled_dot_product_attention(q, k, v, attn_mask=attn_mask)
        return self._outside(mixed.transpose(1, 2).reshape(n, length, dim)), None


def pack(tower: nn.Module) -> None:
    """Exchange the matrix products in a tower of open_clip that is on the CPU, where oneDNN is."""
    if not torch.backends.mkldnn.is_available():  # type: ignore[no-untyped-call]
        return
    for module in list(tower.modules()):
        for name, child in list(module.named_children()):
            if type(child) is nn.Linear and child.weight.dtype == torch.float32:
                setattr(module, name, Linear(child.weight, child.bias))
            elif type(child) is nn.MultiheadAttention and _attends_to_itself(module, child):
                setattr(module, name, SelfAttention(child))


def _attends_to_itself(block: nn.Module, attention: nn.MultiheadAttention) -> bool:
    """Whether a block is one of open_clip's that looks at nothing but its own sequence."""
    alone = type(block).__name__ == "ResidualAttentionBlock" and not hasattr(block, "ln_1_kv")
    weight, bias = attention.in_proj_weight, attention.in_proj_bias
    plain = weight is not None and weight.dtype == torch.float32 and bias is not None
    return alone and plain and attention.batch_first
