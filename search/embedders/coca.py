"""Captions of pictures by CoCa models of open_clip.

Yu et al. 2022, "CoCa: Contrastive Captioners are Image-Text Foundation Models". A caption is made
token by token, each the most probable one (greedy decoding). open_clip's own `generate` does the
same with `generation_type="top_k"`, but only beside some versions of the package transformers.
"""

from __future__ import annotations

import json
import re
import warnings
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from search.embedders import hub, openclip_models
from search.embedders.base import make_fingerprint
from search.embedders.inference import (
    BlockPauses,
    autocast,
    build_empty,
    choose_batch,
    explain_failure,
    measure_cost,
    normalize_pixels,
)
from search.embedders.json_cache import JsonCache, hash_weights
from search.embedders.openclip import is_path
from search.embedders.openclip_models import Recipe, choose_default_tag
from search.errors import ModelError
from search.files import absolute_path
from search.records.captions import CaptionModel
from search.types import Pixels

if TYPE_CHECKING:
    from search.runtime import torch

CONFIG = "open_clip_config.json"
"""The file beside weights that says their architecture, as open_clip writes it for the hub."""
START, END, PAD = 49406, 49407, 0
"""Tokens of CLIP's vocabulary: of the start and the end of a text, and after its end."""
VOCABULARY = 49408
LEAST_TOKENS, MOST_TOKENS = 5, 30
"""Of a caption, with its start and end; as `generate` of open_clip has them."""
MOST_BATCH = 8
RULE = 1
"""Raised when the same weights make other captions."""


def check_name(name: str) -> str:
    """Return the full name of a model, ARCH:TAG or ARCH:/path/to/weights, with an absolute path.

    A name without a tag means the weights that were tuned on captions, where there are such. Raises
    ModelError for a name that is no model which makes captions.
    """
    arch, _, which = name.partition(":")
    arch = openclip_models.check_architecture(arch)
    if is_path(which):
        return f"{arch}:{absolute_path(which)}"
    tags = _list_tags(arch)
    if not tags:
        listed = (one for one in openclip_models.list_architectures() if _list_tags(one))
        raise ModelError(
            f"the model {arch} makes no captions; give {', '.join(listed)}, or one with weights "
            f"of your own, as coca_ViT-B-32:/path/to/weights"
        )
    if not which:
        tuned = (tag for tag in tags if tag.startswith("mscoco"))
        return f"{arch}:{next(tuned, choose_default_tag(arch, tags))}"
    tag = which.lower().replace("-", "_")
    if tag not in tags:
        raise ModelError(f"{arch} has no weights called {which}; there are: {', '.join(tags)}")
    return f"{arch}:{tag}"


def list_models(default: str) -> list[CaptionModel]:
    """List the models that make captions, the default first. Asks no hub.

    default: a name as `check_name` takes it. Raises ModelError if it is none.
    """
    default = check_name(default)
    which = default.partition(":")[2]
    models = [CaptionModel(default, Path(which).is_file(), True)] if is_path(which) else []
    for arch in openclip_models.list_architectures():
        if "multimodal_cfg" not in openclip_models.read_config(arch):
            continue
        for tag, recipe in openclip_models.list_recipes(arch, JsonCache()).items():
            name = f"{arch}:{tag}"
            is_here = hub.find_cached(recipe.repo, recipe.files) is not None
            models.append(CaptionModel(name, is_here, name == default))
    return sorted(models, key=lambda one: (not one.default, not one.installed))


def _list_tags(arch: str) -> list[str]:
    """Return the tags of an architecture's weights, if it makes captions."""
    if "multimodal_cfg" not in openclip_models.read_config(arch):
        return []
    return list(openclip_models.list_recipes(arch, JsonCache()))


