"""Variable-length attention for vision windows and packed samples, as an attention implementation of transformers.

Qwen2.5-VL's vision tower attends within windows of 64 patches: transformers calls SDPA once for every window, 800 times
a layer for six frames of 728x1288. With flash attention it hands over all windows at once, by their cumulative lengths;
under the name registered here that goes to torch's own kernel (`torch.nn.attention.varlen`), so that no other package
is needed. Where the kernel does not run (CPU, float32, old torch), windows of one length are one batch of SDPA.

The language model is given no mask: samples that are packed into one row are kept apart by their positions, which
start again at 0. Rows with padding fall back to SDPA with a mask.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch.nn.functional import scaled_dot_product_attention
from transformers import AttentionInterface, PreTrainedModel
from transformers.integrations.sdpa_attention import sdpa_attention_forward
from transformers.masking_utils import AttentionMaskInterface, sdpa_mask

try:
    from torch.nn.attention.varlen import varlen_attn
except ImportError:  # torch before 2.10
    varlen_attn = None  # type: ignore[assignment]

__all__ = ["VARLEN", "attention", "kernel_runs", "segments_attention", "use_attention"]

VARLEN = "deeptrace_flash_varlen"
"""Its name; "flash" in it makes the vision towers of transformers hand over all windows at once."""


@contextmanager
def attention(model: PreTrainedModel, name: str) -> Iterator[None]:
    """Within the block the model attends with `name`, afterwards with what it had; generation wants "sdpa"."""
    before = str(model.config._attn_implementation)
    use_attention(model, name)
    try:
        yield
    finally:
        use_attention(model, before)


def use_attention(model: PreTrainedModel, name: str) -> None:
    """Make the model attend with `VARLEN`, or with one of transformers' own implementations."""
    if name != VARLEN:
        model.set_attn_implementation(name)
        return
    AttentionInterface.register(VARLEN, _attention)
    AttentionMaskInterface.register(VARLEN, _mask)
    # transformers' own setter looks for a package or a kernel on the hub behind every name with "flash" in it
    model.config._attn_implementation = VARLEN


def kernel_runs(query: torch.Tensor) -> bool:
    """Whether torch's variable-length kernel takes these: on a GPU, in half precision, head size a multiple of 8."""
    half = query.dtype in (torch.bfloat16, torch.float16)
    return varlen_attn is not None and query.is_cuda and half and query.shape[-1] % 8 == 0 and query.shape[-1] <= 256


def segments_attention(
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    bounds: torch.Tensor,
    *,
    causal: bool,
    scale: float | None = None,
    longest: int | None = None,
) -> torch.Tensor:
    """Attention within segments of one row, none across.

    Args:
        query: (L, heads, D).
        key, value: (L, heads or fewer, D).
        bounds: (segments + 1,) int, from 0 to L.
        causal: each position sees none after it.
        scale: of the scores; 1 / sqrt(D) by default.
        longest: length of the longest segment, where it is known already.

    Returns:
        (L, heads, D).
    """
    if groups := query.shape[1] // key.shape[1] - 1:
        key, value = (part.repeat_interleave(groups + 1, dim=1) for part in (key, value))
    if kernel_runs(query):
        most = longest if longest is not None else int(bounds.diff().max())
        return _kernel(query, key, value, bounds.to(torch.int32), most, causal=causal, scale=scale)
    lengths = bounds.diff().tolist()
    rows = [torch.split(part, lengths) for part in (query, key, value)]
    found: dict[int, torch.Tensor] = {}
    for length in sorted(set(lengths)):  # segments of one length are one batch
        which = [k for k, own in enumerate(lengths) if own == length]
        q, k, v = (torch.stack([part[place] for place in which]).transpose(1, 2) for part in rows)
        out = scaled_dot_product_attention(q, k, v, is_causal=causal, scale=scale).transpose(1, 2)
        found |= dict(zip(which, out.unbind(0), strict=True))
    return torch.cat([found[k] for k in range(len(lengths))])


def _kernel(
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    bounds: torch.Tensor,
    longest: int,
    *,
    causal: bool,
    scale: float | None,
) -> torch.Tensor:
    window = (-1, 0) if causal else (-1, -1)
    found: Any = varlen_attn(query, key, value, bounds, bounds, longest, longest, scale=scale, window_size=window)
    return torch.as_tensor(found)


def _attention(
    module: torch.nn.Module,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: torch.Tensor | None,
    dropout: float = 0.0,
    scaling: float | None = None,
    **kwargs: Any,
) -> tuple[torch.Tensor, None]:
    """One attention layer of transformers: query (B, heads, L, D), the result (B, L, heads, D)."""
    bounds = kwargs.pop("cu_seq_lens_q", None)
    longest = kwargs.pop("max_length_q", None)
    if bounds is not None:  # a vision tower: all windows or frames in one row
        q, k, v = (part[0].transpose(0, 1) for part in (query, key, value))
        return segments_attention(q, k, v, bounds, causal=False, scale=scaling, longest=longest)[None], None
    length = query.shape[2]
    positions = kwargs.get("position_ids")
    whole = attention_mask is None and query.shape[0] == 1 and length == key.shape[2]
    if whole and positions is not None and positions.shape[-1] == length and getattr(module, "is_causal", False):
        starts = torch.nonzero(positions.reshape(-1) == 0).flatten()
        bounds = torch.nn.functional.pad(starts, (0, 1), value=length)
        q, k, v = (part[0].transpose(0, 1) for part in (query, key, value))
        return segments_attention(q, k, v, bounds, causal=True, scale=scaling)[None], None
    out, _ = sdpa_attention_forward(module, query, key, value, attention_mask, dropout, scaling, **kwargs)
    return out, None


def _mask(*args: Any, attention_mask: torch.Tensor | None = None, **kwargs: Any) -> torch.Tensor | None:
    """No mask for full or packed rows; for rows with padding the one that SDPA takes."""
    if attention_mask is None:
        return None
    make: Any = sdpa_mask
    mask: torch.Tensor | None = make(*args, attention_mask=attention_mask, **kwargs)
    return mask
