"""Names that people know from diffusers and from the code around CogVideoX, answered with refilm's own."""

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
"""Their name -> our argument of that function, or our argument with the value that does the same."""

SENTENCES = {
    "__call__": "a pipeline is not called: use pipeline.generate(prompt, reference, seed=...)",
    "from_pretrained": "use refilm.load(source, device=..., dtype=...)",
    "to": "a pipeline stays where it was loaded: use refilm.load(source, device=..., dtype=...)",
    "cuda": "a pipeline stays where it was loaded: use refilm.load(source, device='cuda')",
    "half": "a pipeline stays what it was loaded as: use refilm.load(source, dtype='float16')",
    "output_type": "generate gives a Video: its frames are a NumPy array, and save(path) writes it",
    "return_dict": "generate gives a Video and generate_batch a list of them",
    "callback": "iterate over pipeline.sample(...), which yields after every step",
    "callback_on_step_end": "iterate over pipeline.sample(...), which yields after every step",
    "callback_on_step_end_tensor_inputs": "iterate over pipeline.sample(...), which yields after every step",
    "callback_steps": "iterate over pipeline.sample(...), which yields after every step",
    "num_videos_per_prompt": "use generate_batch with a prompt and a seed for every video",
    "num_images_per_prompt": "use generate_batch with a prompt and a seed for every video",
    "prompt_embeds": "generate_batch and sample take embeddings in place of prompts",
    "negative_prompt_embeds": "guidance leads away from zeros unless there is a negative_prompt",
    "ip_adapter_image_embeds": "generate_batch and sample take tokens in place of references",
    "latents": "noise is a function of the seed; sample your own with refilm.diffusion.denoise",
    "timesteps": "they follow from steps; choose your own with refilm.diffusion.SAMPLERS",
    "sigmas": "they follow from steps and the base model's schedule",
    "eta": "sampler='ddim' has eta 0, the default sampler draws new noise at every step",
    "max_sequence_length": "the base model says how many tokens a prompt may have",
    "cross_attention_kwargs": "the adapter's strength is reference_scale; docs/extending.md shows how to change more",
    "attention_kwargs": "the adapter's strength is reference_scale; docs/extending.md shows how to change more",
    "joint_attention_kwargs": "the adapter's strength is reference_scale; docs/extending.md shows how to change more",
    "fps": "the base model's rate is that of its clips; save(path) writes it",
    "variant": "weights are found under any of their names; choose how they compute by dtype",
    "cache_dir": "set the environment variable HF_HOME",
    "local_files_only": "set the environment variable HF_HUB_OFFLINE=1",
    "token": "run: hf auth login",
    "use_safetensors": "safetensors are taken where there are any, and pickles are read without running code",
    "trust_remote_code": "refilm never runs code that comes with weights",
    "enable_vae_tiling": "the autoencoder decodes decode_frames latent frames at a time (the base's refilm.json)",
    "enable_vae_slicing": "the autoencoder decodes decode_frames latent frames at a time (the base's refilm.json)",
    "set_progress_bar_config": "the library shows none: iterate over pipeline.sample(...) and show your own",
    "vae": "it is pipeline.base.encoders.autoencoder",
    "transformer": "it is pipeline.base.transformer",
    "text_encoder": "it is pipeline.base.encoders.text",
    "save_pretrained": "refilm convert writes diffusers' layout",
    "fuse_lora": "low-rank changes of an adapter are part of it once it is loaded",
}
"""Where refilm does it otherwise, how."""

OPTIONS = {
    "prompt": "the prompt has no option: it comes first",
    "height": "refilm has --size WIDTHxHEIGHT for it",
    "width": "refilm has --size WIDTHxHEIGHT for it",
    "output_type": "refilm goes by the ending of --output",
    "output_path": "refilm has --output for it",
    "save_path": "refilm has --output for it",
    "model_path": "refilm has --base for it",
    "model": "refilm has --base for it",
    "source": "refilm has --base for it",
    "pretrained_model_name_or_path": "refilm has --base for it",
    "model_id": "refilm has --base for it",
    "num_workers": "refilm has --workers for it",
}
"""What to say where the command line's options are not the library's arguments."""


def known_elsewhere(name: str) -> str | None:
    """What does in refilm what people know by that name from diffusers; none: nobody knows that one."""
    if name in SENTENCES:
        return f"{name}: {SENTENCES[name]}"
    for place, names in (("generate", GENERATE), ("load", LOAD)):
        if name in names:
            own, _, value = names[name].partition("=")
            return (
                f"{name}: refilm has {own}={value!r} for it, in {place}(...)"
                if value
                else (f"{name}: refilm calls it {own}, in {place}(...)")
            )
    return None


def unknown_option(option: str) -> str | None:
    """The same for an option, `--num-frames`."""
    name = option.lstrip("-").replace("-", "_")
    if name in OPTIONS:
        return OPTIONS[name]
    own, _, value = (GENERATE | LOAD).get(name, "").partition("=")
    return f"refilm has --{own.replace('_', '-')} {value}".rstrip() + " for it" if own else None
