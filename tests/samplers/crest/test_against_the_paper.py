# ruff: noqa: E741, N802, N803  (the paper's symbols)
"""Crest against a slow transcription of Algorithm 1, step by step, on softmax regression.

The transcription is in the paper's notation and in float64: facility location by trying every
example, whole Hessians, averages as sums over all estimates. It shares with Crest the weights of
each step and the random draws, and of examples that add exactly the same it picks as Crest does.
"""

from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from crest.devices.generators import generator_for
from crest.regions.active import ActiveSet
from crest.samplers.crest import Crest
from crest.selection.coresets import Outputs
from tests.tiny import CLASSES, LinearSplit, context, linear_model, linear_split

N, r, m = 40, 24, 6  # steps, subset size, mini-batch size
β_1, β_2 = 0.9, 0.999


@dataclass(frozen=True)
class Setting:
    """The parameters of Algorithm 1 that differ between the cases."""

    τ: float
    h: float = 1.0
    b: int = 5
    T_2: int = 10
    α: float = 0.1
    floor: int = r

    def parameters(self) -> dict[str, object]:
        return {
            "subset_size": r,
            "threshold": self.τ,
            "interval_factor": self.h,
            "minibatch_factor": float(self.b),
            "gradient_smoothing": β_1,
            "curvature_smoothing": β_2,
            "learned_window": self.T_2,
            "learned_loss": self.α,
            "learned_floor": self.floor,
        }


@dataclass(frozen=True)
class Step:
    """What Algorithm 1 does in a step: all S_p with their weights, and which one is trained on.

    ``ρ`` is None where nothing is checked.
    """

    coresets: list[tuple[Tensor, Tensor]]
    trained: int
    ρ: float | None
    l: int
    T_1: int
    P: int
    V: int


