"""Methods: what to train on. A new one is a file here and a line in METHODS."""

from collections.abc import Mapping

from crest.methods.base import Context, MethodSpec
from crest.methods.craig import craig
from crest.methods.crest import Crest
from crest.methods.focused import Focused
from crest.methods.glister import glister
from crest.methods.gradmatch import gradmatch
from crest.methods.greedy import Greedy
from crest.methods.large import large
from crest.methods.random import Random
from crest.methods.replay import Replay
from crest.methods.stratified import Stratified

METHODS: Mapping[str, MethodSpec] = {
    "full": MethodSpec(Random, takes_all_steps=True, looks=False),
    "random": MethodSpec(Random, looks=False),
    "crest": MethodSpec(Crest, outputs=True),
    "replay": MethodSpec(Replay, looks=False),
    "sgd": MethodSpec(Random, schedule_of_full=True, looks=False),
    "large": MethodSpec(large, looks=False),
    "stratified": MethodSpec(Stratified, looks=False),
    "focused": MethodSpec(Focused, looks=False, outputs=True),
    "greedy": MethodSpec(Greedy),
    "craig": MethodSpec(craig),
    "gradmatch": MethodSpec(gradmatch),
    "glister": MethodSpec(glister),
}

__all__ = ["METHODS", "Context", "MethodSpec"]
