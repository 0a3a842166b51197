"""Names from diffusers and the CogVideoX code, mapped to the refilm equivalents for error messages."""

GENERATE = {
    "num_frames": "frames",
    "video_length": "frames",
    "num_inference_steps": "steps",
    "num_steps": "steps",
    "sampling_steps": "steps",
    "guidance_scale": "guidance",
    "cfg": "guidance",
    "cfg_scale": "guidance",
    "guidance_course": "guidance_schedule",  # as 0.1 called it
    "use_dynamic_cfg": "guidance_schedule=by-timestep",
    "generator": "seed",
    "image": "reference",
    "images": "reference",
    "reference_image": "reference",
    "ref_image": "reference",
    "ip_adapter_image": "reference",
    "ip_adapter_scale": "reference_scale",
    "set_ip_adapter_scale": "reference_scale",
    "scheduler": "sampler",
    "attention_processor": "kernel",
    "set_attention_backend": "kernel",
    "enable_xformers_memory_efficient_attention": "kernel=efficient",
}
LOAD = {
    "pretrained_model_name_or_path": "source",
    "model_id": "source",
    "torch_dtype": "dtype",
    "device_map": "device",
    "load_ip_adapter": "adapter",
    "load_lora_weights": "adapter",
    "lora_path": "adapter",
    "low_cpu_mem_usage": "memory=low",
    "offload": "memory=low",
    "enable_model_cpu_offload": "memory=low",
    "enable_sequential_cpu_offload": "memory=low",
}
"""Foreign name -> refilm argument of that function, or argument and value with the same effect."""

HINTS = {
    "__call__": "a pipeline is not callable: use pipeline.generate(prompt, reference, seed=...)",
    "from_pretrained": "use refilm.load(source, device=..., dtype=...)",
    "to": "a loaded pipeline cannot be moved: use refilm.load(source, device=..., dtype=...)",
    "cuda": "a loaded pipeline cannot be moved: use refilm.load(source, device='cuda')",
    "half": "a loaded pipeline cannot be converted: use refilm.load(source, dtype='float16')",
    "output_type": "generate returns a Video: its frames are a NumPy array, and save(path) writes a file",
    "return_dict": "generate returns a Video and generate_batch a list of videos",
    "callback": "iterate over pipeline.sample(...), which yields after every step",
    "callback_on_step_end": "iterate over pipeline.sample(...), which yields after every step",
    "callback_on_step_end_tensor_inputs": "iterate over pipeline.sample(...), which yields after every step",
    "callback_steps": "iterate over pipeline.sample(...), which yields after every step",
    "num_videos_per_prompt": "use generate_batch with a prompt and a seed for each video",
    "num_images_per_prompt": "use generate_batch with a prompt and a seed for each video",
    "prompt_embeds": "generate_batch and sample accept embeddings as prompts",
    "negative_prompt_embeds": "the unconditional embedding is zeros unless negative_prompt is set",
    "ip_adapter_image_embeds": "generate_batch and sample accept tokens as references",
    "latents": "noise is determined by the seed; use refilm.diffusion.denoise for your own noise",
    "timesteps": "they are determined by steps; use refilm.diffusion.SAMPLERS for your own timesteps",
    "sigmas": "they are determined by steps and the base model's noise schedule",
    "eta": "sampler='ddim' has eta 0; the default sampler adds new noise at every step",
    "max_sequence_length": "the maximum number of tokens is fixed by the base model",
    "cross_attention_kwargs": "use reference_scale for the adapter's strength; docs/extending.md shows further changes",
    "attention_kwargs": "use reference_scale for the adapter's strength; docs/extending.md shows further changes",
    "joint_attention_kwargs": "use reference_scale for the adapter's strength; docs/extending.md shows further changes",
    "fps": "videos have the frame rate of the base model's training clips; save(path) writes it",
    "variant": "variants of weights are found automatically; set the dtype of computation with dtype",
    "cache_dir": "set the environment variable HF_HOME",
    "local_files_only": "set the environment variable HF_HUB_OFFLINE=1",
    "token": "run: hf auth login",
    "use_safetensors": "safetensors are preferred; pickles are loaded without running code",
    "trust_remote_code": "refilm never runs code from model repositories",
    "enable_vae_tiling": "the autoencoder decodes decode_frames latent frames at a time (the base's refilm.json)",
    "enable_vae_slicing": "the autoencoder decodes decode_frames latent frames at a time (the base's refilm.json)",
    "set_progress_bar_config": "the library shows no progress bar: iterate over pipeline.sample(...) and show your own",
    "vae": "it is pipeline.base.encoders.autoencoder",
    "transformer": "it is pipeline.base.transformer",
    "text_encoder": "it is pipeline.base.encoders.text",
    "save_pretrained": "refilm convert writes diffusers' layout",
    "fuse_lora": "the LoRA of an adapter is applied when the adapter is loaded",
}
"""Hints for names without a direct equivalent."""

OPTIONS = {
    "prompt": "the prompt is a positional argument: pass it first",
    "height": "use --size WIDTHxHEIGHT",
    "width": "use --size WIDTHxHEIGHT",
    "output_type": "the suffix of --output determines the file type",
    "output_path": "use --output",
    "save_path": "use --output",
    "model_path": "use --base",
    "model": "use --base",
    "source": "use --base",
    "pretrained_model_name_or_path": "use --base",
    "model_id": "use --base",
    "num_workers": "use --workers",
}
"""Hints for options of the command line that differ from the library's arguments."""


def known_elsewhere(name: str) -> str | None:
    """A hint for a name known from diffusers. None: the name is unknown."""
    if name in HINTS:
        return f"{name}: {HINTS[name]}"
    for place, names in (("generate", GENERATE), ("load", LOAD)):
        if name in names:
            own, _, value = names[name].partition("=")
            return (
                f"{name}: use {own}={value!r} in {place}(...)"
                if value
                else (f"{name}: refilm calls it {own}, in {place}(...)")
            )
    return None


def unknown_option(option: str) -> str | None:
    """A hint for an option such as `--num-frames`."""
    name = option.lstrip("-").replace("-", "_")
    if name in OPTIONS:
        return OPTIONS[name]
    own, _, value = (GENERATE | LOAD).get(name, "").partition("=")
    return f"use --{own.replace('_', '-')} {value}".rstrip() if own else None
