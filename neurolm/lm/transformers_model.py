"""Any causal model of transformers as a `LanguageModel`.

Where a model's cache holds all that it has read, its state is that cache. Where it does not (Jamba,
RecurrentGemma) or there is none (openai-gpt), the state is the ids read so far, and each step reads
them again: slower, and right.

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

from neurolm.checks import InputError, bad
from neurolm.lm.language_model import LMOutput, State, check_ids, check_layers, check_state_depth, hash_weights
from neurolm.lm.reading_check import carries_state, check_causal, probe_ids, refuse_non_causal, tolerance
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
    fast_products : bool
        Compute large float32 products on a CPU by `neurolm.products`. It changes the linear layers of `model`, so it is for a
        model that nobody else uses: `load` does it for what it loads.
    carries_state : bool, optional
        What the check of its reading found of this very model before; None: check now.

    Attributes
    ----------
    carries_state : bool
        Whether the state is the model's cache; else it is the ids read so far.

    Raises
    ------
    InputError
        If states of earlier words depend on later ones (see `reading_check`), or the architecture is not supported.
    """

    def __init__(
        self,
        model: Any,
        tokenizer: Tokenizer,
        *,
        name: str | None = None,
        fast_products: bool = False,
        carries_state: bool | None = None,
    ) -> None:
        self.model = model.get_base_model() if hasattr(model, "get_base_model") else model
        config = self.model.config.get_text_config(decoder=True)
        self.tokenizer = tokenizer
        self.name = name or str(config._name_or_path or type(model).__name__)
        refuse_non_causal(config, self.name)
        self.n_layers = int(getattr(config, "decoder_layers", None) or config.num_hidden_layers)
        self._config = config
        self._trunk, self._blocks = _find_blocks(self.model, self.n_layers)
        self._n_rows = int(self.model.get_input_embeddings().weight.shape[0])
        self.max_context = _max_context(self._trunk, config)
        if fast_products:
            _use_fast_products(self.model)
        accepted = inspect.signature(self._trunk.forward).parameters
        self._takes_positions, self._takes_use_cache = "position_ids" in accepted, "use_cache" in accepted
        self.carries_state = "past_key_values" in accepted if carries_state is None else carries_state
        if carries_state is None:
            self._check_reading()

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
        """See `LanguageModel.step`; the state's form is described in `transformers_cache`."""
        wanted = check_layers(layers, self.n_layers)
        n_run = self.n_layers if logits else max(wanted, default=0)
        if self.tokenizer.vocab_size > self._n_rows:
            check_ids(ids, self._n_rows, self.name, self.tokenizer)
        if not self.carries_state:
            return self._step_over_all(ids, state, wanted, n_run, logits=logits)
        seen = self._count(ids, state, n_run)
        cache = state_to_cache(state, self._config)
        hidden, scores = self._run(ids, cache, None if state is None else seen, wanted, n_run, logits=logits)
        return LMOutput(scores, hidden, cache_to_state(cache, seen + ids.shape[1], n_run))

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
        self._check_room((int(seen[0]) if len(seen) else 0) + ids.shape[1])
        return seen

    def _check_room(self, total: int) -> None:
        if self.max_context is not None and total > self.max_context:
            raise bad("ids", f"fit in {self.max_context} tokens with what was read before", total, "Begin again, or shorten.")

    def _step_over_all(self, ids: torch.Tensor, before: State, wanted: Sequence[int], n_run: int, *, logits: bool) -> LMOutput:
        """A step of a model without a cache: all ids read so far are the state, and are read again."""
        everything = ids if before is None else torch.cat([before, ids], 1)
        self._check_room(everything.shape[1])
        n_before = everything.shape[1] - ids.shape[1]
        hidden, scores = self._run(everything, None, None, wanted, n_run, logits=logits)
        new = tuple(None if layer is None else layer[:, n_before:] for layer in hidden)
        return LMOutput(None if scores is None else scores[:, n_before:], new, everything)

    def _run(
        self, ids: torch.Tensor, cache: Any, seen: torch.Tensor | None, wanted: Sequence[int], n_run: int, *, logits: bool
    ) -> tuple[tuple[torch.Tensor | None, ...], torch.Tensor | None]:
        """(hidden states, logits) of ids read after `seen` tokens, which are in the cache."""
        arguments: dict[str, Any] = {"input_ids": ids}
        if cache is not None:
            arguments["past_key_values"] = cache
        if self._takes_use_cache:
            arguments["use_cache"] = cache is not None
        if self._takes_positions and seen is not None:
            arguments["position_ids"] = seen[:, None] + torch.arange(ids.shape[1], device=ids.device)
        last: list[torch.Tensor] = []
        scores = None
        with _watch(self._blocks, wanted, n_run) as hidden, contextlib.suppress(_Reached):
            with _removed_after(self._trunk.register_forward_hook(lambda module, inputs, output: last.append(output[0]))):
                if logits:
                    scores = self.model(**arguments).logits
                else:
                    self._trunk(**arguments)
        if self.n_layers in wanted:
            hidden[self.n_layers] = last[0]
        return tuple(hidden.get(layer) for layer in range(self.n_layers + 1)), scores

    def _check_reading(self) -> None:
        """Refuse a model that is not causal, and find out whether its state is carried; see `reading_check`."""
        avoid = [value for key, value in self._config.to_dict().items() if key.endswith(("token_id", "token_index"))]
        ids = probe_ids(self._n_rows, avoid, self.max_context).to(self.device)
        bound = tolerance(self.model.dtype)
        with _evaluating(self.model), torch.no_grad():
            if self.carries_state:
                self.carries_state = self._reads_in_chunks(ids, bound)
            try:
                check_causal(self, ids, bound=bound, has_experts=_has_experts(self._trunk))
            except InputError:
                raise
            except Exception as error:  # whatever the architecture needs beside ids
                reason = " ".join(str(error).split()) or type(error).__name__
                raise bad("model", "read text alone", f"{self.name} ({reason[:200]})", "This model is not supported.") from error

    def _reads_in_chunks(self, ids: torch.Tensor, bound: float) -> bool:
        try:
            return carries_state(self, ids, bound=bound)
        except Exception:  # a cache of a form of its own: each architecture raises something else
            return False