def algorithm_1(
    model: nn.Linear, split: LinearSplit, setting: Setting, ties: Callable[[], list[Tensor]]
) -> Iterator[Step]:
    """Algorithm 1; the weights that the model has when a step is asked for are w_t.

    ``ties`` returns the S_p that ties are broken by.
    """
    s = setting
    x, y = split.features.double(), split.labels
    generator = generator_for(0, "method")
    V, seen = ActiveSet(len(y)), defaultdict(list)
    estimates_g: list[Tensor] = []
    estimates_h: list[Tensor] = []
    norms: list[float] = []
    F: list[Callable[[Tensor], float]] = []
    l = -1
    t_l, T_1, P = 0, 1, s.b

    def losses(w: Tensor, indices: Tensor) -> Tensor:
        return functional.cross_entropy(logits(w, x[indices]), y[indices], reduction="none")

    for t in range(N):
        w = torch.cat([p.detach().flatten() for p in (model.weight, model.bias)]).double()

        if t > 0 and t % s.T_2 == 0:  # learned examples leave V
            learned = [i for i, all_of in seen.items() if len(all_of) > 1 and max(all_of) < s.α]
            learned.sort(key=lambda i: max(seen[i]))
            V.exclude(torch.tensor(learned[: len(V) - s.floor], dtype=torch.int64), t)
            seen.clear()

        ρ = None
        if l >= 0 and (t - t_l) % T_1 == 0:
            V_r = V.draw(r, generator)
            L_r = float(losses(w, V_r).mean())
            ρ = abs(F[l](w) - L_r) / L_r

        if l < 0 or (ρ is not None and ρ > s.τ):
            l, t_l = l + 1, t
            if l > 0:
                T_1 = max(1, min(N - t, round(s.h * norms[0] / norms[-1])))
                P = s.b * T_1
            subsets = [V.draw(r, generator) for _ in range(P)]
            at_once = 250 // r  # subsets that are selected from together, with a draw for all
            torch.randint(2**62, (-(-P // at_once),), generator=generator)
            coresets = [
                facility_location(w, x, y, V_p, S_p)
                for V_p, S_p in zip(subsets, ties(), strict=True)
            ]
            for V_p in subsets:
                for i, loss in zip(V_p.tolist(), losses(w, V_p).tolist(), strict=True):
                    seen[i].append(loss)
            L_l = float(torch.cat([losses(w, V_p) for V_p in subsets]).mean())

            seeds = torch.randint(2**62, (P,), generator=generator).tolist()
            g_l, h_l = torch.zeros_like(w), torch.zeros_like(w)
            for (S_p, γ), seed in zip(coresets, seeds, strict=True):

                def L_p(w: Tensor, S_p: Tensor = S_p, γ: Tensor = γ) -> Tensor:
                    return (γ * losses(w, S_p)).mean()

                z = rademacher(model, seed)
                H = torch.autograd.functional.hessian(L_p, w)
                g_l += torch.autograd.functional.jacobian(L_p, w) / P
                h_l += z * (H @ z) / P
            estimates_g.append(g_l)
            estimates_h.append(h_l)
            h_l = average([estimate**2 for estimate in estimates_h], β_2).sqrt()
            norms.append(float(h_l.norm()))
            F.append(quadratic_model(w, L_l, average(estimates_g, β_1), h_l))

        yield Step(coresets, int(torch.randint(P, (1,), generator=generator)), ρ, l, T_1, P, len(V))


def logits(w: Tensor, x: Tensor) -> Tensor:
    return x @ w[:-CLASSES].view(CLASSES, -1).T + w[-CLASSES:]


def quadratic_model(w_l: Tensor, L_l: float, g: Tensor, h: Tensor) -> Callable[[Tensor], float]:
    """Eq. 6."""

    def F_l(w: Tensor) -> float:
        δ = w - w_l
        return L_l + float(g @ δ) + 0.5 * float(δ @ (h * δ))

    return F_l


def facility_location(
    w: Tensor, x: Tensor, y: Tensor, V_p: Tensor, ties: Tensor
) -> tuple[Tensor, Tensor]:
    """Eq. 11, greedily: of every example not yet picked the one that adds most."""
    gradients = logits(w, x[V_p]).softmax(1) - functional.one_hot(y[V_p], CLASSES)
    d = (gradients[:, None] - gradients[None]).norm(dim=2)
    C = float(d.max())
    S: list[int] = []
    for tie in ties.tolist():
        rest = [j for j in range(r) if j not in S]
        value = {j: float((C - d[:, [*S, j]]).amax(1).sum()) for j in rest}
        best = [j for j in rest if value[j] > max(value.values()) - 1e-6]
        S.append(next((j for j in best if int(V_p[j]) == tie), best[0]))
    stands_for = d[:, S].argmin(1).bincount(minlength=m)
    return V_p[S], stands_for.double() * m / r


def rademacher(model: nn.Linear, seed: int) -> Tensor:
    """The draws z of Crest, from the seed that its generator gave for a mini-batch."""
    draws = torch.Generator().manual_seed(seed)
    shapes = [parameter.shape for parameter in (model.weight, model.bias)]
    signs = [torch.randint(2, shape, generator=draws, dtype=torch.int8) * 2 - 1 for shape in shapes]
    return torch.cat([sign.flatten() for sign in signs]).double()


def average(values: list[Tensor], β: float) -> Tensor:
    """Eq. 8, 9: the bias-corrected exponential average."""
    k = len(values)
    total = sum((1 - β) * β ** (k - i) * value for i, value in enumerate(values, 1))
    assert isinstance(total, Tensor)
    return total / (1 - β**k)


@pytest.mark.parametrize(
    "setting",
    [
        Setting(τ=0.05, T_2=1000),
        Setting(τ=0.1, h=4.0, b=2, T_2=1000),
        Setting(τ=0.05, h=2.0, b=2, T_2=7, α=1.0, floor=40),
    ],
    ids=["as published", "long regions", "learned examples leave"],
)
def test_each_step_is_that_of_the_paper(setting: Setting) -> None:
    model, split = linear_model(), linear_split()
    assert isinstance(model, nn.Linear)
    base = context(model, split, N, crest=setting.parameters())  # type: ignore[arg-type]
    method = Crest(replace(base, batch_size=m))

    def ties() -> list[Tensor]:
        assert method._region is not None
        return [coreset.indices for coreset in method._region.coresets]

    paper = algorithm_1(model, split, setting, ties)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.2, momentum=0.9)
    walked: list[Step] = []
    for t in range(N):
        before = method._region
        minibatch = method.minibatch(t)
        region = method._region
        assert region is not None
        expected = next(paper)
        found = (region.number, region.interval, len(region.coresets), len(method._pool.active))
        assert found == (expected.l, expected.T_1, expected.P, expected.V)
        for coreset, (S_p, γ) in zip(region.coresets, expected.coresets, strict=True):
            assert torch.equal(coreset.indices, S_p)
            assert coreset.weights.tolist() == pytest.approx(γ.tolist())
        assert minibatch is region.coresets[expected.trained]
        if expected.ρ is not None:
            assert before is not None
            assert before.rho == pytest.approx(expected.ρ, rel=1e-3, abs=1e-5)

        scores, labels = model(split.inputs(minibatch.indices)), split.labels[minibatch.indices]
        loss = functional.cross_entropy(scores, labels, reduction="none") * minibatch.weights
        optimizer.zero_grad()
        loss.mean().backward()
        optimizer.step()
        method.update(minibatch, Outputs.of(scores, labels, minibatch.weights), 0.0)
        walked.append(expected)
    assert walked[-1].l > 3
    assert any(step.ρ is not None and step.ρ <= setting.τ for step in walked)
    if setting.h > 1.0:
        assert len({step.T_1 for step in walked}) > 1
    if setting.T_2 < N:
        assert len(split) > walked[-1].V
