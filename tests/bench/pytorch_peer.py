#!/usr/bin/env python3
"""Training and evaluation of both models in PyTorch on one GPU, timed: what bench_gpu.cc stands beside.

    pytorch_peer.py --shape grassmann,128,6,32 --shape transformer,256,12,16 [--variant best]

Variants, both with dropout on, the gradient clipped at norm 1 and fp32 master weights:
  study  the reproduction study's loop: Grassmann mixing window by window, torch.compile, autocast, GradScaler,
         AdamW, the loss read after every step
  best   the fastest we know how to make PyTorch without kernels of our own: one wedge a token with a backward
         pass that only gathers, torch.compile, the vocabulary padded to 30,528, the whole step in one CUDA
         graph, no data loading at all. --weights says where the bf16 weights come from:
           flat      masters, moments and gradients each one array; a single compiled kernel clips, updates
                     and writes the bf16 copy that the next step multiplies with
           autocast  casts inside the compiled graph, fused AdamW, which takes the clip as its gradient scale
         --attention and --mode (of torch.compile) are open too; --search times every combination and
         reports the fastest. Cutting the head into chunks saves memory but no time here (each chunk reads and
         writes the gradient of the embedding again), and the residual stream stays fp32 as autocast keeps it.
Prints one JSON line a case. Times are medians of rounds; evaluation is forward and loss without gradients.
"""

import argparse
import contextlib
import gc
import itertools
import json
import math
import sys
import time

import torch
import torch.nn as nn
import torch.nn.functional as F

from pytorch_models import LOW, LanguageModel

VOCABULARY, PADDED_VOCABULARY = 30522, 30528
LR, BETA1, BETA2, EPS, DECAY, CLIP = 6e-4, 0.9, 0.999, 1e-8, 0.01, 1.0


def random_batch(length, batch, device):
    ids = torch.randint(0, VOCABULARY, (batch, length), device=device)
    return ids, F.pad(ids[:, 1:], (0, 1), value=-100)


# ---- The study's loop ------------------------------------------------------------------------------


class Study:
    """Step and evaluation as the study runs them: each ends with the loss on the host."""

    def __init__(self, args, kind, length, layers, batch):
        self.device = args.device
        self.model = LanguageModel(kind, length, layers, VOCABULARY, one_wedge=False).to(args.device)
        self.ids, self.targets = random_batch(length, batch, args.device)
        self.loss_of = torch.compile(self.model.loss, backend=args.backend)
        self.optimizer = torch.optim.AdamW(self.model.parameters(), lr=LR, weight_decay=DECAY)
        self.scaler = torch.amp.GradScaler(args.device)

    def step(self):
        self.optimizer.zero_grad()
        with torch.autocast(self.device, LOW):
            loss = self.loss_of(self.ids, self.targets)
        self.scaler.scale(loss).backward()
        self.scaler.unscale_(self.optimizer)
        nn.utils.clip_grad_norm_(self.model.parameters(), CLIP)
        self.scaler.step(self.optimizer)
        self.scaler.update()
        return loss.item()

    @torch.no_grad()
    def evaluate(self):
        with torch.autocast(self.device, LOW):
            return self.loss_of(self.ids, self.targets).item()


# ---- The fastest -----------------------------------------------------------------------------------


class Autocast:
    """fp32 weights cast in the compiled graph; fused AdamW divides by max(1, norm / clip) on its way."""

    def __init__(self, args, kind, length, layers, batch):
        self.device = args.device
        self.model = LanguageModel(kind, length, layers, PADDED_VOCABULARY, one_wedge=True).to(args.device)
        self.ids, self.targets = random_batch(length, batch, args.device)
        self.loss_of = torch.compile(self.model.loss, mode=args.mode, backend=args.backend)
        self.optimizer = torch.optim.AdamW(self.model.parameters(), lr=torch.tensor(LR, device=args.device),
                                           weight_decay=DECAY, fused=True, capturable=args.device == "cuda")

    def step(self):
        self.optimizer.zero_grad(set_to_none=True)
        loss = self.cast_loss()
        loss.backward()
        norm = nn.utils.get_total_norm([p.grad for p in self.model.parameters()], foreach=True)
        self.optimizer.grad_scale = ((norm + 1e-6) / CLIP).clamp(min=1.0)
        self.optimizer.step()
        return loss.detach()

    def cast_loss(self):
        # The cache of casts is of no use: each weight is read once, in one graph.
        with torch.autocast(self.device, LOW, cache_enabled=False):
            return self.loss_of(self.ids, self.targets)

    @torch.no_grad()
    def evaluate(self):
        return self.cast_loss()


