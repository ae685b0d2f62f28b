"""The Transformer (Vaswani et al. 2017, arXiv:1706.03762)."""

from __future__ import annotations

import math
from typing import Any, ClassVar, Literal, NamedTuple, cast

import torch
from torch import Tensor, nn

from lit_nmt.data.batching import Batch
from lit_nmt.models.layers import Dropout, linear, padding_mask
from lit_nmt.models.translation import Step, TranslationModule

Positions = Literal["sinusoidal", "learned", "rotary"]


Rotation = tuple[Tensor, Tensor]
"""Sines and cosines of the angles by which rotary positions turn, each (length, head dim / 2)."""


class LayerCache(NamedTuple):
    """What a decoder layer remembers, each (batch, heads, length, head dim): of the target so far, of the source."""

    keys: Tensor
    values: Tensor
    memory_keys: Tensor
    memory_values: Tensor


class TransformerState(NamedTuple):
    """The decoder's caches, a layer each, and the source mask (batch, source length), True on tokens."""

    layers: tuple[LayerCache, ...]
    source_mask: Tensor


class Transformer(TranslationModule):
    """Attention only: every position sees every other in one step.

    Args:
        vocabulary_size: joint subwords.
        dim: of embeddings and states.
        encoder_layers: of self-attention and feed-forward.
        decoder_layers: of causal self-attention, attention to the source, and feed-forward.
        heads: of each attention; they divide `dim`.
        feed_forward_dim: of the hidden layer between.
        dropout: on embeddings and on each sublayer's output (section 5.4).
        attention_dropout: on attention weights.
        activation_dropout: within the feed-forward layer.
        norm: "post" as published (section 3.1), or "pre" (Xiong et al. 2020, arXiv:2002.04745), which has a last
            normalisation behind each stack.
        positions: "sinusoidal" as published, "learned" (Gehring et al. 2017), or "rotary" (Su et al. 2021,
            arXiv:2104.09864; in self-attention only).
        max_positions: rows of the table of learned positions; longer sentences reuse the last.
        options: of `TranslationModule`: label smoothing, learning rate, schedule.
    """

    title: ClassVar[str] = "Transformer"
    paper: ClassVar[str] = "Vaswani et al. 2017, arXiv:1706.03762"

    def __init__(
        self,
        vocabulary_size: int,
        dim: int = 256,
        encoder_layers: int = 3,
        decoder_layers: int = 3,
        heads: int = 4,
        feed_forward_dim: int = 1024,
        dropout: float = 0.1,
        attention_dropout: float = 0.0,
        activation_dropout: float = 0.0,
        norm: Literal["pre", "post"] = "pre",
        positions: Positions = "sinusoidal",
        max_positions: int = 1024,
        **options: Any,
    ) -> None:
        super().__init__(vocabulary_size, dim, dropout, **options)
        if heads < 1 or dim % heads:
            raise ValueError(f"heads: {heads} found, a divisor of dim ({dim}) expected")
        self.positions = positions
        self.head_dim = dim // heads
        if positions == "learned":
            self.learned_positions = nn.Embedding(max_positions, dim)
            nn.init.normal_(self.learned_positions.weight, std=0.02)
        layer = (dim, heads, feed_forward_dim, dropout, attention_dropout, activation_dropout, norm)
        self.encoder = nn.ModuleList(EncoderLayer(*layer) for _ in range(encoder_layers))
        self.decoder = nn.ModuleList(DecoderLayer(*layer) for _ in range(decoder_layers))
        last = nn.LayerNorm if norm == "pre" else nn.Identity
        self.encoder_norm = last(dim)
        self.decoder_norm = last(dim)

    def place(self, ids: Tensor, start: int = 0) -> Tensor:
        """Embeddings with their positions, the first at `start`: (batch, length) ids to (batch, length, dim)."""
        embedded = self.embedding(ids)
        length = ids.shape[1]
        if self.positions == "sinusoidal":
            embedded = embedded + sinusoids(start, length, embedded.shape[-1], embedded.device)
        elif self.positions == "learned":
            last = self.learned_positions.num_embeddings - 1
            at = torch.arange(start, start + length, device=ids.device).clamp_(max=last)
            embedded = embedded + self.learned_positions(at)
        return self.dropout(embedded)

    def rotation(self, start: int, x: Tensor) -> Rotation | None:
        """How self-attention turns the queries and keys of `x` (batch, length, dim), the first at `start`."""
        if self.positions != "rotary":
            return None
        angle = angles(start, x.shape[1], self.head_dim, x.device)
        return angle.sin(), angle.cos()

    def memory(self, source: Tensor, source_lengths: Tensor) -> tuple[Tensor, Tensor]:
        """The encoder's states (batch, source length, dim) and the source mask (batch, source length)."""
        mask = padding_mask(source_lengths, source.shape[1])
        x = self.place(source)
        rotation = self.rotation(0, x)
        for layer in self.encoder:
            x = layer(x, mask[:, None, None], rotation)
        return self.encoder_norm(x), mask

    def encode(self, source: Tensor, source_lengths: Tensor) -> TransformerState:
        memory, mask = self.memory(source, source_lengths)
        return TransformerState(tuple(cast(DecoderLayer, layer).start(memory) for layer in self.decoder), mask)

    def step(self, previous: Tensor, state: TransformerState) -> Step:
        start = state.layers[0].keys.shape[2]
        x = self.place(previous[:, None], start)
        rotation = self.rotation(start, x)
        caches: list[LayerCache] = []
        for layer, cache in zip(self.decoder, state.layers, strict=True):
            x, cache, attention = cast(DecoderLayer, layer).step(x, cache, state.source_mask[:, None, None], rotation)
            caches.append(cache)
        logits = self.project(self.decoder_norm(x)[:, 0])
        return Step(logits, TransformerState(tuple(caches), state.source_mask), attention.mean(1)[:, 0])

    def decoder_states(self, batch: Batch) -> Tensor:
        memory, mask = self.memory(batch.source, batch.source_lengths)
        length = batch.previous.shape[1]
        causal = torch.ones(length, length, dtype=torch.bool, device=memory.device).tril_()
        x = self.place(batch.previous)
        rotation = self.rotation(0, x)
        for layer in self.decoder:
            x = layer(x, causal, memory, mask[:, None, None], rotation)
        return self.decoder_norm(x)


