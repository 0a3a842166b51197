"""The small model that ships (in `model/`), and what is about critters: how it is trained, judged and shown."""