def clip_and_update(master, copy, gradient, moment1, moment2, step):
    """AdamW with decoupled decay on flat arrays; the clip is a factor inside it."""
    gradient = gradient * (CLIP / (torch.linalg.vector_norm(gradient) + 1e-6)).clamp(max=1.0)
    step.add_(1)
    moment1.mul_(BETA1).add_(gradient, alpha=1 - BETA1)
    moment2.mul_(BETA2).addcmul_(gradient, gradient, value=1 - BETA2)
    # 1 - beta^step, without the rounding of beta^step.
    correction1, correction2 = (-torch.expm1(step * math.log(beta)) for beta in (BETA1, BETA2))
    root = (moment2 / correction2).sqrt() + EPS
    master.mul_(1 - LR * DECAY).sub_(LR * (moment1 / correction1) / root)
    copy.copy_(master)


class Flat:
    """All parameters in one array; products read a bf16 copy of it that the update writes."""

    ALIGNMENT = 64  # elements: every tensor begins where the widest loads want it

    def __init__(self, args, kind, length, layers, batch):
        self.model = LanguageModel(kind, length, layers, PADDED_VOCABULARY, one_wedge=True).to(args.device)
        self.ids, self.targets = random_batch(length, batch, args.device)
        self.lay_out()
        self.loss_of = torch.compile(self.model.loss_from, mode=args.mode, backend=args.backend)
        self.update = torch.compile(clip_and_update, backend=args.backend)

    def lay_out(self):
        model, places, size = self.model, [], 0
        for owner in model.modules():
            for name, parameter in owner.named_parameters(recurse=False):
                if owner is model.tokens:
                    continue  # the head stands for both
                places.append((owner, name, parameter, size))
                size += -(-parameter.numel() // self.ALIGNMENT) * self.ALIGNMENT
        flat = lambda dtype: torch.zeros(size, dtype=dtype, device=self.ids.device)
        self.master, self.copy = flat(torch.float32), flat(LOW)
        self.gradient, self.moment1, self.moment2 = (flat(torch.float32) for _ in range(3))
        self.step_count = torch.zeros((), device=self.ids.device)
        self.leaves, self.gradients = [], []
        for owner, name, parameter, at in places:
            view = lambda array: array[at:at + parameter.numel()].view(parameter.shape)
            view(self.master).copy_(parameter.detach())
            is_product = isinstance(owner, nn.Linear)
            leaf = nn.Parameter(view(self.copy if is_product else self.master).detach())
            if owner is model.head:
                model.tokens.weight = nn.Parameter(view(self.master).detach(), requires_grad=False)
                self.tokens_gradient = view(self.gradient)
            setattr(owner, name, leaf)
            self.leaves.append(leaf)
            self.gradients.append(view(self.gradient))
        # PyTorch copies many tensors in one launch where all are of one type.
        self.groups = [[i for i, leaf in enumerate(self.leaves) if leaf.dtype == dtype]
                       for dtype in {leaf.dtype for leaf in self.leaves}]
        self.copy.copy_(self.master)

    def step(self):
        # The lookup stands outside the graph of gradients: its own is added to the head's in place, which
        # spares an array of zeros of the size of the embedding and its addition.
        embedded = F.embedding(self.ids, self.model.tokens.weight).requires_grad_()
        loss = self.loss_of(embedded, self.targets)
        d_embedded, *gradients = torch.autograd.grad(loss, [embedded, *self.leaves])
        with torch.no_grad():
            for group in self.groups:
                torch._foreach_copy_([self.gradients[i] for i in group], [gradients[i] for i in group])
            self.tokens_gradient.index_add_(0, self.ids.flatten(), d_embedded.flatten(0, 1))
            self.update(self.master, self.copy, self.gradient, self.moment1, self.moment2, self.step_count)
        return loss.detach()

    @torch.no_grad()
    def evaluate(self):
        return self.loss_of(F.embedding(self.ids, self.model.tokens.weight), self.targets)


def graph_of(work):
    """The work as one CUDA graph, after runs that compile it and let the libraries allocate."""
    side = torch.cuda.Stream()
    side.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(side):
        for _ in range(4):
            work()
    torch.cuda.current_stream().wait_stream(side)
    torch.cuda.synchronize()
    torch.cuda.empty_cache()
    torch.cuda.reset_peak_memory_stats()  # without what compiling has tried out
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        work()
    return graph.replay


# ---- Timing ----------------------------------------------------------------------------------------


def wait(device):
    if device == "cuda":
        torch.cuda.synchronize()


def milliseconds(work, args):
    """Median over the rounds of the mean of at least 50 runs that take at least 0.3 s."""
    least, seconds = (3, 0.0) if args.quick else (50, 0.3)
    for _ in range(least // 3):
        work()
    times = []
    for _ in range(args.rounds):
        wait(args.device)
        begin, count, elapsed = time.perf_counter(), 0, 0.0
        while count < least or elapsed < seconds:
            for _ in range(least):
                work()
            wait(args.device)
            count += least
            elapsed = time.perf_counter() - begin
        times.append(elapsed / count * 1e3)
    return sorted(times)[len(times) // 2]


def attention_backend(name):
    from torch.nn.attention import SDPBackend, sdpa_kernel
    backends = {"flash": SDPBackend.FLASH_ATTENTION, "cudnn": SDPBackend.CUDNN_ATTENTION}
    return sdpa_kernel(backends[name]) if name in backends else contextlib.nullcontext()


def measure(args, shape, variant):
    kind, length, layers, batch = shape
    torch._dynamo.reset()
    gc.collect()
    is_cuda, is_graph = args.device == "cuda", args.device == "cuda" and variant == "best"
    if is_cuda:
        torch.cuda.empty_cache()
    torch.manual_seed(0)
    maker = Study if variant == "study" else {"flat": Flat, "autocast": Autocast}[args.weights]
    with attention_backend(args.attention if variant == "best" else "auto"):
        case = maker(args, kind, length, layers, batch)
        for _ in range(4 if not is_graph else 0):
            case.step()
        if is_cuda and not is_graph:
            torch.cuda.reset_peak_memory_stats()
        ms = milliseconds(graph_of(case.step) if is_graph else case.step, args)
        peak = (torch.cuda.max_memory_allocated(), torch.cuda.max_memory_reserved()) if is_cuda else (0, 0)
        eval_ms = None
        if not args.no_eval:
            case.model.eval()
            eval_ms = milliseconds(graph_of(case.evaluate) if is_graph else case.evaluate, args)
    tokens = batch * length * 1e3
    return {"side": "pytorch", "kind": kind, "L": length, "N": layers, "B": batch, "variant": variant,
            "recipe": f"{args.weights}, {args.attention}, {args.mode or 'default'}" if variant == "best" else "study",
            "ms": round(ms, 4), "tokens_per_s": int(tokens / ms), "eval_ms": eval_ms and round(eval_ms, 4),
            "eval_tokens_per_s": eval_ms and int(tokens / eval_ms), "peak_GiB": round(peak[0] / 2**30, 3),
            "reserved_GiB": round(peak[1] / 2**30, 3), "torch": torch.__version__,
            "device": torch.cuda.get_device_name() if is_cuda else "cpu"}


def recipes(args, kind):
    """What `best` tries: its recipe and, should that fail, the plain one; with --search all, the fastest counts."""
    if not args.search:
        return [(args.weights, args.attention, args.mode), ("autocast", "auto", None)]
    attentions = ("auto",) if kind == "grassmann" else ("flash", "cudnn")
    return itertools.product(("flat", "autocast"), attentions, (None, "max-autotune-no-cudagraphs"))


def best(args, shape):
    fastest = None
    for weights, attention, mode in recipes(args, shape[0]):
        recipe = argparse.Namespace(**{**vars(args), "weights": weights, "attention": attention, "mode": mode})
        try:
            result = measure(recipe, shape, "best")
        except Exception as error:  # one that this PyTorch or GPU cannot run is passed over, and named
            print(f"{shape}: {weights}, {attention}, {mode}: {error}", file=sys.stderr, flush=True)
            continue
        if not args.search:
            return result
        print(json.dumps(result), file=sys.stderr, flush=True)
        if fastest is None or result["ms"] < fastest["ms"]:
            fastest = result
    return fastest


def shape_of(text):
    kind, length, layers, batch = text.split(",")
    if kind not in ("grassmann", "transformer"):
        raise argparse.ArgumentTypeError(f"{kind} is no kind of model")
    return kind, int(length), int(layers), int(batch)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--shape", type=shape_of, action="append", required=True, metavar="KIND,L,N,B")
    parser.add_argument("--variant", choices=("study", "best"), action="append", help="default: both")
    parser.add_argument("--weights", choices=("flat", "autocast"), default="flat")
    parser.add_argument("--attention", choices=("auto", "flash", "cudnn"), default="auto")
    parser.add_argument("--mode", help="of torch.compile, such as max-autotune-no-cudagraphs")
    parser.add_argument("--search", action="store_true", help="try every recipe of best")
    parser.add_argument("--no-eval", action="store_true", help="training only")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--quick", action="store_true", help="few runs a round: to see that it works")
    parser.add_argument("--device", default="cuda", choices=("cuda", "cpu"), help="cpu: without graphs")
    parser.add_argument("--backend", default="inductor", help="of torch.compile")
    args = parser.parse_args()
    if args.device == "cuda" and not torch.cuda.is_available():
        sys.exit("pytorch_peer.py: PyTorch sees no GPU")
    torch.set_float32_matmul_precision("high")
    missing = False
    for shape, variant in itertools.product(args.shape, args.variant or ("study", "best")):
        result = best(args, shape) if variant == "best" else measure(args, shape, variant)
        missing = missing or result is None
        if result:
            print(json.dumps(result), flush=True)
    sys.exit(1 if missing else 0)


if __name__ == "__main__":
    main()
