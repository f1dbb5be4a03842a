"""Any causal model of transformers as a `LanguageModel`.

Letters: B batch, T tokens, S tokens attended to, V vocabulary, D width.
"""

from __future__ import annotations

import contextlib
import functools
import inspect
from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch import nn

from neurolm.checks import bad
from neurolm.lm.language_model import LMOutput, State, check_layers, check_state_depth, hash_weights
from neurolm.lm.tokenizer import Tokenizer
from neurolm.lm.transformers_cache import cache_to_state, state_to_cache
from neurolm.products import Linear, linear

# settings that say how or where a model runs, not what it computes
_NOT_NUMBERS = {"transformers_version", "architectures", "dtype", "torch_dtype", "use_cache", "output_attentions"}


class TransformersModel:
    """The adapter. Hidden states are those that transformers itself calls `hidden_states`.

    Parameters
    ----------
    model : transformers.PreTrainedModel
        A causal language model, with or without adapters of peft in it.
    tokenizer : Tokenizer
        A neurolm tokenizer whose ids the model was trained on.
    name : str, optional
    """

    def __init__(self, model: Any, tokenizer: Tokenizer, *, name: str | None = None) -> None:
        self.model = model.get_base_model() if hasattr(model, "get_base_model") else model
        config = self.model.config.get_text_config(decoder=True)
        self.tokenizer = tokenizer
        self.name = name or str(config._name_or_path or type(model).__name__)
        self.n_layers = int(config.num_hidden_layers)
        self.max_context: int | None = getattr(config, "max_position_embeddings", None)
        self._config = config
        self._trunk = self.model.get_decoder()  # the model without its head
        self._blocks = _find_blocks(self._trunk, self.n_layers)
        _use_fast_products(self.model)
        accepted = inspect.signature(self._trunk.forward).parameters
        if "past_key_values" not in accepted:
            raise bad("model", "continue from past_key_values", type(model).__name__, "This architecture is not supported.")
        self._takes_positions = "position_ids" in accepted

    @property
    def device(self) -> torch.device:
        return next(self.model.parameters()).device

    def step(
        self,
        ids: torch.Tensor,
        state: State = None,
        layers: Sequence[int] | None = None,
        *,
        logits: bool = True,
    ) -> LMOutput:
        """See `LanguageModel.step`; the state's form is told in `transformers_cache`."""
        wanted = check_layers(layers, self.n_layers)
        n_run = self.n_layers if logits else max(wanted, default=0)
        seen = self._count(ids, state, n_run)
        cache = state_to_cache(state, self._config)
        with _watch(self._blocks, wanted, n_run) as hidden:
            output = self._run(ids, cache, seen, whole=logits)
        if self.n_layers in wanted:
            hidden[self.n_layers] = output.last_hidden_state
        return LMOutput(
            logits=output.logits if logits else None,
            hidden=tuple(hidden.get(layer) for layer in range(self.n_layers + 1)),
            state=cache_to_state(cache, seen + ids.shape[1], n_run),
        )

    def attention(self, ids: torch.Tensor, layers: Sequence[int] | None = None) -> tuple[torch.Tensor | None, ...]:
        """Attention weights of a text read from its beginning.

        Parameters
        ----------
        ids : (B, T) int64
        layers : blocks 1..n_layers to return; None is all

        Returns
        -------
        weights : n_layers entries, (B, heads, T, T) for blocks asked for, else None; entry l - 1
            is what block l looked at: [b, h, t, s] is how much token t takes from token s
        """
        wanted = range(1, self.n_layers + 1) if layers is None else check_layers(layers, self.n_layers)
        was = self.model.config._attn_implementation
        self.model.set_attn_implementation("eager")  # the fused kernels do not keep the weights
        try:
            weights = self._trunk(input_ids=ids, use_cache=False, output_attentions=True).attentions
        finally:
            self.model.set_attn_implementation(was)
        return tuple(w if layer in wanted else None for layer, w in enumerate(weights, start=1))

    def weights_hash(self) -> str:
        settings = self._config.to_dict()
        kept = {key: settings[key] for key in settings.keys() - _NOT_NUMBERS if not key.startswith("_")}
        return hash_weights(self.model.state_dict(), kept)

    def _count(self, ids: torch.Tensor, state: State, n_run: int) -> torch.Tensor:
        """Tokens read before this step (B,), checked against the context and the state's depth."""
        if state is None:
            seen = torch.zeros(ids.shape[0], dtype=torch.int64, device=ids.device)
        else:
            seen, blocks = state
            check_state_depth(blocks, n_run)
        total = (int(seen[0]) if len(seen) else 0) + ids.shape[1]
        if self.max_context is not None and total > self.max_context:
            raise bad("ids", f"fit in {self.max_context} tokens with what was read before", total, "Begin anew, or shorten.")
        return seen

    def _run(self, ids: torch.Tensor, cache: Any, seen: torch.Tensor, *, whole: bool) -> Any:
        arguments: dict[str, Any] = {"input_ids": ids, "past_key_values": cache, "use_cache": True}
        if self._takes_positions:
            arguments["position_ids"] = seen[:, None] + torch.arange(ids.shape[1], device=ids.device)
        if not whole:
            with contextlib.suppress(_Reached):
                return self._trunk(**arguments)
            return None
        last = []
        hook = self._trunk.register_forward_hook(lambda module, inputs, output: last.append(output.last_hidden_state))
        with _removed_after(hook):
            output = self.model(**arguments)
        output.last_hidden_state = last[0]
        return output


