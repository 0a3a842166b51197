"""The names of the original code's weights and ours. Values are the same, in the same order, for all of them."""

import re

_AROUND = {
    "mixins.patch_embed.proj": "patch_embedding.projection",
    "mixins.patch_embed.text_proj": "text_embedding",
    "time_embed.0": "time_embedding.hidden",
    "time_embed.2": "time_embedding.out",
    "transformer.final_layernorm": "head.norm",
    "mixins.final_layer.norm_final": "head.video_norm",
    "mixins.final_layer.adaLN_modulation.1": "head.modulation",
    "mixins.final_layer.linear": "head.out",
}
_BLOCK = {
    "mixins.adaln_layer.adaLN_modulations.#.1": "trunk.blocks.#.modulation",
    "mixins.adaln_layer.query_layernorm_list.#": "trunk.blocks.#.attention.query_norm",
    "mixins.adaln_layer.key_layernorm_list.#": "trunk.blocks.#.attention.key_norm",
    "transformer.layers.#.input_layernorm": "trunk.blocks.#.attention_norm",
    "transformer.layers.#.attention.query_key_value": "trunk.blocks.#.attention.query_key_value",
    "transformer.layers.#.attention.dense": "trunk.blocks.#.attention.out",
    "transformer.layers.#.post_attention_layernorm": "trunk.blocks.#.mlp_norm",
    "transformer.layers.#.mlp.dense_h_to_4h": "trunk.blocks.#.mlp.0",
    "transformer.layers.#.mlp.dense_4h_to_h": "trunk.blocks.#.mlp.2",
}
_ADAPTER = {
    "transformer.layers.#.cross_attention.query": "layers.#.query",
    "transformer.layers.#.cross_attention.key_value": "layers.#.key_value",
    "transformer.layers.#.cross_attention.dense": "layers.#.out",
}
_UNUSED = ("mixins.pos_embed.pos_embedding", "post_cross_attention_layernorm")  # computed by us; never called


def renamed(weights):
    """The original's weights as the transformer's and as the adapter's layers': two state dicts.

    Args:
        weights: the original's, without the prefix `model.diffusion_model.`.
    """
    transformer, adapter = {}, {}
    for name, weight in weights.items():
        if any(unused in name for unused in _UNUSED):
            continue
        module, kind = name.rsplit(".", 1)
        layer = re.search(r"(?<=layers\.|ations\.|m_list\.)\d+", module)
        pattern = module[: layer.start()] + "#" + module[layer.end() :] if layer else module
        into, table = (adapter, _ADAPTER) if pattern in _ADAPTER else (transformer, _AROUND | _BLOCK)
        into[f"{table[pattern].replace('#', layer[0] if layer else '')}.{kind}"] = weight
    return transformer, adapter