class CoCaCaptioner:
    """Makes captions of pictures. Its methods are called on the inference thread.

    captioner = CoCaCaptioner("coca_ViT-B-32")
    captioner.caption([captioner.preprocessing(picture)])
    """

    def __init__(
        self,
        name: str,
        device: str = "cpu",
        cache: JsonCache | None = None,
        breathe: Callable[[], None] = lambda: None,
    ) -> None:
        """name: as `check_name` takes it. cache: of hashes and costs. breathe: called between the
        blocks of the network. Asks no hub. Raises ModelError when there are no weights."""
        self._cache = cache = cache or JsonCache()
        self._device, self._breathe = device, breathe
        self.name = check_name(name)
        arch, _, which = self.name.partition(":")
        recipes = openclip_models.list_recipes(arch, cache)
        config = openclip_models.read_config(arch)
        if is_path(which):
            self.path = Path(which)
            usual = recipes[choose_default_tag(arch, list(recipes))] if recipes else Recipe()
            config, recipe = _read_own_config(self.path, config, usual)
        else:
            recipe = recipes[which]
            path = hub.find_cached(recipe.repo, recipe.files)
            if path is None:
                raise ModelError(f"the weights of {self.name} are not here; fetch them first")
            self.path = path
        digest = hash_weights(self.path, cache, arch, arch)
        self._config = _check_config(config, self.name)
        self.preprocessing = recipe.preprocessing(config)
        self._mean, self._std = recipe.mean, recipe.std
        parts = (json.dumps(config, sort_keys=True), digest, self.preprocessing, recipe.mean)
        self.fingerprint = make_fingerprint(f"coca {RULE} {parts} {recipe.std}")
        self.batch = 1
        """Pictures for one call, by the FLOPs of a picture; 1 until the network is loaded."""
        self._model: Any = None

    def load(self) -> None:
        """Read the network into memory, unless this was done before. Raises ModelError."""
        if self._model is None:
            advice = "give a state dict of a CoCa model of open_clip as .safetensors or .pt"
            with (
                explain_failure(self.path, self.name, self._device, advice),
                warnings.catch_warnings(action="ignore"),
            ):
                self._model = self._read()

    def caption(self, pixels: Sequence[Pixels]) -> list[str]:
        """Return a caption of each picture, empty if the model has nothing to say.

        pixels: prepared pictures, each uint8 of `preprocessing.shape`. Raises ModelError.
        """
        from search.runtime import torch

        if not pixels:
            return []
        self.load()
        with torch.inference_mode(), autocast(self._device):
            x = normalize_pixels(pixels, self._mean, self._std, self._device)
            features = self._model(x)
            image = {
                "image_latent": features["image_features"],
                "image_embs": features["image_embs"],
            }
            tokens = torch.full((len(pixels), 1), START, device=self._device)
            is_over = torch.zeros(len(pixels), dtype=torch.bool, device=self._device)
            most = min(MOST_TOKENS, self._config["multimodal_cfg"]["context_length"])
            while tokens.shape[1] < most - 1 and not is_over.all():
                logits = self._model(x, tokens, **image, output_labels=False)["logits"][:, -1]
                logits[:, [START, PAD]] = -torch.inf
                if tokens.shape[1] < LEAST_TOKENS:
                    logits[:, END] = -torch.inf
                following = logits.argmax(-1).masked_fill(is_over, END)
                tokens = torch.cat((tokens, following[:, None]), 1)
                is_over |= following == END
        return [_decode(row) for row in tokens[:, 1:]]

    def _read(self) -> Any:
        """Build the network and read the weights into it."""
        import numpy as np

        open_clip = openclip_models.import_open_clip()

        def build() -> Any:
            return open_clip.CoCa(**self._config)

        model = build_empty(build)
        if model is None or self.path.suffix != ".safetensors":
            model = build()
            open_clip.factory.load_checkpoint(model, str(self.path), weights_only=True)
        else:  # mapped into memory
            openclip_models.assign_weights(model, self.path)
        model = model.float().eval().to(self._device)
        pauses = BlockPauses(model, self._breathe)
        blank = [np.zeros(self.preprocessing.shape, np.uint8)]
        cost, blocks, _ = measure_cost(
            f"coca {self.fingerprint}",
            self._cache,
            pauses,
            lambda: model.encode_image(
                normalize_pixels(blank, self._mean, self._std, self._device)
            ),
        )
        self.batch = min(MOST_BATCH, choose_batch(cost, blocks, self._device))
        pauses.active = True
        return model


def _read_own_config(
    path: Path, config: dict[str, Any], usual: Recipe
) -> tuple[dict[str, Any], Recipe]:
    """Return what the file `CONFIG` beside weights says, else what is given. Raises ModelError."""
    recipe = replace(usual, repo="", quick_gelu=False)
    own = path.parent / CONFIG
    if not own.is_file():
        return config, recipe
    try:
        document = json.loads(own.read_text("utf-8"))
        values = document.get("preprocess_cfg", {})
        more: dict[str, Any] = {n: tuple(values[n]) for n in ("mean", "std") if n in values}
        names = {"resize_mode": "fit", "interpolation": "resample"}
        more |= {ours: values[name] for name, ours in names.items() if name in values}
        return dict(document["model_cfg"]), replace(recipe, **more)
    except (OSError, ValueError, LookupError, TypeError, AttributeError) as error:
        raise ModelError(
            f"{own} is no configuration of open_clip: {error}; take it away, or write it anew"
        ) from error


def _check_config(config: dict[str, Any], name: str) -> dict[str, Any]:
    """Return the arguments of `CoCa`. Raises ModelError for a model with another vocabulary."""
    try:
        arguments = {key: value for key, value in config.items() if key != "custom_text"}
        sizes = {config[part]["vocab_size"] for part in ("text_cfg", "multimodal_cfg")}
        plain = "hf_tokenizer_name" not in config["text_cfg"] and sizes == {VOCABULARY}
    except (LookupError, TypeError) as error:
        raise ModelError(f"the model {name} makes no captions: it has no text decoder") from error
    if not plain:
        raise ModelError(
            f"captions of {name} cannot be read: it has another vocabulary than CLIP's; give "
            "coca_ViT-B-32, coca_ViT-L-14, or weights of your own for one of them"
        )
    return arguments


def _decode(tokens: torch.Tensor) -> str:
    """Return the text of tokens (n,) up to the end of it, without spaces before punctuation."""
    ended = (tokens == END).nonzero()
    text: str = openclip_models.import_open_clip().decode(
        tokens[: int(ended[0])] if len(ended) else tokens
    )
    return re.sub(r" ([.,!?;:])", r"\1", " ".join(text.split()))