class _Reached(Exception):
    """The highest block that was asked for is done."""


def _find_blocks(trunk: nn.Module, n_layers: int) -> nn.ModuleList:
    """The list of blocks, whatever the architecture calls it."""
    for module in trunk.modules():
        if isinstance(module, nn.ModuleList) and len(module) == n_layers:
            return module
    raise bad("model", f"hold a list of its {n_layers} blocks", type(trunk).__name__, "This architecture is not supported.")


def _use_fast_products(model: nn.Module) -> None:
    """Let every linear map of the model, and GPT-2's transposed ones, go through `neurolm.products`."""
    for module in model.modules():
        if type(module) is nn.Linear:
            module.__class__ = Linear
        elif type(module).__name__ == "Conv1D":  # its weight lies as (inputs, outputs)
            module.forward = functools.partial(_transposed_linear, module)


def _transposed_linear(module: Any, x: torch.Tensor) -> torch.Tensor:
    return linear(x, module.weight.T, module.bias)


@contextlib.contextmanager
def _watch(blocks: nn.ModuleList, wanted: Sequence[int], n_run: int) -> Iterator[dict[int, torch.Tensor]]:
    """Catch the hidden states asked for, and stop after `n_run` blocks; the last layer, after the norm, is not seen here."""
    hidden: dict[int, torch.Tensor] = {}
    n_layers = len(blocks)

    def before_first(block: nn.Module, inputs: tuple[Any, ...], named: dict[str, Any]) -> None:
        if 0 in wanted:
            hidden[0] = inputs[0] if inputs else named["hidden_states"]
        if n_run == 0:
            raise _Reached

    def after(layer: int) -> Any:
        def hook(block: nn.Module, inputs: Any, output: Any) -> None:
            if layer in wanted:
                hidden[layer] = output[0] if isinstance(output, tuple) else output
            if layer == n_run:
                raise _Reached

        return hook

    with contextlib.ExitStack() as stack:
        first = blocks[0].register_forward_pre_hook(before_first, with_kwargs=True)
        stack.enter_context(_removed_after(first))
        for layer in {*wanted, n_run} - {0, n_layers}:
            stack.enter_context(_removed_after(blocks[layer - 1].register_forward_hook(after(layer))))
        yield hidden


@contextlib.contextmanager
def _removed_after(hook: Any) -> Iterator[None]:
    try:
        yield
    finally:
        hook.remove()
