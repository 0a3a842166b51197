"""The small model that ships (in `model/`): its pretraining on critters, its recipes, its judge and the demo."""