class _Reached(Exception):
    """The highest block that was asked for is done."""


def _find_blocks(model: Any, n_layers: int) -> tuple[Any, nn.ModuleList]:
    """The model without its head, and in it the list of blocks, whatever the architecture calls them."""
    for trunk in (model.get_decoder(), model.base_model):
        for module in trunk.modules():
            if isinstance(module, nn.ModuleList) and len(module) == n_layers:
                return trunk, module
    raise bad("model", f"hold a list of its {n_layers} blocks", type(model).__name__, "This architecture is not supported.")


def _max_context(trunk: nn.Module, config: Any) -> int | None:
    """Tokens that one pass may hold; None is no limit.

    Rotary embeddings that change with the length of the pass (LongRoPE, dynamic scaling) are kept below the
    length at which they do: beyond it, the state of a word would depend on how long the rest of its pass is.
    """
    names = ("max_position_embeddings", "n_positions", "max_seq_len")
    limits = [n for n in (getattr(config, name, None) for name in names) if isinstance(n, int) and n > 0][:1]
    rotary = getattr(config, "rope_parameters", None) or {}
    for settings in [rotary, *(part for part in rotary.values() if isinstance(part, dict))]:
        if settings.get("rope_type") in ("longrope", "dynamic"):
            original = getattr(config, "original_max_position_embeddings", None)
            limits.append(settings.get("original_max_position_embeddings") or original or 0)
    for name, module in trunk.named_modules():  # RoBERTa's positions begin after the padding's
        if isinstance(module, nn.Embedding) and "position" in name and module.padding_idx is not None:
            limits.append(module.num_embeddings - module.padding_idx - 1)
    return min((n for n in limits if n), default=None)


def _has_experts(trunk: nn.Module) -> bool:
    """Whether tokens are routed to experts, by the names that transformers gives to these parts."""
    return any(name.endswith(("experts", "moe", "router")) for name, _ in trunk.named_modules())


@contextlib.contextmanager
def _evaluating(model: nn.Module) -> Iterator[None]:
    """Dropout off, and afterwards every part as it was."""
    was_training = [module for module in model.modules() if module.training]
    model.eval()
    try:
        yield
    finally:
        for module in was_training:
            module.training = True


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
                hidden[layer] = output[0] if isinstance(output, (tuple, list)) else output
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