class Attention(nn.Module):
    """Multi-head scaled dot-product attention (section 3.2), over itself or over a memory.

    Args:
        dim: of queries, keys and values together.
        heads: that share it.
        dropout: on the weights.
    """

    def __init__(self, dim: int, heads: int, dropout: float) -> None:
        super().__init__()
        self.heads = heads
        self.dropout = Dropout(dropout)
        self.query_key_value = linear(dim, 3 * dim)
        # each of the three is a (dim, dim) matrix of its own
        for part in self.query_key_value.weight.data.chunk(3):
            nn.init.xavier_uniform_(part)
        self.output = linear(dim, dim)

    def split(self, x: Tensor) -> Tensor:
        """(batch, length, dim) to (batch, heads, length, head dim)."""
        return x.unflatten(-1, (self.heads, -1)).transpose(1, 2)

    def project(self, x: Tensor, rotation: Rotation | None) -> tuple[Tensor, Tensor, Tensor]:
        """Queries, keys and values of `x`, turned where asked; each (batch, heads, length, head dim)."""
        projected = self.query_key_value(x).unflatten(-1, (3, self.heads, -1))
        if rotation is None:
            query, key, value = (part.transpose(1, 2) for part in projected.unbind(2))
            return query, key, value
        turned, value = projected.split([2, 1], 2)
        sine, cosine = (part.to(turned.dtype) for part in rotation)
        query, key = rotate(turned.transpose(1, 3), sine, cosine).unbind(2)
        return query, key, value[:, :, 0].transpose(1, 2)

    def project_query(self, x: Tensor) -> Tensor:
        """Queries alone (batch, heads, length, head dim)."""
        dim = x.shape[-1]
        layer = self.query_key_value
        return self.split(nn.functional.linear(x, layer.weight[:dim], layer.bias[:dim]))

    def project_memory(self, memory: Tensor) -> tuple[Tensor, Tensor]:
        """Keys and values of a memory, each (batch, heads, source length, head dim)."""
        dim = memory.shape[-1]
        layer = self.query_key_value
        both = nn.functional.linear(memory, layer.weight[dim:], layer.bias[dim:])
        key, value = both.chunk(2, -1)
        return self.split(key), self.split(value)

    def attend(self, query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None) -> tuple[Tensor, Tensor | None]:
        """Equation 1.

        Args:
            query: (batch, heads, length, head dim).
            key: (batch, heads, memory length, head dim).
            value: as `key`.
            mask: True where a query may look, broadcast to (batch, heads, length, memory length).

        Returns:
            (batch, length, dim) and the weights, None where the fused kernel keeps them to itself (never for a
            single query).
        """
        weights = None
        # Measured on CPUs: the fused kernel is the faster in float32, explicit products are in bfloat16, whose fused
        # backward pass is slow.
        if query.shape[2] == 1 or (query.device.type == "cpu" and query.dtype == torch.bfloat16):
            scores = (query * (1 / math.sqrt(query.shape[-1]))) @ key.transpose(-1, -2)
            if mask is not None:
                scores = scores.masked_fill(~mask, -math.inf)
            weights = scores.softmax(-1)
            mixed = self.dropout(weights) @ value
        else:
            rate = self.dropout.rate if self.training else 0.0
            mixed = nn.functional.scaled_dot_product_attention(query, key, value, mask, rate)
        return self.output(mixed.transpose(1, 2).flatten(2)), weights


