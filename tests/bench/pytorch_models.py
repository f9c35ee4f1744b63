"""Both models in PyTorch for pytorch_peer.py: as the reproduction study states them, and in the fastest form we know.

What they compute stands in src/ops.h. Shapes: B sequences, T tokens, D model width, r reduced width, V vocabulary.
"""

import torch
import torch.nn as nn
import torch.nn.functional as F

DIM, FF, HEADS, REDUCED, DROPOUT = 256, 1024, 4, 32, 0.1
WINDOWS = (1, 2, 4, 8, 12, 16)
LOW = torch.bfloat16  # precision of products
PAIRS = torch.triu_indices(REDUCED, REDUCED, 1)


def linear(x, layer):
    """The product in the precision of the weight: bf16 copies, or whatever autocast makes of fp32."""
    return F.linear(x.to(layer.weight.dtype), layer.weight, layer.bias)


def plucker_place(device):
    """[r, r] place of the coordinate of (i, j) and its sign: of j before i negative, 0 on the diagonal."""
    i, j = PAIRS.to(device)
    place = torch.zeros(REDUCED, REDUCED, dtype=torch.long, device=device)
    place[i, j] = place[j, i] = torch.arange(PAIRS.shape[1], device=device)
    return place, torch.ones_like(place).triu(1) - torch.ones_like(place).tril(-1)


class Plucker(torch.autograd.Function):
    """u, w [..., r] -> u_i w_j - u_j w_i, i < j. Indexing would be undone by atomics; this gathers both ways."""

    @staticmethod
    def forward(ctx, u, w, i, j, place, sign):
        ctx.save_for_backward(u, w, place, sign)
        return (u[..., i] * w[..., j] - u[..., j] * w[..., i]).to(LOW)

    @staticmethod
    def backward(ctx, dp):
        u, w, place, sign = ctx.saved_tensors
        P = dp.float()[..., place] * sign
        return (P * w.unsqueeze(-2)).sum(-1), (-P * u.unsqueeze(-2)).sum(-1), None, None, None, None


class Grassmann(nn.Module):
    def __init__(self, one_wedge):
        super().__init__()
        self.one_wedge = one_wedge
        self.W_red = nn.Linear(DIM, REDUCED)
        self.W_plu = nn.Linear(REDUCED * (REDUCED - 1) // 2, DIM)
        self.W_gate = nn.Linear(2 * DIM, DIM)
        self.layer_norm = nn.LayerNorm(DIM)
        names = ("pair_i", "pair_j", "place", "sign")
        for name, value in zip(names, (*PAIRS, *plucker_place("cpu"))):
            self.register_buffer(name, value.clone(), persistent=False)

    def windows_one_by_one(self, z, h):
        total, count = torch.zeros_like(h), torch.zeros_like(h[..., :1])
        for d in WINDOWS:
            if d >= z.shape[1]:
                continue
            u, v = z[:, d:], z[:, :-d]
            p = u[..., self.pair_i] * v[..., self.pair_j] - u[..., self.pair_j] * v[..., self.pair_i]
            p = p / p.norm(dim=-1, keepdim=True).clamp(min=1e-8)
            total[:, d:] = total[:, d:] + self.W_plu(p).to(total.dtype)
            count[:, d:] += 1
        return total / count.clamp(min=1)

    def wedge_once(self, z):
        """z_t ^ mean of v_d / |z_t ^ v_d|. Where t < d the shifted v is zero and adds nothing."""
        u, T = z.float(), z.shape[1]
        t = torch.arange(T, device=z.device)
        n = sum((t >= d).to(u.dtype) for d in WINDOWS)
        uu = (u * u).sum(-1, keepdim=True).clamp(min=1e-30)
        w = torch.zeros_like(u)
        for d in WINDOWS:
            if d < T:
                v = F.pad(u, (0, 0, d, 0))[:, :T]
                residual = v - (u * v).sum(-1, keepdim=True) / uu * u
                square = uu * (residual * residual).sum(-1, keepdim=True)
                w = w + v * torch.rsqrt(square.clamp(min=1e-16))
        w = w / n.clamp(min=1)[:, None]
        p = Plucker.apply(u, w, self.pair_i, self.pair_j, self.place, self.sign)
        return linear(p, self.W_plu) * (t > 0)[:, None]

    def forward(self, h):
        z = linear(h, self.W_red)
        g = self.wedge_once(z) if self.one_wedge else self.windows_one_by_one(z, h)
        alpha = torch.sigmoid(linear(torch.cat([h.to(g.dtype), g], -1), self.W_gate).float())
        mixed = alpha * h + (1 - alpha) * g
        return F.dropout(self.layer_norm(mixed), DROPOUT, self.training)


class Attention(nn.Module):
    def __init__(self):
        super().__init__()
        self.qkv_proj = nn.Linear(DIM, 3 * DIM)
        self.out_proj = nn.Linear(DIM, DIM)

    def forward(self, h):
        B, T, D = h.shape
        q, k, v = linear(h, self.qkv_proj).view(B, T, 3, HEADS, D // HEADS).permute(2, 0, 3, 1, 4)
        y = F.scaled_dot_product_attention(q, k, v, is_causal=True)
        y = linear(y.transpose(1, 2).reshape(B, T, D), self.out_proj)
        return F.dropout(y, DROPOUT, self.training)


class Block(nn.Module):
    def __init__(self, kind, one_wedge):
        super().__init__()
        self.ln1, self.ln2 = nn.LayerNorm(DIM), nn.LayerNorm(DIM)
        self.mixer = Grassmann(one_wedge) if kind == "grassmann" else Attention()
        self.W1, self.W2 = nn.Linear(DIM, FF), nn.Linear(FF, DIM)

    def forward(self, x):
        x = x + self.mixer(self.ln1(x))
        a = F.dropout(F.gelu(linear(self.ln2(x), self.W1)), DROPOUT, self.training)
        return x + F.dropout(linear(a, self.W2), DROPOUT, self.training)


class LanguageModel(nn.Module):
    """The head is a parameter of its own so that it may be the bf16 copy of the embedding it is tied to."""

    def __init__(self, kind, length, layers, vocabulary, one_wedge):
        super().__init__()
        self.tokens, self.positions = nn.Embedding(vocabulary, DIM), nn.Embedding(length, DIM)
        self.blocks = nn.ModuleList(Block(kind, one_wedge) for _ in range(layers))
        self.ln_f = nn.LayerNorm(DIM)
        self.head = nn.Linear(DIM, vocabulary, bias=False)
        for m in self.modules():
            if isinstance(m, (nn.Linear, nn.Embedding)):
                nn.init.normal_(m.weight, std=0.02)
            if isinstance(m, nn.Linear) and m.bias is not None:
                nn.init.zeros_(m.bias)
        self.head.weight = self.tokens.weight

    def loss_from(self, embedded, targets):
        """embedded [B, T, D]: tokens looked up; targets [B, T]: ids one ahead, -100 at the last of a sequence."""
        x = F.dropout(embedded + self.positions.weight[:embedded.shape[1]], DROPOUT, self.training)
        for block in self.blocks:
            x = block(x)
        logits = linear(self.ln_f(x), self.head).flatten(0, 1).float()
        total = F.cross_entropy(logits, targets.flatten(), ignore_index=-100, reduction="sum")
        return total / (targets.shape[0] * (targets.shape[1] - 1))

    def loss(self, ids, targets):
        return self.loss_from(self.tokens(ids), targets)