class Sublayer(nn.Module):
    """The residual connection and normalisation around a sublayer (section 5.4)."""

    def __init__(self, dim: int, dropout: float, norm: str) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(dim)
        self.dropout = Dropout(dropout)
        self.pre = norm == "pre"

    def before(self, x: Tensor) -> Tensor:
        """What the sublayer reads."""
        return self.norm(x) if self.pre else x

    def after(self, x: Tensor, y: Tensor) -> Tensor:
        """The sublayer's output `y` added to its input `x`."""
        x = x + self.dropout(y)
        return x if self.pre else self.norm(x)


class FeedForward(nn.Sequential):
    """Two linear layers with a ReLU between (section 3.3)."""

    def __init__(self, dim: int, hidden: int, dropout: float) -> None:
        super().__init__(linear(dim, hidden), nn.ReLU(inplace=True), Dropout(dropout), linear(hidden, dim))


class EncoderLayer(nn.Module):
    """Self-attention and feed-forward; the arguments are those of `Transformer`."""

    def __init__(
        self,
        dim: int,
        heads: int,
        feed_forward_dim: int,
        dropout: float,
        attention_dropout: float,
        activation_dropout: float,
        norm: str,
    ) -> None:
        super().__init__()
        self.attention = Attention(dim, heads, attention_dropout)
        self.around_attention = Sublayer(dim, dropout, norm)
        self.feed_forward = FeedForward(dim, feed_forward_dim, activation_dropout)
        self.around_feed_forward = Sublayer(dim, dropout, norm)

    def forward(self, x: Tensor, mask: Tensor, rotation: Rotation | None) -> Tensor:
        """(batch, length, dim) to the same."""
        query, key, value = self.attention.project(self.around_attention.before(x), rotation)
        x = self.around_attention.after(x, self.attention.attend(query, key, value, mask)[0])
        return self.around_feed_forward.after(x, self.feed_forward(self.around_feed_forward.before(x)))


class DecoderLayer(EncoderLayer):
    """Causal self-attention, attention to the source, and feed-forward."""

    def __init__(
        self,
        dim: int,
        heads: int,
        feed_forward_dim: int,
        dropout: float,
        attention_dropout: float,
        activation_dropout: float,
        norm: str,
    ) -> None:
        super().__init__(dim, heads, feed_forward_dim, dropout, attention_dropout, activation_dropout, norm)
        self.source_attention = Attention(dim, heads, attention_dropout)
        self.around_source_attention = Sublayer(dim, dropout, norm)

    def forward(  # type: ignore[override]
        self, x: Tensor, causal: Tensor, memory: Tensor, mask: Tensor, rotation: Rotation | None
    ) -> Tensor:
        """(batch, length, dim) to the same, teacher-forced."""
        query, key, value = self.attention.project(self.around_attention.before(x), rotation)
        x = self.around_attention.after(x, self.attention.attend(query, key, value, causal)[0])
        return self.finish(x, *self.source_attention.project_memory(memory), mask)[0]

    def start(self, memory: Tensor) -> LayerCache:
        """An empty cache for this source."""
        # in the order in which every step reads them, so that none has to copy them
        key, value = (part.contiguous() for part in self.source_attention.project_memory(memory))
        empty = key[:, :, :0]
        return LayerCache(empty, empty, key, value)

    def step(
        self, x: Tensor, cache: LayerCache, mask: Tensor, rotation: Rotation | None
    ) -> tuple[Tensor, LayerCache, Tensor]:
        """One position (batch, 1, dim): its output, the longer cache, attention (batch, heads, 1, source length)."""
        query, key, value = self.attention.project(self.around_attention.before(x), rotation)
        key = torch.cat([cache.keys, key], 2)
        value = torch.cat([cache.values, value], 2)
        x = self.around_attention.after(x, self.attention.attend(query, key, value, None)[0])
        x, weights = self.finish(x, cache.memory_keys, cache.memory_values, mask)
        assert weights is not None
        return x, cache._replace(keys=key, values=value), weights

    def finish(self, x: Tensor, key: Tensor, value: Tensor, mask: Tensor) -> tuple[Tensor, Tensor | None]:
        """Attention to the source, then feed-forward."""
        query = self.source_attention.project_query(self.around_source_attention.before(x))
        mixed, weights = self.source_attention.attend(query, key, value, mask)
        x = self.around_source_attention.after(x, mixed)
        return self.around_feed_forward.after(x, self.feed_forward(self.around_feed_forward.before(x))), weights


def angles(start: int, length: int, dim: int, device: torch.device) -> Tensor:
    """Position times frequency, (length, dim / 2): frequencies fall geometrically from 1 to 1/10,000 (section 3.5)."""
    position = torch.arange(start, start + length, device=device, dtype=torch.float32)
    frequency = torch.exp(torch.arange(0, dim, 2, device=device, dtype=torch.float32) * (-math.log(10_000) / dim))
    return position[:, None] * frequency


def sinusoids(start: int, length: int, dim: int, device: torch.device) -> Tensor:
    """The published position encoding, (length, dim), sines in even and cosines in odd places (section 3.5)."""
    angle = angles(start, length, dim, device)
    return torch.stack([angle.sin(), angle.cos()], -1).flatten(1)


def rotate(x: Tensor, sine: Tensor, cosine: Tensor) -> Tensor:
    """Turns pairs in `x` (..., length, dim) by their position's angles (Su et al. 2021, eq. 34).

    Entry i is paired with entry i + dim / 2, not with its neighbour: the same up to the order of the dimensions,
    which is the projection's to choose, and both halves are read in one piece.

    Args:
        x: queries or keys.
        sine: of the angles, (length, dim / 2).
        cosine: likewise.
    """
    first, second = x.chunk(2, -1)
    return torch.cat([first * cosine - second * sine, first * sine + second * cosine], -1)
